"""Launch plans of ``acf::JunctionVote`` and ``acf::ChannelSpatialAttention``.

``kernels/README.md`` says what the kernels do and where their parameters come
from; ``kernels/acf/plan.h`` makes the same plans in C++ (a test compares them).
Everything is decided by shapes, so an engine that is built on one machine
runs the same launches on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acf_edge.cuda.plan import Arg, Launch, Plan, Pointer

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "Arg",
    "Launch",
    "Plan",
    "Pointer",
    "element_lanes",
    "plan_attention",
    "plan_junction_vote",
]

Dtype = Literal["fp16", "fp32", "int8"]
Layout = Literal["nchw", "nhwc", "chw32"]
Weights = Literal["fp16", "fp32"]

DTYPES: tuple[Dtype, ...] = ("fp16", "fp32", "int8")
LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc", "chw32")

_BYTES = {"fp16": 2, "fp32": 4, "int8": 1}
# TensorRT pads the channels of kHWC8 (FP16) and kHWC16 (INT8); kHWC (FP32) has none.
_MULTIPLE = {"fp16": 8, "fp32": 1, "int8": 16}
_PACK = 16  # bytes of one access
_THREADS = 256
_VOTERS = 512  # threads of a block that computes votes
_ROWS = 128  # votes per such block
_UNROLL = 2  # packs of one stream that a thread has in flight while it weighs
_DEEP = 4  # the same while it sums
_SLICE = 8  # channels that share one computed map in NCHW
_GRID_YZ = 65535
_ALIGN = 256


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
    raise NotImplementedError


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
    raise NotImplementedError
