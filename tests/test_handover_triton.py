"""Triton's model repository: read by protobuf's own reader, against Triton's fields."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from handover_bundles import FIXED, KERNELS, PROFILE, write_gpu_bundle, write_library
from toy_bundles import write_toy

from acf_edge.cli import main as command
from acf_edge.engine.passport import InputProfile
from acf_edge.errors import InputError
from acf_edge.handover.textproto import Word, write_message
from acf_edge.handover.triton import export_triton

FIELD = descriptor_pb2.FieldDescriptorProto
# Fields, numbers and types as model_config.proto of Triton has them, as far as they are used.
ENUMS = {
    "DataType": {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP32": 11},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2, "KIND_MODEL": 3},
    "SecondaryDeviceKind": {"KIND_NVDLA": 0},
}
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "SecondaryDevice": {
        "kind": (1, "SecondaryDeviceKind", False),
        "device_id": (2, "int64", False),
    },
    "ModelInstanceGroup": {
        "name": (1, "string", False),
        "count": (2, "int32", False),
        "gpus": (3, "int32", True),
        "kind": (4, "Kind", False),
        "profile": (5, "string", True),
        "secondary_devices": (8, "SecondaryDevice", True),
    },
    "ModelInput": {
        "name": (1, "string", False),
        "data_type": (2, "DataType", False),
        "dims": (4, "int64", True),
    },
    "ModelOutput": {
        "name": (1, "string", False),
        "data_type": (2, "DataType", False),
        "dims": (3, "int64", True),
    },
    "Cuda": {"graphs": (1, "bool", False)},
    "ModelOptimizationPolicy": {"cuda": (3, "Cuda", False)},
    "WarmupInput": {
        "data_type": (1, "DataType", False),
        "dims": (2, "int64", True),
        "zero_data": (3, "bool", False),
        "random_data": (4, "bool", False),
    },
    # A map field reads and writes as a repeated message of these two.
    "WarmupEntry": {"key": (1, "string", False), "value": (2, "WarmupInput", False)},
    "ModelWarmup": {
        "name": (1, "string", False),
        "batch_size": (2, "uint32", False),
        "inputs": (3, "WarmupEntry", True),
        "count": (4, "uint32", False),
    },
    "ModelConfig": {
        "name": (1, "string", False),
        "platform": (2, "string", False),
        "max_batch_size": (4, "int32", False),
        "input": (5, "ModelInput", True),
        "output": (6, "ModelOutput", True),
        "instance_group": (7, "ModelInstanceGroup", True),
        "optimization": (12, "ModelOptimizationPolicy", False),
        "model_warmup": (16, "ModelWarmup", True),
        "backend": (17, "string", False),
    },
}


@pytest.fixture(scope="module")
def config_type() -> Any:
    """The message type, made here: no generated code is installed."""
    file = descriptor_pb2.FileDescriptorProto(name="model.proto", package="t", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for word, number in values.items():
            enum.value.add(name=word, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if kind in MESSAGES:
                made.type, made.type_name = FIELD.TYPE_MESSAGE, f".t.{kind}"
            elif kind in ENUMS:
                made.type, made.type_name = FIELD.TYPE_ENUM, f".t.{kind}"
            else:
                made.type = FIELD.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))


def read(config_type: Any, folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), config_type())


def test_an_engine_with_a_range_of_sizes(config_type: Any, tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b").path
    made = export_triton(source, tmp_path / "repo")
    config = read(config_type, made.folder)
    assert made.folder == tmp_path / "repo" / "toy-x2-fp16-orin-nano" and config.name == made.name
    assert (config.platform, config.backend) == ("tensorrt_plan", "tensorrt")
    assert config.max_batch_size == 0
    (image,), (enhanced,) = config.input, config.output
    assert (image.name, image.data_type, list(image.dims)) == ("image", 2, [1, -1, -1, 3])
    assert (enhanced.name, list(enhanced.dims)) == ("enhanced", [1, -1, -1, 3])
    (group,) = config.instance_group
    assert (group.kind, group.count, list(group.profile)) == (1, 1, ["0"])
    assert not group.secondary_devices and config.optimization.cuda.graphs
    (warm,) = config.model_warmup
    assert warm.batch_size == 1 and warm.inputs[0].key == "image"
    assert list(warm.inputs[0].value.dims) == [1, 32, 48, 3] and warm.inputs[0].value.random_data
    assert (made.folder / "1" / "model.plan").read_bytes() == b"an engine"
    assert made.command == ("tritonserver", f"--model-repository={tmp_path / 'repo'}")
    assert "10.3.0" in made.notes[0]


def test_sizes_that_are_fixed_stand_in_the_shapes(config_type: Any, tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", profiles=(FIXED,)).path
    config = read(config_type, export_triton(source, tmp_path / "repo").folder)
    assert list(config.input[0].dims) == [1, 32, 48, 3]
    assert list(config.output[0].dims) == [1, 64, 96, 3]


def test_several_profiles_are_all_served(config_type: Any, tmp_path: Path) -> None:
    other = InputProfile((24, 24), (24, 24), (24, 24))
    source = write_gpu_bundle(tmp_path / "b", profiles=(FIXED, other, PROFILE)).path
    config = read(config_type, export_triton(source, tmp_path / "repo").folder)
    assert list(config.instance_group[0].profile) == ["0", "1", "2"]
    assert list(config.input[0].dims) == [1, -1, -1, 3]
    # The first and the third are tuned for the same size.
    warm = [list(sample.inputs[0].value.dims) for sample in config.model_warmup]
    assert warm == [[1, 32, 48, 3], [1, 24, 24, 3]]


def test_a_bundle_for_a_cpu(config_type: Any, tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "b")
    made = export_triton(bundle.path, tmp_path / "repo", name="mine")
    config = read(config_type, made.folder)
    assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert config.instance_group[0].kind == 2 and not config.instance_group[0].profile
    assert list(config.input[0].dims) == list(config.output[0].dims) == [-1, -1, -1, 3]
    assert not config.HasField("optimization") and made.notes == ()
    assert (made.folder / "1" / "model.onnx").read_bytes() == bundle.read("model.onnx")


def test_plugins_travel_along(config_type: Any, tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", plugins=True).path
    library = write_library(tmp_path / "x.so")
    made = export_triton(source, tmp_path / "repo", "m", library)
    copy = tmp_path / "repo" / "m" / "libacf_plugins_preload.so"
    assert copy.read_bytes() == library.read_bytes()
    assert made.command[-1] == f"--backend-config=tensorrt,plugins={copy}"
    readme = (made.folder / "README.md").read_text()
    assert '"--backend-config=tensorrt,plugins=$PWD/m/libacf_plugins_preload.so"' in readme
    assert 'LD_PRELOAD="$PWD/m/' in readme


def test_an_accelerator_is_asked_for(config_type: Any, tmp_path: Path) -> None:
    words = ("acf-edge", "build", "c", "-o", "b", "--dla")
    source = write_gpu_bundle(tmp_path / "b", profiles=(FIXED,), source_command=words).path
    config = read(config_type, export_triton(source, tmp_path / "repo").folder)
    assert config.instance_group[0].secondary_devices[0].device_id == 0
    assert len(config.instance_group[0].secondary_devices) == 1
    assert not config.optimization.cuda.graphs


@pytest.mark.parametrize(
    "library, words",
    [
        (None, "--plugin-library"),
        ({"registers": False}, "libacf_plugins_preload.so"),
        ({"machine": 62}, "aarch64"),
        ({"major": 11}, "belongs to TensorRT 11"),
        ({"kernels": "0" * 64}, "other kernels"),
    ],
)
def test_a_library_that_does_not_fit(
    library: dict[str, Any] | None, words: str, tmp_path: Path
) -> None:
    source = write_gpu_bundle(tmp_path / "b", plugins=True).path
    path = None if library is None else write_library(tmp_path / "x.so", **library)
    with pytest.raises(InputError, match=words):
        export_triton(source, tmp_path / "repo", "m", path)
    assert not (tmp_path / "repo").exists()


def test_what_is_no_library(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", plugins=True).path
    (tmp_path / "x.so").write_bytes(b"\x7fELF" + bytes(60))
    with pytest.raises(InputError, match="no plugin library"):
        export_triton(source, tmp_path / "repo", "m", tmp_path / "x.so")
    with pytest.raises(InputError, match="does not exist"):
        export_triton(source, tmp_path / "repo", "m", tmp_path / "y.so")
    plain = write_gpu_bundle(tmp_path / "p").path
    with pytest.raises(InputError, match="runs no plugins"):
        export_triton(plain, tmp_path / "repo", "m", write_library(tmp_path / "z.so"))


def test_bundles_that_triton_cannot_serve(tmp_path: Path) -> None:
    later = write_gpu_bundle(tmp_path / "later", plan=None).path
    with pytest.raises(InputError, match="--target auto"):
        export_triton(later, tmp_path / "repo")
    rtx = write_gpu_bundle(tmp_path / "rtx", backend="tensorrt_rtx", target="rtx40", sm="89").path
    with pytest.raises(InputError, match="--runtime tensorrt"):
        export_triton(rtx, tmp_path / "repo")
    with pytest.raises(InputError, match="does not exist"):
        export_triton(tmp_path / "none", tmp_path / "repo")


def test_nothing_is_written_over_what_is_no_model(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b").path
    (tmp_path / "repo" / "photos").mkdir(parents=True)
    (tmp_path / "repo" / "photos" / "one.png").write_bytes(b"dear")
    with pytest.raises(InputError, match="is there already"):
        export_triton(source, tmp_path / "repo", "photos")
    assert (tmp_path / "repo" / "photos" / "one.png").read_bytes() == b"dear"
    for name in ("", "../up", "a/b", ".hidden"):
        with pytest.raises(InputError, match="cannot be the name"):
            export_triton(source, tmp_path / "repo", name)


def test_a_model_is_replaced_and_its_neighbours_stay(tmp_path: Path) -> None:
    first = write_gpu_bundle(tmp_path / "b").path
    second = write_gpu_bundle(tmp_path / "c", plan=b"another engine").path
    for source, name in ((first, "m"), (first, "n"), (second, "m")):
        export_triton(source, tmp_path / "repo", name)
    plans = {n: (tmp_path / "repo" / n / "1" / "model.plan").read_bytes() for n in "mn"}
    assert plans == {"m": b"another engine", "n": b"an engine"}
    assert sorted(p.name for p in (tmp_path / "repo").iterdir()) == ["m", "n"]


def test_text_is_escaped() -> None:
    message = {"name": 'a "b"\\\n', "kind": Word("KIND_GPU"), "on": True, "dims": [1, -1]}
    assert write_message(message) == (
        'name: "a \\"b\\"\\\\\\n"\nkind: KIND_GPU\non: true\ndims: [1, -1]\n'
    )


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_gpu_bundle(tmp_path / "b", plugins=True).path
    library = write_library(tmp_path / "x.so", kernels=KERNELS)
    words = ["export", "triton", str(source), "-o", str(tmp_path / "a repo"), "--name", "m"]
    assert command.main([*words, "--plugin-library", str(library)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(last)[1] == f"--model-repository={tmp_path / 'a repo'}"
    assert command.main([*words, "--plugin-library", str(library), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "m"
    assert command.main([*words, "--size", "32x32"]) == 2
    assert "--size means nothing" in capsys.readouterr().err
