"""The Python plugins, without TensorRT: fields, formats, shapes, launches, registration."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_tensorrt
import fake_tensorrt_base as fakes
import numpy as np
import pytest

from acf_edge.engine.trt.api import create_builder, create_network, create_parser, load_api
from acf_edge.engine.trt.plugin import load_library, register, unregister
from acf_edge.engine.trt.plugin_class import make_creator
from acf_edge.engine.trt.plugin_fields import Settings, field_values, read_fields
from acf_edge.engine.trt.plugin_tensors import accepts, problem_of
from acf_edge.errors import InputError

INT8 = Settings(3, 0.5, 0.25, 0.125)
FLOAT = Settings(3)


@dataclass
class Told:
    """Stands in for the kernels."""

    launches: list[tuple[str, tuple[Any, ...], int]]

    def launch(
        self,
        name: str,
        grid: Any,
        block: Any,
        arguments: Sequence[Any],
        shared: int,
        stream: int,
    ) -> None:
        self.launches.append((name, tuple(arguments), stream))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = fake_tensorrt.make("10.3.0")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    yield module


def field(name: str, value: Any, kind: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, data=value, type=SimpleNamespace(name=kind))


def tensor(kind: str, shape: str, dims: tuple[int, ...] = ()) -> Any:
    return SimpleNamespace(
        type=SimpleNamespace(name=kind), format=SimpleNamespace(name=shape), dims=dims
    )


def tensors(kind: str = "HALF", shape: str = "HWC8", weights: str = "HALF") -> list[Any]:
    """Of JunctionVote with 3 branches of 4 channels; equal types are the same object."""
    wide = [tensor(kind, shape, (2, 12, 5, 7)) for _ in range(2)]
    small = [tensor(weights, "LINEAR", dims) for dims in ((12, 12), (12,))]
    output = tensor(kind, shape, (2, 4, 5, 7))
    for one in (*wide[1:], output):
        one.type, one.format = wide[0].type, wide[0].format
    small[1].type = small[0].type
    return [*wide, *small, output]


def test_fields_go_in_as_they_came_out() -> None:
    for settings in (FLOAT, INT8, Settings(1, 1e-30, 3e30, 0.1)):
        given = [field(v.name, v.data, v.kind) for v in field_values("JunctionVote", settings)]
        found = read_fields("JunctionVote", given)
        assert found.branches == settings.branches
        assert found.scales == tuple(float(np.float32(scale)) for scale in settings.scales)
    assert [v.name for v in field_values("ChannelSpatialAttention", INT8)] == [
        "features_scale",
        "logits_scale",
        "output_scale",
    ]
    assert [v.data.tobytes().hex() for v in field_values("JunctionVote", INT8)] == [
        "03000000",
        "0000003f",
        "0000803e",
        "0000003e",
    ]


def test_what_onnx_parsers_hand_over_is_taken() -> None:
    given = [field("branches", np.array([3], np.int64), "INT64")]
    assert read_fields("JunctionVote", given) == FLOAT
    assert read_fields("ChannelSpatialAttention", []) == Settings()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "'branches' is missing"),
        ([field("branches", [0], "INT32")], "1 or more, not 0"),
        ([field("branches", [3.0], "FLOAT32")], "a whole number"),
        ([field("branches", [3, 3], "INT32")], "one value, not 2"),
        ([field("branches", None, "INT32")], "one value, not 0"),
        ([field("branches", [3], "INT32")] * 2, "came twice"),
        ([field("branch", [3], "INT32")], "has no field 'branch'"),
        ([field("branches", [3], "INT32"), field("logits_scale", [1.0], "FLOAT32")], "together"),
        ([field("output_scale", [-1.0], "FLOAT32")], "finite and 0 or more"),
        ([field("output_scale", [float("nan")], "FLOAT32")], "finite and 0 or more"),
        ([field("output_scale", [1], "INT32")], "must be a float"),
    ],
)
def test_wrong_fields_are_refused_by_name(given: list[Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_fields("JunctionVote", given)


@pytest.mark.parametrize(
    ("kind", "shape", "settings", "version", "taken"),
    [
        ("HALF", "LINEAR", FLOAT, (10, 3), True),
        ("HALF", "HWC8", FLOAT, (10, 3), True),
        ("FLOAT", "HWC", FLOAT, (10, 3), True),
        ("FLOAT", "HWC8", FLOAT, (10, 3), False),
        ("HALF", "CHW2", FLOAT, (10, 3), False),
        ("INT8", "CHW32", FLOAT, (10, 3), False),
        ("INT8", "CHW32", INT8, (10, 3), True),
        ("INT8", "HWC16", INT8, (10, 3), False),
        ("INT8", "HWC16", INT8, (10, 9), True),
        ("HALF", "LINEAR", INT8, (11, 4), False),
        ("BF16", "LINEAR", FLOAT, (11, 4), False),
    ],
)
def test_the_features_decide_type_and_format(
    kind: str, shape: str, settings: Settings, version: tuple[int, ...], taken: bool
) -> None:
    found = tensors(kind, shape)
    assert accepts("JunctionVote", settings, 0, found, version) is taken


def test_the_others_follow_the_features() -> None:
    found = tensors()
    assert all(accepts("JunctionVote", FLOAT, place, found, (10, 3)) for place in range(5))
    assert not accepts("JunctionVote", FLOAT, 5, found, (10, 3))
    for place, other in ((1, tensor("HALF", "LINEAR")), (4, tensor("FLOAT", "HWC8"))):
        mixed = [*found[:place], other, *found[place + 1 :]]
        assert not accepts("JunctionVote", FLOAT, place, mixed, (10, 3))
    for place, other in ((2, tensor("HALF", "HWC8")), (3, tensor("FLOAT", "LINEAR"))):
        mixed = [*found[:place], other, *found[place + 1 :]]
        assert not accepts("JunctionVote", FLOAT, place, mixed, (10, 3))


def test_a_problem_says_what_the_plan_needs() -> None:
    found = problem_of("JunctionVote", FLOAT, tensors())
    assert (found.n, found.channels, found.branches, found.height, found.width) == (2, 4, 3, 5, 7)
    assert (found.dtype, found.layout, found.weights) == ("fp16", "nhwc", "fp16")
    assert found.plan().launches


@pytest.mark.parametrize(
    ("place", "dims", "problem"),
    [
        (1, (2, 12, 5, 8), "element_logits is"),
        (2, (12, 11), "weight is"),
        (3, (4,), "bias is"),
        (4, (2, 12, 5, 7), "output is"),
        (0, (2, 13, 5, 7), "13 channels cannot be shared among 3"),
        (0, (2, 12, -1, 7), "not known"),
        (0, (12, 5, 7), "must have 4, 4 and 2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(place: int, dims: tuple[int, ...], problem: str) -> None:
    found = tensors()
    found[place].dims = dims
    with pytest.raises(ValueError, match=problem):
        problem_of("JunctionVote", FLOAT, found)


def test_open_sides_of_the_output_follow_from_the_inputs() -> None:
    found = tensors()
    found[-1].dims = (2, 4, -1, -1)
    assert problem_of("JunctionVote", FLOAT, found).height == 5
    found[-1].dims = (2, 4, -1, 8)
    with pytest.raises(ValueError, match="output is"):
        problem_of("JunctionVote", FLOAT, found)


def attention(maps: int) -> list[Any]:
    shapes = ((1, 8, 5, 7), (1, maps, 5, 7), (2, 8), (2,), (8, 2), (8,), (1, 8, 5, 7))
    made = [tensor("FLOAT", "LINEAR", dims) for dims in shapes]
    for one in made:
        one.type, one.format = made[0].type, made[0].format
    return made


def test_attention_takes_one_map_or_one_per_channel() -> None:
    for maps in (1, 8):
        found = problem_of("ChannelSpatialAttention", Settings(), attention(maps))
        assert (found.channels, found.squeeze, found.maps) == (8, 2, maps)
    with pytest.raises(ValueError, match="must have 1 or 8 channels"):
        problem_of("ChannelSpatialAttention", Settings(), attention(4))


def described(fake: Any, kind: str, shape: str, dims: Sequence[int]) -> fakes.PluginTensorDesc:
    return fakes.PluginTensorDesc(fakes.Dims(dims), fake.DataType[kind], fake.TensorFormat[shape])


def calls(fake: Any, height: int, width: int) -> tuple[list[Any], list[Any]]:
    def one(shape: str, *dims: int) -> fakes.PluginTensorDesc:
        return described(fake, "HALF", shape, dims)

    wide = [one("HWC8", 1, 12, height, width) for _ in range(2)]
    return [*wide, one("LINEAR", 12, 12), one("LINEAR", 12)], [one("HWC8", 1, 4, height, width)]


def test_enqueue_launches_the_plan_on_its_stream_and_memory(fake: Any) -> None:
    told = Told([])
    loads: list[int] = []

    def kernels() -> Told:
        loads.append(1)
        return told

    creator: Any = make_creator(load_api("tensorrt"), "JunctionVote", kernels)
    fields = fakes.PluginFieldCollection([field("branches", np.array([3], np.int32), "INT32")])
    plugin = creator.create_plugin("node", fields, fake.TensorRTPhase.RUNTIME)
    plugin = plugin.attach_to_context(None)
    inputs, outputs = calls(fake, 6, 10)
    plugin.on_shape_change(inputs, outputs)
    assert told.launches == []
    assert loads == [1]
    addresses = [0x1000, 0x2000, 0x3000, 0x4000]
    for stream in (7, 8):
        plugin.enqueue(inputs, outputs, addresses, [0x5000], 0x6000, stream)
    plan = plugin.prepared.plan
    names = ("features", "element_logits", "weight", "bias")
    buffers = dict(zip(names, addresses, strict=True)) | {"output": 0x5000, "workspace": 0x6000}
    expected = [(one.kernel, one.resolve(buffers)) for one in plan.launches]
    assert [launch[:2] for launch in told.launches] == expected * 2
    assert [launch[2] for launch in told.launches] == [7] * len(expected) + [8] * len(expected)
    assert loads == [1]
    # Another shape without a word before: prepared on the way.
    inputs, outputs = calls(fake, 3, 4)
    plugin.enqueue(inputs, outputs, addresses, [0x5000], 0x6000, 9)
    assert plugin.prepared.problem.height == 3
    # Memory that does not start on 16 bytes has a plan of its own.
    told.launches.clear()
    plugin.enqueue(inputs, outputs, [0x1002, *addresses[1:]], [0x5000], 0x6000, 9)
    shifted = plugin.prepared.problem.plan(aligned=False)
    assert [launch[0] for launch in told.launches] == [one.kernel for one in shifted.launches]


def test_the_workspace_serves_every_smaller_picture(fake: Any) -> None:
    creator: Any = make_creator(load_api("tensorrt"), "JunctionVote", lambda: Told([]))
    fields = [field("branches", np.array([3], np.int32), "INT32")]
    plugin = creator.create_plugin("node", fields, fake.TensorRTPhase.BUILD)

    def dynamic(desc: fakes.PluginTensorDesc, size: tuple[int, int]) -> Any:
        most = fakes.Dims((*desc.dims[:2], *size) if len(desc.dims) == 4 else desc.dims)
        open_dims = fakes.Dims((*desc.dims[:2], -1, -1) if len(desc.dims) == 4 else desc.dims)
        wild = fakes.PluginTensorDesc(open_dims, desc.type, desc.format)
        return fakes.DynamicPluginTensorDesc(wild, desc.dims, desc.dims, most)

    def granted(height: int, width: int) -> int:
        inputs, outputs = calls(fake, 1, 1)
        ins = [dynamic(one, (height, width)) for one in inputs]
        outs = [dynamic(one, (height, width)) for one in outputs]
        plugin.configure_plugin(ins, outs)
        return int(plugin.get_workspace_size(ins, outs))

    def needed(height: int, width: int) -> int:
        inputs, outputs = calls(fake, height, width)
        plugin.on_shape_change(inputs, outputs)
        return int(plugin.prepared.plan.workspace)

    for largest in ((64, 64), (720, 1280), (1080, 1920)):
        most = granted(*largest)
        for height in range(1, largest[0] + 1, 37):
            for width in range(1, largest[1] + 1, 61):
                assert needed(height, width) <= most, (height, width, largest)


def test_registering_twice_is_once_and_can_be_undone(fake: Any) -> None:
    api = load_api("tensorrt")
    kernels = lambda: Told([])  # noqa: E731
    expected = {"JunctionVote": "python", "ChannelSpatialAttention": "python"}
    assert register(api, kernels) == expected
    assert register(api, kernels) == expected
    found = [(c.name, c.plugin_version, c.plugin_namespace) for c in fake.registry.all_creators]
    assert found == [("JunctionVote", "1", "acf"), ("ChannelSpatialAttention", "1", "acf")]
    unregister(api)
    assert fake.registry.all_creators == []


def test_what_the_library_registered_stays(fake: Any) -> None:
    api = load_api("tensorrt")
    other = SimpleNamespace(name="JunctionVote", plugin_version="1", plugin_namespace="acf")
    fake.registry.register_creator(other, "acf")
    bodies = register(api, lambda: Told([]))
    assert bodies == {"JunctionVote": "library", "ChannelSpatialAttention": "python"}


def test_a_library_that_is_missing_or_is_none_is_one_clear_error(fake: Any, tmp_path: Path) -> None:
    api = load_api("tensorrt")
    with pytest.raises(InputError, match="There is no plugin library"):
        load_library(api, tmp_path / "libacf_plugins.so")
    (tmp_path / "libacf_plugins.so").write_bytes(b"no library")
    with pytest.raises(InputError, match="cannot load"):
        load_library(api, tmp_path / "libacf_plugins.so")
    register(api, lambda: Told([]))
    with pytest.raises(InputError, match="registered in this process already"):
        load_library(api, tmp_path / "libacf_plugins.so")


MODEL = """
<ir_version: 8, opset_import: ["" : 17, "acf" : 1]>
g (float16[1,6,8,8] image, float16[1,6,8,8] e, float16[6,6] w, float16[6] b)
  => (float16[1,2,8,8] enhanced) {
  enhanced = acf.JunctionVote<branches=3, plugin_namespace="acf", plugin_version="1">(
    image, e, w, b)
}"""


def test_a_plugin_goes_through_an_engine(fake: Any) -> None:
    onnx = pytest.importorskip("onnx")
    api = load_api("tensorrt")
    model = onnx.parser.parse_model(MODEL).SerializeToString()

    def build() -> bytes:
        builder = create_builder(api)
        network = create_network(api, builder)
        assert create_parser(api, network).parse(model)
        gc.collect()
        plan = builder.build_serialized_network(network, builder.create_builder_config())
        assert plan is not None
        return bytes(plan)

    register(api, lambda: Told([]))
    plan = build()
    assert b'["branches", "INT32", [3]]' in plan
    engine: Any = fake.Runtime(api.logger).deserialize_cuda_engine(plan)
    assert engine.plugins[0].settings == FLOAT
    unregister(api)
    assert fake.Runtime(api.logger).deserialize_cuda_engine(plan) is None
    assert "Cannot find plugin: JunctionVote" in api.last_error()


def test_a_refusal_is_told_with_its_reason(fake: Any) -> None:
    api = load_api("tensorrt")
    creator: Any = make_creator(api, "JunctionVote", lambda: Told([]))
    with pytest.raises(ValueError, match="missing"):
        creator.create_plugin("node_7", [], fake.TensorRTPhase.BUILD)
    assert api.last_error() == "JunctionVote, creation of node_7: field 'branches' is missing"


def test_the_kernels_are_those_of_the_gpu_that_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_cuda

    import acf_edge.cuda
    from acf_edge.engine.trt.plugin_class import DeviceKernels

    class Two(fake_cuda.Machine):
        current = 1

        def cuCtxGetDevice(self) -> int:
            return self.current

    machine = Two()
    machine.devices = 2
    loaded: list[int] = []

    def load(device: Any) -> Told:
        loaded.append(device.ordinal)
        return Told([])

    monkeypatch.setattr(acf_edge.cuda, "load_kernels", load)
    with fake_cuda.installed(machine):
        acf_edge.cuda.open_device(1)
        kernels = DeviceKernels()
        assert kernels() is kernels()
        Two.current = 0
        assert kernels() is kernels()
    assert loaded == [1, 0]
