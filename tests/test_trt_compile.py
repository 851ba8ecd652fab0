"""Compiling with classic TensorRT's stand-in: order of things, options, every error."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType

import fake_tensorrt
import pytest
from fake_tensorrt_base import Severity, World, say
from onnx import helper
from trt_networks import small_network, with_operator

from acf_edge.engine.trt.api import TrtApi, load_api
from acf_edge.engine.trt.compile import (
    CompileCancelled,
    Plan,
    Progress,
    Request,
    compile_plan,
)
from acf_edge.engine.trt.plugin import unregister
from acf_edge.engine.trt.profiles import parse_profiles
from acf_edge.engine.trt.targets import find_target, sm_target
from acf_edge.errors import InputError

ONNX = small_network().SerializeToString()
ORIN = Request(find_target("agx-orin"), "fp16", parse_profiles(["64x64:320x180:1280x720"]))


def classic(
    monkeypatch: pytest.MonkeyPatch, world: World | None = None, version: str = "10.3.0"
) -> TrtApi:
    fake: ModuleType = fake_tensorrt.make(version, world)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return load_api("tensorrt")


def content(plan: Plan) -> dict[str, object]:
    """What the stand-in's plan says of how it was built."""
    found: dict[str, object] = json.loads(plan.data[4:])
    return found


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "11.4.0.106"])
def test_one_way_for_every_version(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    plan = compile_plan(ONNX, ORIN, classic(monkeypatch, version=version))
    built = content(plan)
    assert built["version"] == version
    # Strongly typed: bit 1 in TensorRT 10, bit 0 in 11.
    assert built["flags"] == (2 if version.startswith("10") else 1)
    assert built["profiles"] == [{"image": [[1, 64, 64, 3], [1, 180, 320, 3], [1, 720, 1280, 3]]}]


def test_several_profiles_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(ORIN, profiles=parse_profiles(["640x360", "320x180"]))
    built = content(compile_plan(ONNX, request, classic(monkeypatch)))
    shapes = [profile["image"][0] for profile in built["profiles"]]  # type: ignore[attr-defined]
    assert shapes == [[1, 360, 640, 3], [1, 180, 320, 3]]


def test_level_workspace_and_details_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch)
    seen = []
    make = api.module.Builder.create_builder_config
    monkeypatch.setattr(
        api.module.Builder,
        "create_builder_config",
        lambda self: seen.append(make(self)) or seen[-1],
    )
    compile_plan(ONNX, replace(ORIN, level=5, workspace=123 << 20), api)
    compile_plan(ONNX, ORIN, api)
    pool = api.module.MemoryPoolType.WORKSPACE
    assert seen[0].builder_optimization_level == 5
    assert seen[0].get_memory_pool_limit(pool) == 123 << 20
    assert seen[1].get_memory_pool_limit(pool) == ORIN.target.workspace
    assert seen[0].profiling_verbosity == api.module.ProfilingVerbosity.DETAILED
    assert seen[0].default_device_type == api.module.DeviceType.GPU


def test_the_timing_cache_goes_from_build_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch)
    first = compile_plan(ONNX, ORIN, api)
    assert first.timing_cache
    second = compile_plan(ONNX, ORIN, api, timing_cache=first.timing_cache)
    assert second.timing_cache.startswith(first.timing_cache)
    assert len(second.timing_cache) > len(first.timing_cache)


def test_a_timing_cache_of_another_version_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_plan(ONNX, ORIN, classic(monkeypatch), timing_cache=b"bad")
    assert plan.data
    assert not plan.timing_cache.startswith(b"bad")


def test_the_layer_table_and_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch)
    build = api.module.Builder.build_serialized_network

    def warns(self: object, network: object, config: object) -> object:
        for _ in range(3):
            say(api.module.world, api.logger, Severity.WARNING, "weights were\n  clipped")  # type: ignore[attr-defined]
        return build(self, network, config)  # type: ignore[arg-type]

    monkeypatch.setattr(api.module.Builder, "build_serialized_network", warns)
    plan = compile_plan(ONNX, ORIN, api)
    assert "Conv" in {layer.kind for layer in plan.layers}
    assert plan.log == ("weights were clipped",)


def test_an_unknown_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(unknown_operators=frozenset({"Relu"}))
    with pytest.raises(InputError) as caught:
        compile_plan(ONNX, ORIN, classic(monkeypatch, world))
    assert caught.value.problem.startswith("TensorRT 10.3.0 does not know the operator 'Relu'")
    assert "first.relu" in caught.value.problem
    assert "ONNX" in caught.value.remedy


def test_our_operator_without_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_operator(small_network(), "JunctionVote", "acf")
    with pytest.raises(InputError, match=r"'JunctionVote' \(node 'odd one'\).*--no-plugins"):
        compile_plan(data, ORIN, classic(monkeypatch))


def test_plugins_are_registered_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch)
    model = small_network()
    relu = next(one for one in model.graph.node if one.op_type == "Relu")
    relu.attribute.append(helper.make_attribute("branches", 3))
    data = with_operator(model, "JunctionVote", "acf")
    plan = compile_plan(data, replace(ORIN, plugins=True), api)
    assert [one["name"] for one in content(plan)["plugins"]] == ["JunctionVote"]  # type: ignore[attr-defined]
    unregister(api)


@pytest.mark.parametrize("data", [b"", b"abcdefgh" * 20])
def test_what_is_no_model(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    with pytest.raises(InputError, match="no ONNX file, or a damaged one"):
        compile_plan(data, ORIN, classic(monkeypatch))


def test_a_model_with_other_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_network()
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"
    with pytest.raises(InputError, match=r"takes 'picture' \(UINT8\)"):
        compile_plan(model.SerializeToString(), ORIN, classic(monkeypatch))
    model = small_network()
    model.graph.input[0].type.tensor_type.elem_type = 10
    with pytest.raises(InputError, match=r"'image' \(HALF\)"):
        compile_plan(model.SerializeToString(), ORIN, classic(monkeypatch))


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"without a usable GPU.*CUDA initialization failure"):
        compile_plan(ONNX, ORIN, classic(monkeypatch, World(sm=None)))


def test_too_small_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch, World(needs_workspace=64 << 20))
    with pytest.raises(
        InputError, match=r"workspace of 8 MiB for pictures of 1280x720.*--workspace"
    ):
        compile_plan(ONNX, replace(ORIN, workspace=8 << 20), api)
    assert compile_plan(ONNX, replace(ORIN, workspace=64 << 20), api).data


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Error Code 2: OutOfMemory (no further information)", "ran out of memory"),
        ("Cuda Runtime (out of memory)", "ran out of memory"),
        (
            "[a::b::1] Error Code 2: OutOfMemory (Requested size was 99999999999 bytes.)",
            "workspace",
        ),
        ("[a::b::1] Error Code 2: OutOfMemory (Requested size was 99 bytes.)", "ran out of memory"),
        ("Error Code 10: Could not find any implementation for node {x}.", "workspace"),
        ("CUDA initialization failure with error: 46", "lost the GPU"),
        ("JunctionVote, shape change: NVRTC is missing. Run: pip", "a plugin failed: Junction"),
        ("Error Code 9: something\n  nobody foresaw", "Error Code 9: something nobody foresaw"),
    ],
)
def test_what_a_build_dies_of(monkeypatch: pytest.MonkeyPatch, said: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_plan(ONNX, ORIN, classic(monkeypatch, World(build_fails=said)))
    assert told in caught.value.problem
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_progress_grows_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Progress] = []
    compile_plan(ONNX, ORIN, classic(monkeypatch), seen.append)
    done = [one.done for one in seen]
    assert done[0] == 0.0
    assert done[-1] == 1.0
    assert done == sorted(done)
    assert len(set(done)) > 5


def test_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch)
    seen: list[Progress] = []
    with pytest.raises(CompileCancelled) as caught:
        compile_plan(ONNX, ORIN, api, seen.append, lambda: len(seen) > 3)
    assert caught.value.exit_code == 130
    assert seen[-2].done < 0.5
    # The next one is not disturbed.
    assert compile_plan(ONNX, ORIN, api).data


def test_what_a_callback_raises_stops_the_build_and_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = classic(monkeypatch)

    def interrupted(progress: Progress) -> None:
        if progress.done > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_plan(ONNX, ORIN, api, interrupted)
    assert api.module.world.builds == 0  # type: ignore[attr-defined]


def test_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(ORIN, dla=True, profiles=parse_profiles(["320x180"]))
    with pytest.raises(InputError, match="no deep-learning accelerator here"):
        compile_plan(ONNX, request, classic(monkeypatch))
    api = classic(monkeypatch, World(dla_cores=2))
    seen = []
    make = api.module.Builder.create_builder_config
    monkeypatch.setattr(
        api.module.Builder,
        "create_builder_config",
        lambda self: seen.append(make(self)) or seen[-1],
    )
    built = content(compile_plan(ONNX, request, api))
    assert seen[0].default_device_type == api.module.DeviceType.DLA
    assert seen[0].get_flag(api.module.BuilderFlag.GPU_FALLBACK)
    # No open dimension is left.
    assert built["tensors"][0]["shape"] == [1, 180, 320, 3]  # type: ignore[index]


def test_the_accelerator_takes_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch, World(dla_cores=2))
    for sizes in (["64x64:320x180:1280x720"], ["320x180", "640x360"]):
        with pytest.raises(InputError, match="one size only"):
            compile_plan(ONNX, replace(ORIN, dla=True, profiles=parse_profiles(sizes)), api)


def test_the_hardware_compatible_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    api = classic(monkeypatch, World(sm="86"), "10.13.3.9")
    levels = api.module.HardwareCompatibilityLevel
    request = replace(ORIN, compatible=True)
    with pytest.raises(InputError, match="hardware-compatible"):
        compile_plan(ONNX, request, api)
    card = replace(request, target=sm_target("86"))
    assert content(compile_plan(ONNX, card, api))["compatible"] == int(levels.AMPERE_PLUS)
    assert card.passport_sm == "80+"
    turing = replace(request, target=sm_target("75"))
    same = int(levels.SAME_COMPUTE_CAPABILITY)
    assert content(compile_plan(ONNX, turing, api))["compatible"] == same
    assert turing.passport_sm == "75"
    with pytest.raises(InputError, match="SAME_COMPUTE_CAPABILITY"):
        compile_plan(ONNX, turing, classic(monkeypatch, World(sm="75"), "10.3.0"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profiles": ()}, "No size"),
        ({"level": 6}, "optimization level 6"),
        ({"level": -1}, "optimization level -1"),
        ({"workspace": 0}, "workspace of 0"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"precision": "bf16"}, "no precision 'bf16'"),
        ({"sms": ("86", "89")}, "one compute capability"),
        ({"dla": True, "target": find_target("orin-nano")}, "no deep-learning accelerator"),
    ],
)
def test_requests_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        compile_plan(ONNX, replace(ORIN, **change), classic(monkeypatch))  # type: ignore[arg-type]
