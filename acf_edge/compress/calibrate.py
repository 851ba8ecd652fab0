"""Post-training calibration: run the float network on degraded pictures, note the ranges.

Two passes over the pictures: extremes first, then histograms between them. The
clipping point of a range is where the mean squared error of 8-bit rounding and
clipping together is smallest (``mse``), where a share of the values lies inside
(``percentile``), or the extreme itself (``max``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError

Uint8Image = npt.NDArray[np.uint8]
BINS = 4096
LEVELS = 255
NARROWEST = 1e-6
"""Range of an activation that never speaks."""
AT_ONCE = 256
"""Activations that are held at a time; deeper networks than ours run more than once for all."""
METHODS = ("mse", "percentile", "max")


def calibrate(
    model: onnx.ModelProto,
    values: Sequence[str],
    pictures: Sequence[Uint8Image],
    *,
    method: str = "mse",
    source: str,
    weights_sha256: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScaleStore:
    """Measure the ranges of ``values``.

    Args:
        model: the plain network, operators inlined.
        values: names of the float activations to measure.
        pictures: degraded low-resolution pictures, ``(H, W, 3)`` uint8 RGB, of any sizes.
        method: ``"mse"``, ``"percentile"`` (99.99 %) or ``"max"``.
        source: where the pictures come from, for the store.
        weights_sha256: of the checkpoint.
        on_progress: called with (pictures done, pictures in all); every picture counts twice.

    Raises:
        InputError: no pictures or wrong ones, an unknown method, or a network whose values are
            not finite.
    """
    if not pictures:
        raise InputError("Calibration has no pictures.", "Give a folder of pictures or a video.")
    if method not in METHODS:
        raise InputError(f"Unknown calibration '{method}'.", f"There are: {', '.join(METHODS)}.")
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise InputError(
                f"A calibration picture is {picture.shape} {picture.dtype}.",
                "Give uint8 RGB of shape (H, W, 3).",
            )
    session = _session_with_outputs(model, values)
    total, done = 2 * len(pictures), 0
    low = np.zeros(len(values))
    high = np.zeros(len(values))
    for picture in pictures:
        for index, array in enumerate(_run(session, values, picture)):
            ends = float(array.min()), float(array.max())
            if not np.isfinite(ends).all():
                raise InputError(
                    f"The values of '{values[index]}' are not finite.", "Check the checkpoint."
                )
            low[index], high[index] = min(low[index], ends[0]), max(high[index], ends[1])
        done += 1
        if on_progress:
            on_progress(done, total)
    high = np.maximum(high, low + NARROWEST)
    histograms = np.zeros((len(values), BINS))
    for picture in pictures:
        for index, array in enumerate(_run(session, values, picture)):
            counts, _ = np.histogram(array, bins=BINS, range=(low[index], high[index]))
            histograms[index] += counts
        done += 1
        if on_progress:
            on_progress(done, total)
    ranges = {
        name: choose_range(histograms[i], float(low[i]), float(high[i]), method)
        for i, name in enumerate(values)
    }
    return ScaleStore(ranges, method, source, len(pictures), weights_sha256)


def choose_range(histogram: npt.NDArray[np.float64], low: float, high: float, method: str) -> Range:
    """Pick the clipping points for one activation.

    Args:
        histogram: counts in equal bins between ``low`` and ``high``.
        low: smallest value seen, <= 0.
        high: largest value seen, >= 0.
        method: see :func:`calibrate`.
    """
    if method == "max" or histogram.sum() == 0:
        return Range(low, high)
    width = (high - low) / len(histogram)
    centres = low + (np.arange(len(histogram)) + 0.5) * width
    if method == "percentile":
        inside = np.cumsum(histogram) / histogram.sum()
        first = centres[int(np.searchsorted(inside, 0.00005))]
        last = centres[min(int(np.searchsorted(inside, 0.99995)), len(centres) - 1)]
        bottom = min(float(first), 0.0)
        return Range(bottom, max(float(last), bottom + NARROWEST, 0.0))
    best, chosen = np.inf, (low, high)
    # One factor for both ends: signed activations here are close to symmetric.
    for shrink in np.linspace(0.3, 1.0, 71):
        a, b = low * shrink, high * shrink
        step = (b - a) / LEVELS
        zero = np.rint(-a / step)
        # The bins' own rounding errors, not step^2 / 12: the many exact zeros that a ReLU
        # leaves cost nothing, and must not speak for a finer step.
        rounded = (np.clip(np.rint(centres / step) + zero, 0, LEVELS) - zero) * step
        error = float(histogram @ (rounded - centres) ** 2)
        if error < best:
            best, chosen = error, (a, b)
    return Range(float(chosen[0]), float(chosen[1]))


def _session_with_outputs(
    model: onnx.ModelProto, values: Sequence[str]
) -> onnxruntime.InferenceSession:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for name in values:
        probe.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(
    session: onnxruntime.InferenceSession, values: Sequence[str], picture: Uint8Image
) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(values), AT_ONCE):
        names = list(values[start : start + AT_ONCE])
        yield from session.run(names, {session.get_inputs()[0].name: picture[None]})
