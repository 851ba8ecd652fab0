"""What our kernels are timed against computes the same: PyTorch, and Triton where it is installed.

Triton's interpreter runs its kernels without a GPU.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from acf_edge.cuda.border import Coding
from benchmarks import border_reference, kernels_rivals, kernels_subjects, kernels_torch
from benchmarks import kernels_cases as cases
from benchmarks.kernels_cases import ATTENTION, JUNCTION, Case

SMALL = [
    Case(JUNCTION, "fp32", "nchw", 2, 5, 9, 7, branches=3),
    Case(JUNCTION, "fp32", "nhwc", 1, 8, 12, 16, branches=2),
    Case(JUNCTION, "fp32", "nchw", 1, 4, 1, 1, branches=1),
    Case(ATTENTION, "fp32", "nchw", 2, 12, 7, 9, squeeze=3),
    Case(ATTENTION, "fp32", "nhwc", 1, 8, 5, 1, squeeze=2, maps=8),
    Case(JUNCTION, "fp16", "nhwc", 1, 16, 20, 24, branches=3),
    Case(ATTENTION, "fp16", "nchw", 1, 16, 20, 24),
]
INT8 = Case(JUNCTION, "int8", "nchw", 1, 8, 9, 10, branches=3)
LIMITS = {"fp32": 1e-5, "fp16": 5e-3}  # in FP16 they round products on their way


def tensors(case: Case, inputs: cases.Inputs) -> list[torch.Tensor]:
    form = torch.channels_last if case.layout == "nhwc" else torch.contiguous_format
    maps = [torch.from_numpy(array) for array in (inputs.features, inputs.logits)]
    placed = [tensor.contiguous(memory_format=form) for tensor in maps]
    return placed + [torch.from_numpy(array) for array in inputs.weights.values()]


@pytest.fixture(scope="module")
def triton() -> Iterator[ModuleType]:
    """The Triton kernels, interpreted."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    if "triton" in sys.modules:
        pytest.skip("Triton was imported to compile: run this file alone")
    names = ("benchmarks.kernels_triton", "benchmarks.kernels_triton_border")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for name in names:
            sys.modules.pop(name, None)
        module = importlib.import_module(names[0])
        module.border = importlib.import_module(names[1])  # type: ignore[attr-defined]
        yield module
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.label)
def test_torch_agrees_with_the_reference(case: Case) -> None:
    inputs = cases.make_inputs(case, seed=1)
    given = tensors(case, inputs)
    if case.operator == JUNCTION:
        result = kernels_torch.junction_vote(*given, case.branches)
    else:
        result = kernels_torch.channel_spatial_attention(*given)
    assert result.dtype == given[0].dtype
    assert cases.error(case, result.numpy(), cases.truth(case, inputs)) <= LIMITS[case.dtype]


@pytest.mark.parametrize("operator", cases.OPERATORS)
def test_torch_in_int8_is_at_most_a_step_off(operator: str) -> None:
    case = Case(operator, "int8", "nchw", 1, 8, 9, 10, branches=3 if operator == JUNCTION else 1)
    inputs = cases.make_inputs(case, seed=2)
    given = tensors(case, inputs)
    if operator == JUNCTION:
        result = kernels_torch.junction_vote(*given, case.branches, case.scales)
    else:
        result = kernels_torch.channel_spatial_attention(*given, case.scales)
    assert result.dtype == torch.int8 and result.abs().max() > 40
    assert cases.error(case, result.numpy(), cases.truth(case, inputs)) <= 1.0


@pytest.mark.parametrize("tile", [(1, 64), (8, 32), (32, 16)], ids=str)
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.label)
def test_triton_agrees_with_the_reference(
    triton: ModuleType, case: Case, tile: tuple[int, int]
) -> None:
    inputs = cases.make_inputs(case, seed=3)
    given = tensors(case, inputs)
    form = torch.channels_last if case.layout == "nhwc" else torch.contiguous_format
    output = torch.full(case.output, 9.0, dtype=given[0].dtype).contiguous(memory_format=form)
    if case.operator == JUNCTION:
        triton.junction_vote(*given, case.branches, output, tile)
    else:
        triton.channel_spatial_attention(*given, output, tile)
    limit = {"fp32": 1e-5, "fp16": 1e-3}[case.dtype]
    assert cases.error(case, output.numpy(), cases.truth(case, inputs)) <= limit


CODINGS = [Coding(1, False, "left"), Coding(5, True, "center"), Coding(9, False, "topleft")]
SIZES = [(6, 8), (7, 9), (1, 1), (13, 34)]


def nv12(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(height * width)
    luma = random.integers(0, 256, (2, height, width), np.uint8)
    chroma = random.integers(0, 256, (2, (height + 1) // 2, (width + 1) // 2, 2), np.uint8)
    return torch.from_numpy(luma), torch.from_numpy(chroma)


def rgb_truth(luma: torch.Tensor, chroma: torch.Tensor, coding: Coding) -> torch.Tensor:
    rows = [
        border_reference.nv12_to_rgb(
            luma[n].numpy(), chroma[n].numpy(), coding.matrix, coding.full, coding.siting
        )
        for n in range(len(luma))
    ]
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_torch_reads_and_writes_frames(coding: Coding, size: tuple[int, int]) -> None:
    luma, chroma = nv12(*size)
    expected = rgb_truth(luma, chroma, coding)
    rgb = kernels_torch.nv12_to_rgb(luma, chroma, coding)
    assert (rgb.double() - expected).abs().max() < 0.501
    planes = kernels_torch.nv12_to_planar(luma, chroma, coding, torch.float32)
    torch.testing.assert_close(
        planes.permute(0, 2, 3, 1).double() * 255, expected, atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        kernels_torch.planar_to_rgb(kernels_torch.rgb_to_planar(rgb, torch.float16)), rgb
    )
    for written in (
        kernels_torch.rgb_to_nv12(rgb, coding),
        kernels_torch.planar_to_nv12(rgb.permute(0, 3, 1, 2) / 255.0, coding),
    ):
        check_nv12(written, rgb, coding, 0.501)


def check_nv12(
    written: tuple[torch.Tensor, torch.Tensor], rgb: torch.Tensor, coding: Coding, limit: float
) -> None:
    for n in range(len(rgb)):
        truth = border_reference.rgb_to_nv12(
            rgb[n].numpy().astype(np.float64), coding.matrix, coding.full, coding.siting
        )
        for plane, expected in zip(written, truth, strict=True):
            assert np.abs(plane[n].numpy().astype(np.float64) - expected).max() < limit


@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_triton_reads_and_writes_frames(
    triton: ModuleType, coding: Coding, size: tuple[int, int]
) -> None:
    luma, chroma = nv12(*size)
    rgb = triton.border.nv12_to_rgb(
        luma, chroma, coding, torch.full((2, *size, 3), 7, dtype=torch.uint8)
    )
    assert (rgb.double() - rgb_truth(luma, chroma, coding)).abs().max() < 0.501
    written = triton.border.empty_nv12(2, *size, torch.device("cpu"))
    triton.border.rgb_to_nv12(rgb, coding, *written)
    check_nv12(written, rgb, coding, 0.501)


SUBJECTS = [
    *(kernels_subjects.operator_subject(case, 0) for case in [*SMALL, INT8]),
    *(
        kernels_subjects.border_subject(kernels_subjects.BorderCase(kind, 1, 6, 10), 0)
        for kind in kernels_subjects.PLANS
    ),
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.label)
def test_torch_compile_gets_each_body_whole(
    subject: kernels_subjects.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that breaks would be launched in pieces: no fair rival. (No code is generated.)"""
    compile_ = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda body, dynamic: compile_(body, dynamic=dynamic, backend="eager", fullgraph=True),
    )
    given = [torch.from_numpy(array) for array in subject.inputs.values()]
    if isinstance(subject.case, Case) and subject.case.layout == "nhwc":
        for index, shape in enumerate((subject.case.features, subject.case.logits)):
            given[index] = given[index].permute(0, 3, 1, 2)[:, : shape[1]]
    results = []
    for name in ("eager", "compile"):
        run = kernels_rivals._make(name, subject.case, given)
        assert not isinstance(run, str)
        results.append(kernels_rivals._arrays(run(given)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_rival_says_why() -> None:
    case = Case(JUNCTION, "int8", "chw32", 1, 8, 4, 4, branches=2)
    assert kernels_rivals._make("eager", case, []) == "PyTorch has no such layout"
