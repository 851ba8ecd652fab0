"""Launch plans of ``acf::JunctionVote`` and ``acf::ChannelSpatialAttention``.

``kernels/README.md`` says what the kernels do and where their parameters come
from; ``kernels/acf/plan.h`` makes the same plans in C++ (a test compares them).
Everything is decided by shapes, so an engine that is built on one machine
runs the same launches on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from acf_edge.cuda.plan import Arg, Launch, Plan, Pointer

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "Arg",
    "Launch",
    "Plan",
    "Pointer",
    "plan_attention",
    "plan_junction_vote",
    "stored_elements",
]

Dtype = Literal["fp16", "fp32", "int8"]
Layout = Literal["nchw", "nhwc", "chw32"]
Weights = Literal["fp16", "fp32"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_BYTES = {"fp16": 2, "fp32": 4, "int8": 1}
# What TensorRT pads channels to: kHWC8 (FP16), kHWC (FP32: nothing), kHWC16 (INT8).
_MULTIPLE = {"fp16": 8, "fp32": 1, "int8": 16}
_PACK = 16  # bytes of one access
_THREADS = 256
_MEANS_DEPTH = 4  # packs of a thread when it sums a part of the smallest size
_VOTES_THREADS = 512
_VOTES_ROWS = 128  # votes of a block
_SLICE = 8  # channels that share the gates of one map in NCHW
_SLICE_PACKS = 64  # packs side by side where channels come last
_MANY_BLOCKS = 4096  # from here on, threads rather do more than be more
_MAX_YZ = 65535  # blocks in y and z
_ALIGN = 256  # of a part of the workspace
_MOST = 2**31 - 1


def stored_elements(
    n: int,
    channels: int,
    height: int,
    width: int,
    dtype: Dtype,
    layout: Layout,
    multiple: int | None = None,
) -> int:
    """Elements that a tensor ``(n, channels, height, width)`` takes in memory, with its padding.

    Raises:
        ValueError: as :func:`plan_junction_vote`.
    """
    lanes = _lanes(channels, dtype, layout, multiple)
    groups = 1 if layout == "nchw" else _up(channels, lanes)
    return n * height * width * lanes * groups


def plan_junction_vote(
    n: int,
    channels: int,
    branches: int,
    height: int,
    width: int,
    dtype: Dtype,
    layout: Layout,
    *,
    scales: Sequence[float] = (0.0, 0.0, 0.0),
    weights: Weights | None = None,
    multiple: int | None = None,
    aligned: bool = True,
) -> Plan:
    """How ``acf::JunctionVote`` runs.

    Buffers: ``features`` and ``element_logits`` (n, branches * channels, height, width), ``weight``
    (branches * channels, the same), ``bias``, ``output`` (n, channels, height, width),
    ``workspace``.

    Args:
        n: batch.
        channels: C, of the output.
        branches: B.
        height: rows.
        width: columns.
        dtype: of features, logits and output.
        layout: of the same; ``"chw32"`` goes with ``"int8"``.
        scales: of features, logits and output: value = scale * element. INT8 needs all three;
            elsewhere they are 0.
        weights: of weight and bias; None is ``dtype``, and FP16 for INT8.
        multiple: in ``"nhwc"``, what the channels of each tensor are padded to; None is
            TensorRT's (8 for FP16, 1 for FP32, 16 for INT8), 1 is dense.
        aligned: every buffer starts on 16 bytes, as allocations do.

    Raises:
        ValueError: a size below 1, a layout that the dtype does not have, a scale that is missing.
    """
    _check(n, channels, branches, height, width)
    call = _call(n, channels * branches, height * width, dtype, layout, scales, weights)
    sums = _sums(call, branches, multiple, aligned)
    blocks = _up(call.channels, _VOTES_ROWS)
    space = _Workspace()
    partial = space.floats(n * call.channels * sums.chunks)
    means = space.floats(n * blocks * call.channels)
    votes = space.floats(n * call.channels)
    vote = Launch(
        f"acf_junction_votes_{call.weights}",
        (blocks, min(n, _MAX_YZ), 1),
        (_VOTES_THREADS, 1, 1),
        0,
        (
            partial,
            Pointer("weight"),
            Pointer("bias"),
            means,
            votes,
            *_int32(n, call.channels, sums.chunks, _VOTES_ROWS),
            *call.factors(),
        ),
    )
    tensors = (Pointer("features"), Pointer("element_logits"), votes, Pointer("output"))
    weigh = _weigh(call, channels, branches, call.channels, multiple, aligned, tensors)
    return Plan(space.size, (sums.launch(partial), vote, weigh))


def plan_attention(
    n: int,
    channels: int,
    squeeze: int,
    height: int,
    width: int,
    dtype: Dtype,
    layout: Layout,
    *,
    maps: int = 1,
    scales: Sequence[float] = (0.0, 0.0, 0.0),
    weights: Weights | None = None,
    multiple: int | None = None,
    aligned: bool = True,
) -> Plan:
    """How ``acf::ChannelSpatialAttention`` runs.

    Buffers: ``features`` and ``output`` (n, channels, height, width), ``spatial_logits``
    (n, maps, height, width), ``squeeze_weight`` (squeeze, channels), ``squeeze_bias``,
    ``excite_weight`` (channels, squeeze), ``excite_bias``, ``workspace``.

    Args:
        squeeze: S, hidden units.
        maps: K, 1 or ``channels``.
        n, channels, height, width, dtype, layout, scales, weights, multiple, aligned: as for
            :func:`plan_junction_vote`.

    Raises:
        ValueError: as :func:`plan_junction_vote`; maps neither 1 nor channels.
    """
    _check(n, channels, squeeze, height, width)
    if maps not in (1, channels):
        raise ValueError(f"{maps} maps do not fit {channels} channels")
    call = _call(n, channels, height * width, dtype, layout, scales, weights)
    sums = _sums(call, 1, multiple, aligned)
    blocks = _up(channels, _VOTES_ROWS)
    space = _Workspace()
    partial = space.floats(n * channels * sums.chunks)
    means = space.floats(n * blocks * channels)
    hidden = space.floats(n * blocks * squeeze)
    votes = space.floats(n * channels)
    vote = Launch(
        f"acf_attention_votes_{call.weights}",
        (blocks, min(n, _MAX_YZ), 1),
        (_VOTES_THREADS, 1, 1),
        0,
        (
            partial,
            Pointer("squeeze_weight"),
            Pointer("squeeze_bias"),
            Pointer("excite_weight"),
            Pointer("excite_bias"),
            means,
            hidden,
            votes,
            *_int32(n, channels, squeeze, sums.chunks, _VOTES_ROWS),
            *call.factors(),
        ),
    )
    tensors = (Pointer("features"), Pointer("spatial_logits"), votes, Pointer("output"))
    whole = aligned and call.pixels * call.size % _PACK == 0
    if maps == channels or (layout == "nchw" and not whole):
        last = _weigh(call, channels, 1, maps, multiple, aligned, tensors)
    else:
        last = _attend(call, multiple, aligned, tensors)
    return Plan(space.size, (sums.launch(partial), vote, last))


@dataclass(frozen=True)
class _Call:
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
        return _PACK // self.size

    def factors(self) -> tuple[np.float32, np.float32]:
        """From a sum to a mean, and from a vote to what elements are multiplied with."""
        features, _, output = self.scales
        if self.dtype != "int8":
            return np.float32(1.0 / self.pixels), np.float32(1.0)
        return np.float32(features / self.pixels), np.float32(features / output)

    def depth(self, whole: bool) -> int:
        """Packs of a stream that a thread weighs at once; ``Depth`` in ``acf/weigh.cuh``."""
        packs = 16 // self.lanes
        return packs if whole or self.lanes == 16 else packs // 2


@dataclass(frozen=True)
class _Sums:
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


class _Workspace:
    """Parts of the workspace, one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def floats(self, count: int) -> Pointer:
        pointer = Pointer("workspace", self.size)
        self.size += _up(4 * count, _ALIGN) * _ALIGN
        return pointer


def _sums(call: _Call, branches: int, multiple: int | None, aligned: bool) -> _Sums:
    if call.layout == "nchw":
        planes = call.n * call.channels
        most = min(512, max(32, _MANY_BLOCKS // call.channels))
        chunk, chunks = _parts(call.pixels, _THREADS * _MEANS_DEPTH * call.lanes, most)
        rest = (*_int64(call.pixels, chunk), *_int32(call.n, call.channels // branches, branches))
        grid = (chunks, min(planes, _MAX_YZ), 1)
        return _Sums(f"acf_means_nchw_{call.dtype}", grid, (_THREADS, 1, 1), rest)
    lanes = _lanes(call.channels, call.dtype, call.layout, multiple)
    block, slices = _columns(call, call.channels, lanes)
    chunk, chunks = _parts(call.pixels, block[1] * _MEANS_DEPTH, max(32, 512 // slices))
    whole = aligned and lanes % call.lanes == 0
    rest = (*_int64(call.pixels, chunk), *_int32(call.n, call.channels, lanes))
    grid = (chunks, slices, min(call.n, _MAX_YZ))
    return _Sums(_name("means_nhwc", call, whole), grid, block, rest)


def _weigh(
    call: _Call,
    width: int,
    branches: int,
    maps: int,
    multiple: int | None,
    aligned: bool,
    tensors: tuple[Pointer, ...],
) -> Launch:
    scale = np.float32(call.scales[1])
    if call.layout == "nchw":
        whole = aligned and call.pixels * call.size % _PACK == 0
        packs = call.pixels // call.lanes if whole else _up(call.pixels, call.lanes) + 1
        block = _row(packs, call.depth(whole))
        grid = (_up(packs, block * call.depth(whole)), min(call.n * width, _MAX_YZ), 1)
        rest = (*_int64(call.pixels), *_int32(call.n, width, branches, maps), scale)
        return Launch(_name("weigh_nchw", call, whole), grid, (block, 1, 1), 0, (*tensors, *rest))
    lanes = _lanes(call.channels, call.dtype, call.layout, multiple)
    output_lanes = _lanes(width, call.dtype, call.layout, multiple)
    whole = (
        aligned
        and lanes % call.lanes == 0
        and output_lanes % call.lanes == 0
        and (branches == 1 or width % call.lanes == 0)
    )
    threads, slices = _columns(call, width, output_lanes)
    tiles = _up(call.pixels, threads[1] * call.depth(whole))
    rest = (
        *_int64(call.pixels),
        *_int32(call.n, width, branches, lanes, output_lanes),
        scale,
    )
    grid = (tiles, slices, min(call.n, _MAX_YZ))
    return Launch(_name("weigh_nhwc", call, whole), grid, threads, 0, (*tensors, *rest))


def _attend(
    call: _Call, multiple: int | None, aligned: bool, tensors: tuple[Pointer, ...]
) -> Launch:
    scale = np.float32(call.scales[1])
    if call.layout == "nchw":
        packs, depth = call.pixels // call.lanes, call.depth(True)
        block = _row(packs, depth)
        slice_ = max(_SLICE, _up(call.channels, _MAX_YZ))
        grid = (_up(packs, block * depth), _up(call.channels, slice_), min(call.n, _MAX_YZ))
        rest = (*_int64(call.pixels), *_int32(call.n, call.channels, slice_), scale)
        return Launch(_name("attend_nchw", call, True), grid, (block, 1, 1), 0, (*tensors, *rest))
    lanes = _lanes(call.channels, call.dtype, call.layout, multiple)
    map_lanes = _lanes(1, call.dtype, call.layout, multiple)
    whole = aligned and lanes % call.lanes == 0
    threads, slices = _columns(call, call.channels, lanes)
    tiles = _up(call.pixels, threads[1] * call.depth(whole))
    rounds = min(8, max(1, tiles * slices * call.n // _MANY_BLOCKS))
    rest = (*_int64(call.pixels), *_int32(call.n, call.channels, lanes, map_lanes, lanes), scale)
    grid = (_up(tiles, rounds), slices, min(call.n, _MAX_YZ))
    return Launch(_name("attend_nhwc", call, whole), grid, threads, 0, (*tensors, *rest))


def _name(step: str, call: _Call, whole: bool) -> str:
    return f"acf_{step}_{call.dtype}" + ("" if whole else "_any")


def _up(a: int, b: int) -> int:
    return -(-a // b)


def _parts(count: int, least: int, most: int) -> tuple[int, int]:
    """Size and number of parts: sizes are multiples of ``least``, and there are ``most`` at most."""
    part = least * _up(count, least * most)
    return part, _up(count, part)


def _row(packs: int, depth: int) -> int:
    """Threads in a row of whole warps, as many as have something to do."""
    return min(_THREADS, 32 * _up(packs, 32 * depth))


def _columns(call: _Call, channels: int, lanes: int) -> tuple[tuple[int, int, int], int]:
    """Where channels come last: a block of (packs, pixels), and slices of so many packs."""
    groups = _up(channels, lanes)
    packs = _up(lanes, call.lanes)
    across = min(packs, _SLICE_PACKS)
    return (across, _THREADS // across, 1), groups * _up(packs, across)


def _lanes(channels: int, dtype: Dtype, layout: Layout, multiple: int | None) -> int:
    """Channels that lie side by side in memory, with their padding."""
    if layout == "nchw":
        return channels
    if layout == "chw32":
        return 32
    multiple = _MULTIPLE[dtype] if multiple is None else multiple
    if multiple < 1:
        raise ValueError(f"channels cannot be padded to a multiple of {multiple}")
    return _up(channels, multiple) * multiple


def _call(
    n: int,
    channels: int,
    pixels: int,
    dtype: Dtype,
    layout: Layout,
    scales: Sequence[float],
    weights: Weights | None,
) -> _Call:
    if dtype not in DTYPES or layout not in LAYOUTS or (layout == "chw32" and dtype != "int8"):
        raise ValueError(f"there is no kernel for {dtype} in {layout}")
    if weights is None:
        weights = "fp32" if dtype == "fp32" else "fp16"
    features, logits, output = (float(scale) for scale in scales)
    if dtype == "int8" and not min(features, logits, output) > 0:
        raise ValueError(f"INT8 needs three scales above 0, not {features}, {logits}, {output}")
    return _Call(n, channels, pixels, dtype, layout, weights, (features, logits, output))


def _check(*sizes: int) -> None:
    if min(sizes) < 1 or max(sizes) > _MOST:
        raise ValueError(f"sizes are 1 at least and fit 32 bits: {sizes}")


def _int32(*values: int) -> tuple[np.int32, ...]:
    return tuple(np.int32(value) for value in values)


def _int64(*values: int) -> tuple[np.int64, ...]:
    return tuple(np.int64(value) for value in values)
