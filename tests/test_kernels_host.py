"""The operators' kernels, whole, on the host, against the float64 reference."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import replace

import numpy as np
import pytest
from host_kernels import Buffers, build_kernels
from operator_runs import FILES, Case, Inputs, check, draw, judge, random_case, refer, run

from acf_edge.cuda.plan import Launch, Plan

FORMS = [
    ("fp16", "nchw"),
    ("fp16", "nhwc"),
    ("fp32", "nchw"),
    ("fp32", "nhwc"),
    ("int8", "nchw"),
    ("int8", "nhwc"),
    ("int8", "chw32"),
]


@pytest.mark.parametrize("seed", range(48))
def test_a_junction_of_any_shape_is_the_reference(seed: int) -> None:
    check(random_case(seed, attention=False), order=seed % 4)


@pytest.mark.parametrize("seed", range(48, 96))
def test_an_attention_of_any_shape_is_the_reference(seed: int) -> None:
    check(random_case(seed, attention=True), order=seed % 4)


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("maps", [0, 1, 16])
def test_the_shape_of_the_networks(dtype: str, layout: str, maps: int) -> None:
    # Several parts of a channel, several tiles, a last tile that is not full.
    case = Case(1, 16, 8 if maps else 3, 90, 160, dtype, layout, maps)  # type: ignore[arg-type]
    names = [launch.kernel for launch in case.plan().launches]
    assert not any(name.endswith("_any") for name in names)
    check(case)


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 1, 1, 1, 3), (1, 7, 2, 1, 1)])
@pytest.mark.parametrize("maps", [0, 1])
def test_the_smallest(
    dtype: str, layout: str, shape: tuple[int, int, int, int, int], maps: int
) -> None:
    check(Case(*shape, dtype, layout, maps))  # type: ignore[arg-type]


@pytest.mark.parametrize("branches", range(1, 9))
def test_any_number_of_branches(branches: int) -> None:
    check(Case(2, 8, branches, 5, 13, "fp16", "nchw", seed=branches))
    check(Case(2, 8, branches, 5, 13, "fp16", "nhwc", seed=branches))


def test_more_channels_than_a_block_votes_on() -> None:
    check(Case(2, 50, 3, 3, 8, "fp16", "nhwc"))
    check(Case(2, 140, 40, 3, 8, "fp32", "nchw", maps=1))
    check(Case(1, 520, 1, 2, 3, "fp16", "nhwc"))  # and more packs than a block is wide


def narrowed(launch: Launch) -> Launch:
    """As if a grid's y and z ended at a few, not at 65535, where a kernel walks on by itself."""
    x, y, _ = launch.grid
    if "votes" in launch.kernel:
        return replace(launch, grid=(x, 1, 1))
    if "nhwc" in launch.kernel or "attend" in launch.kernel:
        return replace(launch, grid=(x, y, 1))
    return replace(launch, grid=(x, min(y, 7), 1))


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("maps", [0, 1, 20])
def test_more_planes_and_images_than_a_grid_has(dtype: str, layout: str, maps: int) -> None:
    many = Case(70000, 11, 2, 1, 1, dtype, layout, maps and 1)  # type: ignore[arg-type]
    assert all(65535 in launch.grid for launch in many.plan().launches)
    case = Case(3, 20, 2, 32, 56, dtype, layout, maps)  # type: ignore[arg-type]
    plan = case.plan()
    plan = replace(plan, launches=tuple(narrowed(launch) for launch in plan.launches))
    inputs = draw(case)
    for order in (1, 2, 3):
        judge(case, run(case, inputs, order, plan).output, inputs.expected)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_logits_without_bounds(dtype: str, layout: str) -> None:
    case = Case(1, 8, 2, 4, 8, dtype, layout)  # type: ignore[arg-type]
    inputs = draw(case)
    hard = np.array([np.inf, -np.inf, 6e4, -6e4, 88.5, -88.5, 104.0, -104.0])
    logits = np.resize(hard, inputs.logits.shape).astype(inputs.logits.dtype)
    expected = refer(case, inputs.features, logits, inputs.weights)
    result = run(case, replace(inputs, logits=logits))
    judge(case, result.output, expected)


def test_a_number_that_is_none_stays_where_it_is() -> None:
    case = Case(1, 8, 1, 4, 8, "fp16", "nchw")
    inputs = draw(case)
    inputs.logits[0, 3, 2, 5] = np.nan
    output = run(case, inputs).output
    assert np.argwhere(np.isnan(output)).tolist() == [[0, 3, 2, 5]]


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("maps", [0, 1])
def test_the_same_bits_in_whatever_order_threads_run(dtype: str, layout: str, maps: int) -> None:
    case = Case(2, 12, 3, 37, 41, dtype, layout, maps)  # type: ignore[arg-type]
    inputs = draw(case)
    first = run(case, inputs, order=0).output
    for order in (1, 2, 3):
        assert run(case, inputs, order=order).output.tobytes() == first.tobytes()


def test_int8_is_rounded_to_even_and_clamped() -> None:
    # Votes of 1 and gates of 1: the output is the features times 0.5.
    case = Case(1, 16, 1, 1, 16, "int8", "nchw", weights="fp32")
    object.__setattr__(case, "scales", (1.0, 1.0, 2.0))
    features = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 1, 16)
    inputs = Inputs(
        features,
        np.full_like(features, 127),
        {"weight": np.zeros((16, 16), np.float32), "bias": np.full(16, 90, np.float32)},
        np.zeros(0),
    )
    np.testing.assert_array_equal(
        run(case, inputs).output, np.rint(features.astype(np.float64) / 2).astype(np.int8)
    )
    object.__setattr__(case, "scales", (1.0, 1.0, 0.25))
    np.testing.assert_array_equal(
        run(case, inputs).output, np.clip(4 * features.astype(np.int64), -128, 127)
    )


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
@pytest.mark.parametrize("maps", [0, 1, 32])
def test_every_byte_moves_once_and_in_whole_sectors(dtype: str, layout: str, maps: int) -> None:
    case = Case(1, 32, 8 if maps else 3, 64, 64, dtype, layout, maps)  # type: ignore[arg-type]
    inputs = draw(case)
    means, _, weigh = run(case, inputs).traffic
    assert means.read_asked == means.read_moved == inputs.features.nbytes
    assert weigh.read_asked == weigh.read_moved
    assert weigh.write_asked == weigh.write_moved == inputs.expected.size * inputs.features.itemsize
    logits = inputs.logits.nbytes
    if maps == 1:  # read by each slice of 8 channels, or element by element
        logits = logits * 4 if layout == "nchw" else 0
    assert weigh.read_asked == inputs.features.nbytes + logits


def test_planes_that_begin_anywhere_are_still_moved_by_packs() -> None:
    case = Case(1, 8, 3, 61, 63, "fp16", "nchw")
    inputs = draw(case)
    means, _, weigh = run(case, inputs).traffic
    both = inputs.features.nbytes + inputs.logits.nbytes
    # Two packs for each that is shifted into place; but for a plane's ends nothing goes by element.
    assert 1.8 * both < weigh.read_asked <= 2.1 * both
    assert means.read_asked > 0.98 * inputs.features.nbytes
    assert weigh.write_asked > 0.98 * inputs.expected.size * 2


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_more_elements_than_32_bits_count(layout: str) -> None:
    # A sparse gigabyte or two of INT8; one block of each kernel, the one at the far end.
    lanes = 16 if layout == "nhwc" else 1
    pixels = (2**31 + 2**16) // lanes
    case = Case(1, lanes, 1, pixels // 16, 16, "int8", layout)  # type: ignore[arg-type]
    plan = case.plan()
    kernels = build_kernels(FILES)
    size = pixels * lanes
    with (
        sparse(size) as features,
        sparse(size) as logits,
        sparse(size) as output,
        Buffers(kernels) as buffers,
    ):
        tail = np.arange(512) % 100
        for memory in (features, logits):
            view = np.frombuffer(memory, np.int8)
            view[-512:] = tail
            del view
        for name, memory in (("features", features), ("element_logits", logits)):
            buffers.lend(name, address(memory))
        buffers.lend("output", address(output))
        workspace = buffers.new("workspace", (plan.workspace,), np.uint8)
        workspace.array[...] = 0
        votes_at(plan, workspace.array, 1.0)
        weigh = plan.launches[2]
        kernels.launch(weigh, buffers, only=(0, 0, 0))
        view = np.frombuffer(output, np.int8)
        found = view[-512:].copy()
        del view
        means = plan.launches[0]
        last = means.grid[0] - 1
        if layout == "nhwc":  # a run of one block is short enough to walk here
            kernels.launch(means, buffers, only=(last, 0, 0))
            sums = workspace.array.view(np.float32)[: 16 * means.grid[0]].reshape(16, -1)
            np.testing.assert_array_equal(sums[:, last], tail.reshape(-1, 16).sum(axis=0))
    gates = 1 / (1 + np.exp(-0.04 * tail))
    assert np.abs(found - tail * gates).max() <= 0.501


def votes_at(plan: Plan, workspace: np.ndarray, value: float) -> None:  # type: ignore[type-arg]
    """Fill the votes, where the last step of the plan reads them."""
    votes = plan.launches[2].arguments[2]
    workspace.view(np.float32)[votes.offset // 4 :] = value  # type: ignore[union-attr]


def sparse(size: int) -> mmap.mmap:
    # Pages that nobody writes take no memory.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    return mmap.mmap(-1, size, flags=flags)


def address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
