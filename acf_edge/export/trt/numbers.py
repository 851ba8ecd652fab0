"""Scales and codes: signed, symmetric, with scales that FP16 can carry.

A scale has the type of the values around it, FP16, and so few significant bits that every code
times its scale is a number of FP16, too: an engine that fuses a convolution with its conversions,
one that does not, and ONNX Runtime then compute the same. Weights of E4M3
have one scale for all channels: what they lose by it is nothing, their steps being relative,
and TensorRT fuses bias, activation and conversion into such convolutions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto

from acf_edge.compress.scales import Range

Float32 = npt.NDArray[np.float32]
SMALLEST_STEP = 2.0**-14
"""Of activations: the smallest normal number of FP16; its reciprocal is far from overflow."""
SMALLEST_WEIGHT_STEP = 2.0**-20
"""Of weights: a channel of smaller weights is as good as silent."""


@dataclass(frozen=True)
class Kind:
    """A quantized type.

    Attributes:
        name: ``"int8"`` or ``"fp8"``.
        onnx_type: of the codes.
        largest: code.
        bits: significant ones of a scale; with those of a code they make eleven, FP16's.
        per_channel: weights have one scale per output channel; else one for all.
        room: activations get a range that is so much wider. Calibration clips where 8 equal
            bits gain from it; floating-point codes gain nothing by it.
    """

    name: str
    onnx_type: int
    largest: float
    bits: int
    per_channel: bool
    room: float


INT8 = Kind("int8", TensorProto.INT8, 127.0, 4, True, 1.0)
FP8 = Kind("fp8", TensorProto.FLOAT8E4M3FN, 448.0, 7, False, 2.0)


def half(values: npt.ArrayLike) -> npt.NDArray[np.float16]:
    """Round to FP16, saturating: a constant is never infinite."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(np.asarray(values, np.float64), -limit, limit).astype(np.float16)


def activation_step(span: Range, kind: Kind) -> np.float16:
    """Scale of an activation: what one code is worth (at FP8, the code 1.0)."""
    reach = max(-span.low, span.high) * kind.room
    return np.float16(short(max(reach / kind.largest, SMALLEST_STEP), kind.bits))


def short(values: npt.ArrayLike, bits: int, up: bool = False) -> npt.NDArray[np.float64]:
    """The nearest numbers of ``bits`` significant bits, or the next ones upwards."""
    mantissas, exponents = np.frexp(np.asarray(values, np.float64))
    scaled = np.ldexp(mantissas, bits)
    result: npt.NDArray[np.float64] = np.ldexp(
        np.ceil(scaled) if up else np.rint(scaled), exponents - bits
    )
    return result


def quantize_weight(
    weight: Float32, kind: Kind, axis: int = 0, keep_sum: bool = False
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    """Codes and scales of weights.

    Args:
        weight: of a convolution, any rank.
        kind: of the codes.
        axis: of the output channels: 0, or 1 for a transposed convolution.
        keep_sum: INT8 only, weights of an interpolation: the codes of each channel add up to
            its sum, so that flat areas stay flat.

    Returns:
        Codes as bytes, of the shape of ``weight``; scales ``(channels,)``, or one ``()`` where
        the kind has one for all.
    """
    rows = np.moveaxis(weight, axis, 0).astype(np.float64)
    flat = rows.reshape(len(rows), -1)
    peaks = np.abs(flat).max(axis=1) if kind.per_channel else np.abs(flat).max()[None]
    steps = np.maximum(peaks / kind.largest, SMALLEST_WEIGHT_STEP)
    if keep_sum and kind.per_channel:
        codes, scales = _interpolating(flat, steps)
    else:
        # Rounded down, a scale would push the largest weight over the end of the codes.
        scales = short(steps, kind.bits, up=True).astype(np.float16)
        codes = flat / scales.astype(np.float64)[:, None]
    if kind.onnx_type == TensorProto.INT8:
        whole = np.clip(np.rint(codes), -127, 127).astype(np.int8).view(np.uint8)
    else:
        whole = _fp8(codes)
    shaped: Any = np.moveaxis(whole.reshape(rows.shape), 0, axis)
    return np.ascontiguousarray(shaped), scales if kind.per_channel else scales[0]


def _interpolating(
    flat: npt.NDArray[np.float64], steps: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float16]]:
    sums = flat.sum(axis=1)
    units = np.floor(sums / steps)
    exact = flat * (units / sums)[:, None]
    codes = np.floor(exact)
    for row, total in enumerate(units):
        # Largest remainders first get the units that rounding down took away.
        owed = round(total - codes[row].sum())
        order = np.argsort(-(exact[row] - codes[row]), kind="stable")
        codes[row, order[:owed]] += 1
    return codes, (sums / units).astype(np.float16)


def _fp8(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    clipped = torch.from_numpy(np.clip(values, -448.0, 448.0).astype(np.float32))
    codes: npt.NDArray[np.uint8] = clipped.to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    return codes
