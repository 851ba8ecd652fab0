"""The C++ plugin walks through its life, around the real kernels on a GPU that is not there."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plugin_cases import Case
from plugin_tools import Built, Walk, built_plugin, description, walk

from acf_edge.cuda import kernel_hash
from acf_edge.cuda.plan import Plan
from acf_edge.engine.trt.plugin_fields import (
    NAMESPACE,
    OPERATORS,
    VERSION,
    Settings,
    field_values,
)

KINDS = {"INT32": 5, "FLOAT32": 1}  # nvinfer1::PluginFieldType


@pytest.fixture(scope="module")
def built() -> Built:
    return built_plugin()


VOTE = Case("JunctionVote", "fp16", "hwc8", 1, 8, 3, 9, 7)
ATTENTION = Case("ChannelSpatialAttention", "fp16", "hwc8", 2, 12, 1, 6, 11)
QUANTIZED = replace(VOTE, dtype="int8", form="chw32")


def launches_of(told: Walk, addresses: list[int], case: Case, plan: Plan) -> list[str]:
    """The plan's launches with these addresses, as the stand-in for the driver tells them."""
    names = ("workspace", "output", *case.names())
    buffers = dict(zip(names, addresses, strict=True))
    lines = []
    for launch in plan.launches:
        words = [
            struct.pack("<Q", argument) if isinstance(argument, int) else argument.tobytes()
            for argument in launch.resolve(buffers)
        ]
        shape = " ".join(map(str, (*launch.grid, *launch.block, launch.shared)))
        lines.append(f"{launch.kernel} {shape} {','.join(word.hex() for word in words)}")
    return lines


@pytest.mark.parametrize("operator", OPERATORS)
def test_fields_and_bytes_are_those_of_the_python_plugin(built: Built, operator: str) -> None:
    case = replace(VOTE if operator == "JunctionVote" else ATTENTION, dtype="int8", form="chw32")

    told = walk(built, [*case.words(), "stop=built"])

    settings = Settings(case.extra if case.voting else 0, *case.scales)
    wanted = field_values(case.operator, settings)  # type: ignore[arg-type]
    assert told.of("serialized") == [
        f"{value.name} {KINDS[value.kind]} 1 {value.data.tobytes().hex()}" for value in wanted
    ]
    assert told.of("advertises") == [f"{value.name} {KINDS[value.kind]} 1 " for value in wanted]


def test_what_the_library_says_about_itself(built: Built) -> None:
    told = walk(built, [*VOTE.words(), "stop=created"])

    assert [line.split() for line in told.of("creator")] == [
        ["PLUGIN", "CREATOR_V3ONE", operator, VERSION, NAMESPACE] for operator in OPERATORS
    ]
    found = description(told)
    assert found["kernels"] == kernel_hash()
    assert found["sms"] == [87]
    assert (found["namespace"], found["version"]) == (NAMESPACE, VERSION)
    assert built.version.startswith(str(found["tensorrt"]) + ".")


CASES = [
    VOTE,
    replace(VOTE, channels=5, extra=2),
    replace(VOTE, dtype="fp32", form="linear", n=2, height=5, width=3),
    replace(VOTE, dtype="fp32", form="hwc", channels=7),
    replace(VOTE, form="linear", weights="fp32"),
    QUANTIZED,
    replace(QUANTIZED, form="linear", channels=10, width=13),
    replace(QUANTIZED, form="hwc16", weights="fp32"),
    ATTENTION,
    replace(ATTENTION, extra=12, form="linear", n=1),
    replace(ATTENTION, dtype="fp32", form="linear", extra=1),
    replace(ATTENTION, dtype="int8", form="chw32", extra=12, n=1),
    replace(VOTE, shift=2, n=1),
    replace(ATTENTION, form="linear", shift=6),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case)[5:60])
def test_a_whole_life_gives_the_references_result(built: Built, case: Case, tmp_path: Path) -> None:
    """Creation, clone, build, fields written and read, context, captured launches."""
    told = walk(built, case.words(tmp_path))

    assert told.code == 0, told.errors
    assert told.one("read") == "plugin"
    assert told.of("enqueue") == ["0", "0"], told.lines
    assert told.of("guards") == ["intact", "intact"]
    assert told.one("again") == "same"
    assert not [line for line in told.of("cuda") if "FAILED" in line or "CAPTURING" in line]
    found, padding = case.output(tmp_path)
    relative, absolute = case.tolerances()
    np.testing.assert_allclose(found, case.expected(), rtol=relative, atol=absolute)
    assert not padding.any()


def test_kernels_may_be_loaded_while_a_stream_is_captured(built: Built, tmp_path: Path) -> None:
    told = walk(built, [*VOTE.words(tmp_path), "early=1"])

    assert told.one("shape-change") == "0", told.lines
    assert told.of("enqueue") == ["0", "0"]
    assert not [line for line in told.of("cuda") if "CAPTURING" in line]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case)[5:60])
def test_launches_and_workspace_are_those_of_the_python_plan(
    built: Built, case: Case, tmp_path: Path
) -> None:
    told = walk(built, [*case.words(tmp_path), "runs=1"], host=False)

    plan = case.plan(aligned=case.shift == 0)
    addresses = [int(word, 16) for word in told.one("addresses").split()]
    assert told.of("launch") == launches_of(told, addresses, case, plan)
    assert int(told.one("workspace")) >= plan.workspace


def test_any_size_of_the_profile_fits_into_the_workspace(built: Built) -> None:
    """Smaller pictures can be cut into more parts than the largest: their sums need room, too."""
    wide = replace(VOTE, height=1)
    sizes = (1, 1000, 174079, 174080, 174081)
    rooms = [replace(wide, width=width).plan().workspace for width in sizes]
    assert max(rooms) > rooms[-1], "a case in which this matters"

    told = walk(built, [*wide.words(), f"profile=1x{sizes[-1]}", "stop=built"])

    assert int(told.one("workspace")) >= max(rooms)


def test_shapes_follow_symbols(built: Built) -> None:
    known = walk(built, [*VOTE.words(), "stop=built"])
    open_ = walk(built, [*VOTE.words(), "profile=64x64", "stop=built"])
    attention = walk(built, [*ATTENTION.words(), "profile=64x64", "stop=built"])

    assert known.one("shapes") == "0 1 8 9 7"
    assert open_.one("shapes") == "0 1 8 h w"
    assert attention.one("shapes") == "0 2 12 h w"
    assert open_.one("configure") == "0"


FLOAT_FORMATS = {("fp32", "linear"), ("fp32", "hwc"), ("fp16", "linear"), ("fp16", "hwc8")}


@pytest.mark.parametrize("case", [VOTE, ATTENTION, QUANTIZED], ids=lambda case: str(case)[5:40])
def test_formats_are_those_of_the_kernels(built: Built, case: Case) -> None:
    told = walk(built, [*case.words(), "stop=built"])

    found = [[tuple(word.split("/")) for word in line.split()] for line in told.of("combination")]
    allowed = FLOAT_FORMATS
    if case.dtype == "int8":
        allowed = {("int8", "linear"), ("int8", "chw32")}
        if [int(n) for n in built.version.split(".")] >= [10, 9]:
            allowed |= {("int8", "hwc16")}
    assert {line[0] for line in found} == allowed
    for features, logits, *weights, output in found:
        assert features == logits == output
        assert set(weights) in ({("fp16", "linear")}, {("fp32", "linear")})
    # Each layout with weights in FP16 and in FP32, and TensorRT asks for no more than it tries.
    assert len(found) == 2 * len(allowed) <= 100
    assert told.one("tactics") == "0 limit 100"


def test_timings_are_kept_apart_by_kernels_and_settings(built: Built) -> None:
    ids = {
        walk(built, [*case.words(), "stop=built"]).one("timing")
        for case in (VOTE, QUANTIZED, replace(VOTE, extra=2), ATTENTION)
    }

    assert len(ids) == 4
    assert all(kernel_hash()[:16] in text for text in ids)
