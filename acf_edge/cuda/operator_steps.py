"""The steps of both operators, each as one launch; :mod:`acf_edge.cuda.operators` joins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from acf_edge.cuda.plan import Arg, Launch, Pointer

Dtype = Literal["fp16", "fp32", "int8"]
Layout = Literal["nchw", "nhwc", "chw32"]
Weights = Literal["fp16", "fp32"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_BYTES = {"fp16": 2, "fp32": 4, "int8": 1}
# What TensorRT pads channels to: kHWC8 (FP16), kHWC (FP32: nothing), kHWC16 (INT8).
_MULTIPLE = {"fp16": 8, "fp32": 1, "int8": 16}
PACK = 16  # bytes of one access
_THREADS = 256
_MEANS_DEPTH = 4  # packs of a thread when it sums a part of the smallest size
VOTES_THREADS = 512
_VOTES_ROWS = 128  # votes of a block, at least
_VOTES_BLOCKS = 64  # of an image, at most: each computes the means for itself
_SLICE = 8  # channels that share the gates of one map in NCHW
_SLICE_PACKS = 64  # packs side by side where channels come last
_MANY_BLOCKS = 4096  # from here on, threads rather do more than be more
MAX_YZ = 65535  # blocks in y and z
_ALIGN = 256  # of a part of the workspace
_MOST = 2**31 - 1
_MOST_PLANES = 2**30  # channels of all images together: the kernels count them in 32 bits


@dataclass(frozen=True)
class Call:
    """What both operators have in common.

    Attributes:
        channels: of the features.
        pixels: of an image.
        size: bytes of an element.
        lanes: elements of a pack.
    """

    n: int
    channels: int
    pixels: int
    dtype: Dtype
    layout: Layout
    weights: Weights
    scales: tuple[float, float, float]

    @property
    def size(self) -> int:
        return _BYTES[self.dtype]

    @property
    def lanes(self) -> int:
        return PACK // self.size

    def factors(self) -> tuple[np.float32, np.float32]:
        """From a sum to a mean, and from a vote to what elements are multiplied with."""
        features, _, output = self.scales
        if self.dtype != "int8":
            return np.float32(1.0 / self.pixels), np.float32(1.0)
        return np.float32(features / self.pixels), np.float32(features / output)

    @property
    def rows(self) -> int:
        """Votes that a block computes."""
        return max(_VOTES_ROWS, ceil_div(self.channels, _VOTES_BLOCKS))

    def depth(self, whole: bool) -> int:
        """Packs of a stream that a thread weighs at once; ``Depth`` in ``acf/weigh.cuh``."""
        packs = 16 // self.lanes
        return packs if whole or self.lanes == 16 else packs // 2


@dataclass(frozen=True)
class Sums:
    """The first step, but for the place of its result."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    rest: tuple[Arg, ...]

    @property
    def chunks(self) -> int:
        return self.grid[0]

    def launch(self, partial: Pointer) -> Launch:
        arguments = (Pointer("features"), partial, *self.rest)
        return Launch(self.kernel, self.grid, self.block, 0, arguments)


class Workspace:
    """Parts of the workspace, one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def floats(self, count: int) -> Pointer:
        pointer = Pointer("workspace", self.size)
        self.size += ceil_div(4 * count, _ALIGN) * _ALIGN
        return pointer


def sum_up(call: Call, branches: int, multiple: int | None, aligned: bool) -> Sums:
    if call.layout == "nchw":
        planes = call.n * call.channels
        most = min(512, max(32, _MANY_BLOCKS // call.channels))
        chunk, chunks = _parts(call.pixels, _THREADS * _MEANS_DEPTH * call.lanes, most)
        rest: tuple[Arg, ...] = (
            *int64(call.pixels, chunk),
            *int32(call.n, call.channels // branches, branches),
        )
        grid = (chunks, min(planes, MAX_YZ), 1)
        return Sums(f"acf_means_nchw_{call.dtype}", grid, (_THREADS, 1, 1), rest)
    lanes = lanes_of(call.channels, call.dtype, call.layout, multiple)
    block, slices = _columns(call, call.channels, lanes)
    chunk, chunks = _parts(call.pixels, block[1] * _MEANS_DEPTH, max(32, 512 // slices))
    whole = aligned and lanes % call.lanes == 0
    rest = (*int64(call.pixels, chunk), *int32(call.n, call.channels, lanes))
    grid = (chunks, slices, min(call.n, MAX_YZ))
    return Sums(_name("means_nhwc", call, whole), grid, block, rest)


def weigh(
    call: Call,
    width: int,
    branches: int,
    maps: int,
    multiple: int | None,
    aligned: bool,
    tensors: tuple[Pointer, ...],
) -> Launch:
    scale = np.float32(call.scales[1])
    if call.layout == "nchw":
        whole = aligned and call.pixels * call.size % PACK == 0
        packs = call.pixels // call.lanes if whole else ceil_div(call.pixels, call.lanes) + 1
        block = _row(packs, call.depth(whole))
        grid = (ceil_div(packs, block * call.depth(whole)), min(call.n * width, MAX_YZ), 1)
        rest: tuple[Arg, ...] = (*int64(call.pixels), *int32(call.n, width, branches, maps), scale)
        return Launch(_name("weigh_nchw", call, whole), grid, (block, 1, 1), 0, (*tensors, *rest))
    lanes = lanes_of(call.channels, call.dtype, call.layout, multiple)
    output_lanes = lanes_of(width, call.dtype, call.layout, multiple)
    whole = (
        aligned
        and lanes % call.lanes == 0
        and output_lanes % call.lanes == 0
        and (branches == 1 or width % call.lanes == 0)
    )
    threads, slices = _columns(call, width, output_lanes)
    tiles = ceil_div(call.pixels, threads[1] * call.depth(whole))
    rest = (
        *int64(call.pixels),
        *int32(call.n, width, branches, lanes, output_lanes),
        scale,
    )
    grid = (tiles, slices, min(call.n, MAX_YZ))
    return Launch(_name("weigh_nhwc", call, whole), grid, threads, 0, (*tensors, *rest))


def attend(call: Call, multiple: int | None, aligned: bool, tensors: tuple[Pointer, ...]) -> Launch:
    scale = np.float32(call.scales[1])
    if call.layout == "nchw":
        packs, depth = call.pixels // call.lanes, call.depth(True)
        block = _row(packs, depth)
        slice_ = max(_SLICE, ceil_div(call.channels, MAX_YZ))
        grid = (
            ceil_div(packs, block * depth),
            ceil_div(call.channels, slice_),
            min(call.n, MAX_YZ),
        )
        rest: tuple[Arg, ...] = (*int64(call.pixels), *int32(call.n, call.channels, slice_), scale)
        return Launch(_name("attend_nchw", call, True), grid, (block, 1, 1), 0, (*tensors, *rest))
    lanes = lanes_of(call.channels, call.dtype, call.layout, multiple)
    map_lanes = lanes_of(1, call.dtype, call.layout, multiple)
    whole = aligned and lanes % call.lanes == 0
    threads, slices = _columns(call, call.channels, lanes)
    tiles = ceil_div(call.pixels, threads[1] * call.depth(whole))
    rounds = min(8, max(1, tiles * slices * call.n // _MANY_BLOCKS))
    rest = (
        *int64(call.pixels),
        *int32(call.n, call.channels, lanes, map_lanes, lanes),
        scale,
    )
    grid = (ceil_div(tiles, rounds), slices, min(call.n, MAX_YZ))
    return Launch(_name("attend_nhwc", call, whole), grid, threads, 0, (*tensors, *rest))


def _name(step: str, call: Call, whole: bool) -> str:
    return f"acf_{step}_{call.dtype}" + ("" if whole else "_any")


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _parts(count: int, least: int, most: int) -> tuple[int, int]:
    """Size and number of parts: a size is a multiple of ``least``, the number at most ``most``."""
    part = least * ceil_div(count, least * most)
    return part, ceil_div(count, part)


def _row(packs: int, depth: int) -> int:
    """Threads in a row of whole warps, as many as have something to do."""
    return min(_THREADS, 32 * ceil_div(packs, 32 * depth))


def _columns(call: Call, channels: int, lanes: int) -> tuple[tuple[int, int, int], int]:
    """Where channels come last: a block of (packs, pixels), and slices of so many packs."""
    groups = ceil_div(channels, lanes)
    packs = ceil_div(lanes, call.lanes)
    across = min(packs, _SLICE_PACKS)
    return (across, _THREADS // across, 1), groups * ceil_div(packs, across)


def lanes_of(channels: int, dtype: Dtype, layout: Layout, multiple: int | None) -> int:
    """Channels that lie side by side in memory, with their padding."""
    if layout == "nchw":
        return channels
    if layout == "chw32":
        return 32
    multiple = _MULTIPLE[dtype] if multiple is None else multiple
    if multiple < 1:
        raise ValueError(f"channels cannot be padded to a multiple of {multiple}")
    return ceil_div(channels, multiple) * multiple


def make_call(
    n: int,
    channels: int,
    pixels: int,
    dtype: Dtype,
    layout: Layout,
    scales: Sequence[float],
    weights: Weights | None,
) -> Call:
    if dtype not in DTYPES or layout not in LAYOUTS or (layout == "chw32" and dtype != "int8"):
        raise ValueError(f"there is no kernel for {dtype} in {layout}")
    if weights is None:
        weights = "fp32" if dtype == "fp32" else "fp16"
    if n * channels > _MOST_PLANES:
        raise ValueError(f"{n} images of {channels} channels are more than {_MOST_PLANES}")
    # The plugin's fields are FP32: the same arithmetic from there on gives the same plan in C++.
    features, logits, output = (float(np.float32(scale)) for scale in scales)
    if dtype == "int8" and not all(0 < scale < np.inf for scale in (features, logits, output)):
        raise ValueError(f"INT8 needs three scales above 0, not {features}, {logits}, {output}")
    return Call(n, channels, pixels, dtype, layout, weights, (features, logits, output))


def check_sizes(*sizes: int) -> None:
    if min(sizes) < 1 or max(sizes) > _MOST:
        raise ValueError(f"sizes are 1 at least and fit 32 bits: {sizes}")


def int32(*values: int) -> tuple[np.int32, ...]:
    return tuple(np.int32(value) for value in values)


def int64(*values: int) -> tuple[np.int64, ...]:
    return tuple(np.int64(value) for value in values)
