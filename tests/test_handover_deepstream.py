"""DeepStream's folder: the same pictures from its model, keys that nvinfer knows."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from handover_bundles import FIXED, SCALE, network, write_gpu_bundle, write_library
from tiny_networks import noise, run_onnx
from toy_bundles import write_toy

from acf_edge.cli import main as command
from acf_edge.errors import InputError
from acf_edge.export.trt.judged import for_onnxruntime
from acf_edge.handover.deepstream import export_deepstream

# Keys of nvinfer's group [property] and how gstnvinfer_property_parser.cpp reads them.
KEYS = {
    "gpu-id": "integer",
    "gie-unique-id": "integer",
    "process-mode": "integer",
    "network-type": "integer",
    "output-tensor-meta": "boolean",
    "batch-size": "integer",
    "interval": "integer",
    "onnx-file": "path",
    "model-engine-file": "path",
    "custom-lib-path": "path",
    "network-mode": "integer",
    "strongly-typed": "boolean",
    "infer-dims": "integers",
    "network-input-order": "integer",
    "model-color-format": "integer",
    "net-scale-factor": "double",
    "maintain-aspect-ratio": "boolean",
    "output-blob-names": "strings",
    "enable-dla": "boolean",
    "use-dla-core": "integer",
}
FORMS = {
    "integer": r"-?\d+",
    "boolean": r"0|1|true|false",
    "double": r"-?\d+(\.\d+)?",
    "integers": r"\d+(;\d+)*;?",
    "strings": r"[^;]+(;[^;]+)*;?",
    "path": r"[^/].*",
}


def properties(folder: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((folder / "config_infer.txt").read_text())
    assert parser.sections() == ["property"]
    return dict(parser["property"])


def check_keys(folder: Path) -> dict[str, str]:
    found = properties(folder)
    for key, value in found.items():
        assert key in KEYS, f"nvinfer has no key {key}"
        assert re.fullmatch(FORMS[KEYS[key]], value), f"{key}={value} is no {KEYS[key]}"
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("plugins", [False, True])
def test_the_model_gives_the_same_pictures(precision: str, plugins: bool, tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", precision=precision, plan=None).path
    library = write_library(tmp_path / "x.so") if plugins else None
    made = export_deepstream(source, tmp_path / "ds", "41x30", library)
    found = check_keys(made.folder)
    model = onnx.load(made.folder / found["onnx-file"])
    ends = [
        (v.name, v.type.tensor_type.elem_type, [d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert ends == [
        ("image", onnx.TensorProto.FLOAT, [1, 3, 30, 41]),
        ("enhanced", onnx.TensorProto.FLOAT, [1, 3, 30 * SCALE, 41 * SCALE]),
    ]
    assert any(node.domain == "acf" for node in model.graph.node) == plugins
    picture = noise(30, 41)[None]
    wanted = run_onnx(for_onnxruntime(network(precision, plugins)), {"image": picture})[0]
    planes = picture.transpose(0, 3, 1, 2).astype(np.float32)
    # What is fed to the "judged" form is the same graph with its operators as functions.
    (given,) = run_onnx(for_onnxruntime(model), {"image": planes})
    assert given.dtype == np.float32
    assert np.array_equal(given, np.round(given)) and given.min() >= 0 and given.max() <= 255
    assert np.array_equal(given.transpose(0, 2, 3, 1).astype(np.uint8), wanted)


COMPILE = """
import sys
from acf_edge.engine.trt.api import create_builder, create_network, create_parser, load_api, set_sms

api = load_api("tensorrt_rtx")
builder = create_builder(api)
network = create_network(api, builder)
parser = create_parser(api, network)
assert parser.parse(open(sys.argv[1], "rb").read()), parser.get_error(0).desc()
for end in (network.get_input(0), network.get_output(0)):
    print(end.name, end.dtype.name, tuple(end.shape))
config = builder.create_builder_config()
set_sms(api, config, ["86"])
print(len(bytes(builder.build_serialized_network(network, config))) > 10000)
"""
RTX = all(importlib.util.find_spec(name) for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"))


@pytest.mark.skipif(not RTX, reason="the extra 'rtx' is not installed")
def test_a_builder_of_nvidia_takes_the_model(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", precision="fp16", plan=None).path
    made = export_deepstream(source, tmp_path / "ds", "48x32")
    path = made.folder / properties(made.folder)["onnx-file"]
    # In a process of its own: it must not meet a plugin of another test.
    done = subprocess.run([sys.executable, "-c", COMPILE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-3:] == [
        "image FLOAT (1, 3, 32, 48)",
        "enhanced FLOAT (1, 3, 64, 96)",
        "True",
    ]


def test_the_configuration(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", precision="int8").path
    made = export_deepstream(source, tmp_path / "ds")
    found = check_keys(made.folder)
    assert (made.width, made.height) == (48, 32)
    assert found["infer-dims"] == "3;32;48"
    assert (found["network-type"], found["output-tensor-meta"]) == ("100", "1")
    assert (found["batch-size"], found["process-mode"]) == ("1", "1")
    assert (found["network-mode"], found["strongly-typed"]) == ("1", "1")
    assert float(found["net-scale-factor"]) == 1.0
    assert (found["model-color-format"], found["network-input-order"]) == ("0", "0")
    assert found["model-engine-file"].startswith(found["onnx-file"])
    assert "custom-lib-path" not in found
    assert made.notes == ("Make the engine on the GPU that runs it: ./build_engine.sh",)
    readme = (made.folder / "README.md").read_text()
    assert "NVDSINFER_TENSOR_OUTPUT_META" in readme and "width=48 height=32" in readme
    compile(readme.split("```python\n")[1].split("```")[0], "README.md", "exec")


def test_plugins(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b", plugins=True).path
    library = write_library(tmp_path / "x.so")
    found = check_keys(export_deepstream(source, tmp_path / "ds", None, library).folder)
    copy = tmp_path / "ds" / found["custom-lib-path"]
    assert copy.read_bytes() == library.read_bytes()
    inlined = export_deepstream(source, tmp_path / "inlined")
    assert "--plugin-library" in inlined.notes[-1]
    with pytest.raises(InputError, match="aarch64"):
        wrong = write_library(tmp_path / "y.so", machine=62)
        export_deepstream(source, tmp_path / "no", None, wrong)


@pytest.mark.parametrize("plugins", [False, True])
def test_the_script_hands_trtexec_its_words(plugins: bool, tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b").path
    library = write_library(tmp_path / "x.so") if plugins else None
    made = export_deepstream(source, tmp_path / "a folder", None, library)
    told = tmp_path / "told"
    fake = tmp_path / "trtexec"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$PWD" "$LD_PRELOAD" "$@" > "{told}"\n')
    fake.chmod(0o755)
    # The preloaded file is no real library: the loader says so and goes on.
    script = made.folder / "build_engine.sh"
    subprocess.run([script], check=True, env={**os.environ, "TRTEXEC": str(fake)})
    place, preload, *words = told.read_text().splitlines()
    assert place == str(made.folder)
    assert preload == (f"{made.folder}/libacf_plugins_preload.so" if plugins else "")
    assert tuple(words) == made.command[made.command.index("trtexec") + 1 :]
    found = properties(made.folder)
    assert f"--onnx={found['onnx-file']}" in words and "--stronglyTyped" in words
    assert f"--saveEngine={found['model-engine-file']}" in words
    assert "--memPoolSize=workspace:2048M" in words
    without = subprocess.run(
        [shutil.which("sh") or "sh", script], capture_output=True, text=True, env={"TRTEXEC": "/no"}
    )
    assert without.returncode == 2 and "set TRTEXEC" in without.stderr


def test_an_accelerator(tmp_path: Path) -> None:
    words = ("acf-edge", "build", "c", "--dla")
    source = write_gpu_bundle(tmp_path / "b", profiles=(FIXED,), source_command=words).path
    made = export_deepstream(source, tmp_path / "ds")
    assert check_keys(made.folder)["use-dla-core"] == "0"
    assert "--useDLACore=0" in made.command and "--allowGPUFallback" in made.command


def test_bad_input(tmp_path: Path) -> None:
    source = write_gpu_bundle(tmp_path / "b").path
    with pytest.raises(InputError, match="built for a CPU"):
        export_deepstream(write_toy(tmp_path / "cpu").path, tmp_path / "ds")
    for size, words in (("8x", "not understood"), ("8x8:16x16:32x32", "one size")):
        with pytest.raises(InputError, match=words):
            export_deepstream(source, tmp_path / "ds", size)
    other = write_gpu_bundle(tmp_path / "other", backend="tensorrt_rtx", target="rtx40", sm="89")
    assert export_deepstream(other.path, tmp_path / "fine").width == 48
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="something else"):
        export_deepstream(source, tmp_path / "full")
    assert not (tmp_path / "ds").exists() and (tmp_path / "full" / "letter.txt").exists()


def test_a_model_with_other_ends(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "b", backend="tensorrt", target="orin-nano", precision="fp16")
    with pytest.raises(InputError, match="does not end in uint8"):
        export_deepstream(bundle.path, tmp_path / "ds", "16x16")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_gpu_bundle(tmp_path / "b").path
    words = ["export", "deepstream", str(source), "-o", str(tmp_path / "ds")]
    assert command.main([*words, "--size", "32x24", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [32, 24]
    assert command.main(words) == 0
    assert "trtexec --onnx=toy-x2-fp16-orin-nano-48x32.onnx" in capsys.readouterr().out
    assert command.main([*words, "--name", "x"]) == 2
    assert "--name means nothing" in capsys.readouterr().err
