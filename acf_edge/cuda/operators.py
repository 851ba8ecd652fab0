"""Launch plans of ``acf::JunctionVote`` and ``acf::ChannelSpatialAttention``.

``kernels/README.md`` says what the kernels do and where their parameters come
from; ``kernels/acf/plan.h`` makes the same plans in C++ (a test compares them).
Everything is decided by shapes, so an engine that is built on one machine
runs the same launches on another.
"""

from __future__ import annotations

from collections.abc import Sequence

from acf_edge.cuda.operator_steps import (
    DTYPES,
    LAYOUTS,
    MAX_YZ,
    PACK,
    VOTES_THREADS,
    Dtype,
    Layout,
    Weights,
    Workspace,
    attend,
    ceil_div,
    check_sizes,
    int32,
    lanes_of,
    make_call,
    sum_up,
    weigh,
)
from acf_edge.cuda.plan import Arg, Launch, Plan, Pointer

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "Arg",
    "Dtype",
    "Launch",
    "Layout",
    "Plan",
    "Pointer",
    "Weights",
    "plan_attention",
    "plan_junction_vote",
    "stored_elements",
]


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
    lanes = lanes_of(channels, dtype, layout, multiple)
    groups = 1 if layout == "nchw" else ceil_div(channels, lanes)
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
    check_sizes(n, channels, branches, height, width, channels * branches)
    call = make_call(n, channels * branches, height * width, dtype, layout, scales, weights)
    sums = sum_up(call, branches, multiple, aligned)
    blocks = ceil_div(call.channels, call.rows)
    space = Workspace()
    partial = space.floats(n * call.channels * sums.chunks)
    means = space.floats(n * blocks * call.channels)
    votes = space.floats(n * call.channels)
    vote = Launch(
        f"acf_junction_votes_{call.weights}",
        (blocks, min(n, MAX_YZ), 1),
        (VOTES_THREADS, 1, 1),
        0,
        (
            partial,
            Pointer("weight"),
            Pointer("bias"),
            means,
            votes,
            *int32(n, call.channels, sums.chunks, call.rows),
            *call.factors(),
        ),
    )
    tensors = (Pointer("features"), Pointer("element_logits"), votes, Pointer("output"))
    last = weigh(call, channels, branches, call.channels, multiple, aligned, tensors)
    return Plan(space.size, (sums.launch(partial), vote, last))


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
    check_sizes(n, channels, squeeze, height, width)
    if maps not in (1, channels):
        raise ValueError(f"{maps} maps do not fit {channels} channels")
    call = make_call(n, channels, height * width, dtype, layout, scales, weights)
    sums = sum_up(call, 1, multiple, aligned)
    blocks = ceil_div(channels, call.rows)
    space = Workspace()
    partial = space.floats(n * channels * sums.chunks)
    means = space.floats(n * blocks * channels)
    hidden = space.floats(n * blocks * squeeze)
    votes = space.floats(n * channels)
    vote = Launch(
        f"acf_attention_votes_{call.weights}",
        (blocks, min(n, MAX_YZ), 1),
        (VOTES_THREADS, 1, 1),
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
            *int32(n, channels, squeeze, sums.chunks, call.rows),
            *call.factors(),
        ),
    )
    tensors = (Pointer("features"), Pointer("spatial_logits"), votes, Pointer("output"))
    whole = aligned and call.pixels * call.size % PACK == 0
    if maps == channels or (layout == "nchw" and not whole):
        last = weigh(call, channels, 1, maps, multiple, aligned, tensors)
    else:
        last = attend(call, multiple, aligned, tensors)
    return Plan(space.size, (sums.launch(partial), vote, last))
