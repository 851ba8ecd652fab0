"""Launch plans: the same in Python and in C++, for every shape, and wrong shapes are refused."""

from __future__ import annotations

import functools
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operator_runs import Case, random_case

from acf_edge.cuda.operators import plan_attention, plan_junction_vote, stored_elements
from acf_edge.cuda.plan import Plan, Pointer
from acf_edge.resources import data_folder

INPUTS = {
    "features": 0,
    "element_logits": 1,
    "weight": 2,
    "bias": 3,
    "spatial_logits": 1,
    "squeeze_weight": 2,
    "squeeze_bias": 3,
    "excite_weight": 4,
    "excite_bias": 5,
    "output": -1,
    "workspace": -2,
}
DTYPES = {"fp16": 0, "fp32": 1, "int8": 2}
LAYOUTS = {"nchw": 0, "nhwc": 1, "chw32": 2}

PRINTER = r"""
#include <cinttypes>
#include <cstdio>
#include "acf/plan.h"
using namespace acf::plan;
int main() {
    long long n, c, third, h, w, maps, multiple;
    int dtype, layout, weights, aligned;
    float a, b, d;
    while (std::scanf("%lld %lld %lld %lld %lld %lld %d %d %d %f %f %f %lld %d", &n, &c, &third,
                      &h, &w, &maps, &dtype, &layout, &weights, &a, &b, &d, &multiple,
                      &aligned) == 14) {
        Form form;
        form.dtype = static_cast<Dtype>(dtype);
        form.layout = static_cast<Layout>(layout);
        form.weights = static_cast<Dtype>(weights);
        form.scales[0] = a;
        form.scales[1] = b;
        form.scales[2] = d;
        form.multiple = multiple;
        form.aligned = aligned != 0;
        Plan plan;
        try {
            plan = maps ? attention(n, c, third, h, w, maps, form)
                        : junction_vote(n, c, third, h, w, form);
        } catch (const std::invalid_argument&) {
            std::printf("refused\n");
            continue;
        }
        std::printf("%zu", plan.workspace);
        for (const Launch& l : plan.launches) {
            std::printf(" | %s %u %u %u %u %u %u %u", l.kernel.c_str(), l.grid.x, l.grid.y,
                        l.grid.z, l.block.x, l.block.y, l.block.z, l.shared);
            for (const Argument& x : l.arguments)
                if (x.kind == Argument::Kind::kPointer)
                    std::printf(" p%d+%" PRId64, x.buffer, x.integer);
                else if (x.kind == Argument::Kind::kFloat32)
                    std::printf(" f%.9g", static_cast<double>(x.real));
                else
                    std::printf(" %c%" PRId64, x.kind == Argument::Kind::kInt32 ? 'i' : 'l',
                                x.integer);
        }
        std::printf("\n");
    }
}
"""


def text_of(plan: Plan) -> str:
    """As the program above prints a plan."""
    parts = [str(plan.workspace)]
    for launch in plan.launches:
        words: list[Any] = [launch.kernel, *launch.grid, *launch.block, launch.shared]
        for argument in launch.arguments:
            if isinstance(argument, Pointer):
                words.append(f"p{INPUTS[argument.name]}+{argument.offset}")
            elif isinstance(argument, np.float32):
                words.append(f"f{float(argument):.9g}")
            else:
                words.append(f"{'i' if isinstance(argument, np.int32) else 'l'}{argument}")
        parts.append(" ".join(map(str, words)))
    return " | ".join(parts)


def line_of(case: Case) -> str:
    weights = case.weights or ("fp32" if case.dtype == "fp32" else "fp16")
    words = [case.n, case.channels, case.third, case.height, case.width, case.maps]
    words += [DTYPES[case.dtype], LAYOUTS[case.layout], DTYPES[weights]]
    return " ".join(map(str, [*words, *case.scales, case.multiple or 0, int(case.aligned)]))


@functools.cache
def printer() -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("compares with C++: needs g++")
    program = Path(tempfile.mkdtemp(prefix="acf-plan-")) / "printer"
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{data_folder('kernels')}", "-x", "c++", "-", "-o", str(program)]
    subprocess.run(command, input=PRINTER, text=True, check=True)
    return program


def in_cpp(cases: list[Case]) -> list[str]:
    text = "\n".join(line_of(case) for case in cases)
    done = subprocess.run([printer()], input=text, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


HUGE = [
    Case(8, 32, 3, 720, 1280, "fp16", "nchw"),
    Case(1, 32, 3, 720, 1280, "fp16", "nhwc"),
    Case(1, 32, 8, 4320, 7680, "int8", "chw32", maps=1),
    Case(1, 32, 8, 4320, 7680, "fp32", "nhwc", maps=32),
    Case(1, 32, 3, 2**20, 2**20, "fp16", "nchw"),
    Case(1, 3072, 512, 2**16, 2**16, "fp16", "nhwc", maps=1),
    Case(70000, 7, 3, 1, 1, "fp32", "nchw"),
    Case(70000, 7, 3, 1, 1, "int8", "nhwc", maps=1),
    Case(1, 600000, 1, 1, 8, "fp16", "nchw", maps=1),
]


def test_python_and_cpp_make_the_same_plans() -> None:
    cases = [random_case(seed, bool(seed % 2)) for seed in range(400)] + HUGE
    lines = in_cpp(cases)
    assert len(lines) == len(cases)
    for case, line in zip(cases, lines, strict=True):
        assert line == text_of(case.plan()), case


@pytest.mark.parametrize("case", HUGE, ids=str)
def test_grids_and_blocks_are_what_gpus_have(case: Case) -> None:
    plan = case.plan()
    assert plan.workspace > 0
    for launch in plan.launches:
        x, y, z = launch.grid
        assert 1 <= x <= 2**31 - 1
        assert 1 <= y <= 65535
        assert 1 <= z <= 65535
        assert 1 <= math.prod(launch.block) <= (512 if "votes" in launch.kernel else 256)
    # So many partial sums and means for a channel, however large the picture.
    assert plan.workspace < 4 * 600 * case.n * case.inputs + 4 * 64 * case.n * case.third + 4096


def test_the_workspace_is_used_without_overlap() -> None:
    plan = Case(2, 24, 5, 33, 47, "fp16", "nchw", maps=1).plan()
    offsets = sorted(
        {
            argument.offset
            for launch in plan.launches
            for argument in launch.arguments
            if isinstance(argument, Pointer) and argument.name == "workspace"
        }
    )
    assert len(offsets) == 4
    assert all(offset % 256 == 0 for offset in offsets)
    assert plan.buffers == (
        "excite_bias",
        "excite_weight",
        "features",
        "output",
        "spatial_logits",
        "squeeze_bias",
        "squeeze_weight",
        "workspace",
    )


def test_arguments_get_their_addresses() -> None:
    launch = Case(1, 8, 3, 4, 4, "fp16", "nchw").plan().launches[0]
    features, partial, *rest = launch.resolve({"features": 4096, "workspace": 512})
    assert (features, partial) == (4096, 512)
    assert all(isinstance(value, np.generic) for value in rest)
    with pytest.raises(KeyError):
        launch.resolve({"features": 4096})


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "options"),
    [
        ((0, 8, 3, 4, 4), "fp16", "nchw", {}),
        ((1, 8, 0, 4, 4), "fp16", "nchw", {}),
        ((1, 8, 3, 4, 2**31), "fp16", "nchw", {}),
        ((2**20, 2**20, 1, 1, 1), "fp16", "nchw", {}),
        ((1, 8, 3, 4, 4), "fp16", "chw32", {}),
        ((1, 8, 3, 4, 4), "int8", "nchw", {}),
        ((1, 8, 3, 4, 4), "int8", "nchw", {"scales": (0.1, float("nan"), 0.1)}),
        ((1, 8, 3, 4, 4), "int8", "nchw", {"scales": (0.1, 0.1, -0.1)}),
        ((1, 8, 3, 4, 4), "fp64", "nchw", {}),
        ((1, 8, 3, 4, 4), "fp16", "nhwc", {"multiple": -8}),
    ],
)
def test_wrong_shapes_are_refused(
    shape: tuple[int, ...], dtype: Any, layout: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        plan_junction_vote(*shape, dtype, layout, **options)
    with pytest.raises(ValueError):
        plan_attention(*shape, dtype, layout, **options)


def test_maps_are_one_or_one_per_channel() -> None:
    with pytest.raises(ValueError, match="2 maps"):
        plan_attention(1, 8, 4, 4, 4, "fp16", "nchw", maps=2)


def test_cpp_refuses_what_python_refuses() -> None:
    cases = [
        Case(0, 8, 3, 4, 4, "fp16", "nchw"),
        Case(1, 8, 3, 4, 4, "fp16", "chw32"),
        Case(1, 8, 4, 4, 4, "fp16", "nchw", maps=2),
        Case(2**20, 2**20, 1, 1, 1, "fp16", "nchw", maps=1),
        Case(1, 8, 3, 4, 4, "fp16", "nhwc", multiple=-8),
    ]
    silent = Case(1, 8, 3, 4, 4, "int8", "nchw")
    object.__setattr__(silent, "scales", (0.1, 0.0, 0.1))
    assert in_cpp([*cases, silent]) == ["refused"] * 6


@pytest.mark.parametrize(
    ("channels", "dtype", "layout", "multiple", "elements"),
    [
        (20, "fp16", "nchw", None, 20),
        (20, "fp16", "nhwc", None, 24),
        (20, "fp16", "nhwc", 1, 20),
        (20, "fp32", "nhwc", None, 20),
        (20, "int8", "nhwc", None, 32),
        (33, "int8", "chw32", None, 64),
    ],
)
def test_what_a_tensor_takes_in_memory(
    channels: int, dtype: Any, layout: Any, multiple: int | None, elements: int
) -> None:
    assert stored_elements(2, channels, 3, 5, dtype, layout, multiple) == 2 * 15 * elements


def test_the_plan_needs_no_compiler_and_no_cuda() -> None:
    code = (
        "import sys; from acf_edge.cuda.operators import plan_attention;"
        "plan_attention(1, 8, 4, 4, 4, 'fp16', 'nchw');"
        "assert not {m for m in sys.modules if m.split('.')[0] in ('cuda', 'torch', 'tensorrt')}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
