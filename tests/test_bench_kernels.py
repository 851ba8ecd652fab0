"""The benchmark of the kernels, end to end: a stand-in of the driver that runs the kernels
themselves, on the host. What it cannot tell is how fast a GPU is."""

from __future__ import annotations

import ctypes
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_cuda
import numpy as np
import pytest
import torch  # noqa: F401  it imports the bindings, and has to before the stand-in does
from host_kernels import HostKernels, build_kernels
from rich.console import Console

from acf_edge.cuda.driver import Device
from acf_edge.cuda.kernels import Kernels
from acf_edge.cuda.plan import Pointer
from acf_edge.ops.reference import sigmoid
from acf_edge.resources import data_folder
from benchmarks import kernels, kernels_board, kernels_cases, kernels_rivals, kernels_subjects
from benchmarks.kernels_cases import ATTENTION, JUNCTION, Case, Traffic
from benchmarks.kernels_subjects import BorderCase
from benchmarks.kernels_table import show_checks, show_timings, verdict

_L2 = 38
_CACHE = 1 << 12


class Board(fake_cuda.Machine):
    """A GPU whose kernels are emulated, with a small cache."""

    CUdevice_attribute = int  # the stand-in's own words lack the size of the cache

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        return _CACHE if int(attribute) == _L2 else super().cuDeviceGetAttribute(attribute, device)


def emulated(host: HostKernels, name: str, sizes: tuple[int, ...]) -> fake_cuda.FakeKernel:
    """One kernel on the stand-in's memory."""

    def run(memory: Any, grid: Any, block: Any, arguments: list[bytes]) -> None:
        cells = [np.frombuffer(raw, np.uint8).copy() for raw in arguments]
        for cell in cells:
            if cell.size == 8:
                try:
                    place = memory.view(int(cell.view(np.uint64)[0]), 1).ctypes.data
                except fake_cuda.BadAddress:
                    continue  # a number, no address
                cell.view(np.uint64)[0] = place
        count = len(cells)
        text = ctypes.create_string_buffer(600)
        failed = host.library.acf_host_launch(
            name.encode(),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            (ctypes.c_void_p * count)(*[cell.ctypes.data for cell in cells]),
            (ctypes.c_int * count)(*[cell.size for cell in cells]),
            count,
            48 * 1024,
            2,
            text,
            len(text),
        )
        assert not failed, text.value.decode()

    return fake_cuda.FakeKernel(sizes, run)


def plans() -> Iterator[Any]:
    for operator in kernels_cases.OPERATORS:
        for dtype, layout in kernels_cases.FORMS:
            for seed in range(4):
                for case in kernels_cases.random_cases(operator, dtype, layout, 12, seed):
                    yield case.plan()
            shape = (1, 32, 720, 1280)
            yield Case(operator, dtype, layout, *shape).plan()
    for conversion in kernels_subjects.random_border_cases(2, 0):
        yield conversion.plan()


@pytest.fixture(scope="module")
def signatures() -> dict[str, tuple[int, ...]]:
    """Kernels by name: the bytes of their parameters, as the plans give them."""
    return {
        launch.kernel: tuple(8 if isinstance(a, Pointer) else a.itemsize for a in launch.arguments)
        for plan in plans()
        for launch in plan.launches
    }


@pytest.fixture
def machine(
    signatures: dict[str, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Board]:
    host = build_kernels(tuple(sorted(p.name for p in data_folder("kernels").glob("*.cu"))))
    board = Board("random", seed=5, memory=4 << 30)
    for name, sizes in signatures.items():
        board.kernels[name] = emulated(host, name, sizes)

    def load(device: Device) -> Kernels:
        return Kernels(device, board.cubin())

    monkeypatch.setattr(kernels_board, "load_kernels", load)
    with fake_cuda.installed(board):
        yield board


def test_checks_and_times_give_a_file_and_a_table(
    machine: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kernels.json"
    arguments = ["--shapes", "1", "--size", "16x6", "--channels", "8", "--rounds", "2"]
    arguments += ["--dtype", "fp16"]
    assert kernels.main([*arguments, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["device"]["name"] == "Stand-in" and found["device"]["cache"] == _CACHE
    assert found["date"] and "--size 16x6" in found["command"] and found["copy_gb_per_s"] > 0
    forms = len(kernels_cases.FORMS)
    assert len(found["checks"]) == 2 * forms + len(kernels_subjects.PLANS)
    assert all(row["error"] <= 1 for row in found["checks"])
    assert len(found["timings"]) == 2 * 2 + len(kernels_subjects.PLANS)
    for row in found["timings"]:
        assert list(row["samples_ms"]) == ["ours"] and len(row["samples_ms"]["ours"]) == 2
        assert set(row["missing"]) == set(kernels_rivals.NAMES)
    shown = capsys.readouterr().out
    assert "random shapes are right" in shown and "junction_vote fp16" in shown
    assert machine.leaks() == {}


def test_a_wrong_kernel_is_named_and_fails(
    machine: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    right = machine.kernels["rgb_to_nv12"]

    def off_by_two(memory: Any, grid: Any, block: Any, arguments: list[bytes]) -> None:
        right.run(memory, grid, block, arguments)
        luma = memory.view(int.from_bytes(arguments[1], "little"), 1)
        luma += 2

    machine.kernels["rgb_to_nv12"] = dataclasses.replace(right, run=off_by_two)
    assert kernels.main(["--checks-only", "--shapes", "2"]) == 1
    shown = capsys.readouterr().out
    assert "WRONG  rgb_to_nv12" in shown and "WRONG  nv12_to_rgb" not in shown


def test_results_that_nobody_wrote_are_wrong(machine: Board) -> None:
    for name, kernel in machine.kernels.items():
        machine.kernels[name] = dataclasses.replace(kernel, run=lambda *given: None)
    board = kernels_board.Board()
    checks = kernels.check(board, kernels.random_subjects(1, 0))
    board.close()
    assert all(not check.error <= 1 for check in checks)


def test_without_a_gpu_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_cuda.installed(Board(devices=0)):
        assert kernels.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("kernels: error: ")


@pytest.mark.parametrize("bad", [["--size", "1280"], ["--rounds", "0"], ["--dtype", "bf16"]])
def test_bad_arguments_are_refused(bad: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        kernels.main(bad)
    assert left.value.code == 2


def test_bytes_that_must_move() -> None:
    pixels = 1280 * 720
    case = Case(JUNCTION, "fp16", "nchw", 1, 32, 720, 1280, branches=3)
    features, output = 2 * 96 * pixels, 2 * 32 * pixels
    weights = 2 * (96 * 96 + 96)
    once = 2 * features + output + weights
    assert kernels_cases.traffic(case, 0) == Traffic(once, once + features, once + features)
    held = kernels_cases.traffic(case, 50 << 20)
    assert held.must == once + features - (50 << 20)
    assert kernels_cases.traffic(case, 1 << 30).must == once
    # One map for all channels; its padding in NHWC is moved, too.
    case = Case(ATTENTION, "fp16", "nchw", 1, 32, 720, 1280, squeeze=8)
    once = 2 * (32 + 1 + 32) * pixels + 2 * (2 * 8 * 32 + 8 + 32)
    assert kernels_cases.traffic(case, 0).once == once
    padded = dataclasses.replace(case, layout="nhwc")
    assert kernels_cases.traffic(padded, 0).once == once + 2 * 7 * pixels
    subject = kernels_subjects.border_subject(BorderCase("nv12_to_rgb", 1, 7, 9), 0)
    assert subject.traffic(0).must == 7 * 9 + 4 * 5 * 2 + 7 * 9 * 3
    subject = kernels_subjects.border_subject(BorderCase("rgb_to_planar", 2, 4, 6, "fp32"), 0)
    assert subject.traffic(0).once == 2 * 24 * 3 * (1 + 4)


@pytest.mark.parametrize(("dtype", "layout"), kernels_cases.FORMS)
def test_layouts_pack_and_unpack(dtype: str, layout: str) -> None:
    random = np.random.default_rng(0)
    shape = (2, 11, 3, 5)
    array = random.integers(-100, 100, shape).astype(kernels_cases.NUMBERS[dtype])
    multiple = kernels_cases.MULTIPLES.get((dtype, layout), 1)
    packed = kernels_cases.pack(array, layout, multiple)
    assert packed.nbytes == kernels_cases.packed_bytes(shape, dtype, layout)
    raw = packed.reshape(-1).view(np.uint8)
    np.testing.assert_array_equal(kernels_cases.unpack(raw, shape, dtype, layout), array)
    if layout == "nhwc":
        assert (packed[1, 2, 3, :11] == array[1, :, 2, 3]).all()
    if layout == "chw32":
        assert (packed[1, 0, 2, 3, :11] == array[1, :, 2, 3]).all()


def test_a_sigmoid_of_one_instruction_is_right_and_a_step_is_not() -> None:
    # A GPU's tanh.approx is off by what the emulation's is not.
    case = Case(JUNCTION, "int8", "nchw", 1, 32, 64, 64, branches=3)
    inputs = kernels_cases.make_inputs(case, 0)
    x, e = (np.asarray(a[0], np.float64) for a in (inputs.features, inputs.logits))
    weights = [array.astype(np.float64) for array in inputs.weights.values()]
    vote = sigmoid(weights[0] @ (x * case.scales[0]).mean(axis=(1, 2)) + weights[1])
    off = np.random.default_rng(0).choice([-1.0, 1.0], e.shape) * 2.0**-12
    codes = x * (sigmoid(e * case.scales[1]) + off) * vote[:, None, None]
    codes = codes.reshape(3, 32, 64, 64).sum(0, keepdims=True) * case.scales[0] / case.scales[2]
    result = np.clip(np.rint(codes), -128, 127)
    expected = kernels_cases.truth(case, inputs)
    assert 0.51 < kernels_cases.error(case, result, expected) <= kernels_cases.limit(case)
    result[0, 0, 0, 0] += np.sign(np.rint(codes) - codes)[0, 0, 0, 0] or 1.0
    assert kernels_cases.error(case, result, expected) > kernels_cases.limit(case)


def test_sets_of_buffers_outgrow_the_cache() -> None:
    assert kernels.sets_needed(500 << 20, 50 << 20) == 1
    assert kernels.sets_needed(4 << 20, 50 << 20) == 50
    assert kernels.sets_needed(1000, 50 << 20) == 64


def test_the_verdict_names_what_is_faster() -> None:
    traffic = Traffic(100, 100, 150)
    row = kernels.Timing("a kernel", traffic, 4, {"ours": [1.0, 3.0, 2.0], "eager": [2.5]})
    row.share = 0.71
    assert row.median("ours") == 2.0 and verdict(row) == "ok"
    row.samples_ms["compile"] = [1.9]
    row.share = 0.69
    assert verdict(row) == "below 70%, compile is faster"
    console = Console(width=200, record=True)
    row.missing["triton"] = "Triton is not installed"
    show_timings(console, [row], 3e12)
    show_checks(console, [kernels.Check("one", 0.5), kernels.Check("two", float("nan"))])
    text = console.export_text()
    assert "3000 GB/s" in text and "2000.0" in text and "69%" in text
    assert "not timed: triton: Triton is not installed" in text
    assert "WRONG  two" in text and "1 of 2 random shapes" in text
