"""Less flicker where nothing moves.

A network answers every frame anew, and noise that differs from frame to frame makes its
answer shimmer. Where the input stands still, the result is averaged over time; everywhere
else it passes as it is, bit by bit.

What is averaged is the result, that is the up-sampled input *and* the residual that the
network adds. Averaging the residual alone would bring back what the network took away:
its residual contains the negative of the noise, which fits this very frame and no other.
As up-sampling is linear, an average of results is an up-sampled average input plus an
average residual.

Whether something moves is judged at the input's size, against the input averaged in the
same way. So slow changes add up until they are seen, and the result is never further
behind than the threshold, a few code values.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.live.scene_cut import SceneCut

STRENGTH: Final = 0.82
"""Share of the past in a steady picture."""
_BOX = 5
"""Side of the window, in input pixels, over which a change must have one direction."""
_AREA_NOISE, _AREA_LEAST, _AREA_MOST = 5.0, 1.6, 8.0
"""Threshold for the mean change in a window: in standard deviations of the mean of so much
noise, and least and most in code values. A change against a single frame is noisier than
one against an average by 1.4, which the first number covers."""
_PIXEL_NOISE, _PIXEL_LEAST = 5.0, 10.0
"""The same for a single pixel: what is small and moves."""
_GROW = 3
"""Input pixels around what moves that pass unfiltered, too: the network looks around."""
_FINE = 10
"""Steps per code value in which mean changes are compared."""
_SMALLEST = 16
_BLACK, _WHITE = 20, 235
"""Code values between which noise is not cut off."""
_LAPLACE: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# The mean of |noise filtered by it| over the noise's standard deviation; and a fifth of
# the windows of 8 x 8 lies below nine tenths of the mean.
_LAPLACE_GAIN: Final = 6.0 * float(np.sqrt(2.0 / np.pi)) * 0.9
# The median of |difference of two neighbours' noise| over the standard deviation.
_PAIR_GAIN: Final = 0.6745 * float(np.sqrt(2.0))


class SteadyFilter:
    """A temporal filter for one source, shut where the picture moves and at cuts.

    Another engine's picture blends in where nothing moves, within about fifteen frames, and
    its first one counts half: a single frame of a lower rung does not flash.

    Args:
        scale: of the engines.
        strength: share of the past, 0 (off) to below 1; 0.82 leaves an eighth of the
            flicker that comes from noise.

    Raises:
        ValueError: a scale or strength out of range.
    """

    def __init__(self, scale: int, strength: float = STRENGTH) -> None:
        if scale < 1 or not 0.0 <= strength < 1.0:
            raise ValueError("scale is at least 1, strength in 0..1 without 1")
        self._scale = scale
        self._strength = strength
        self._grow = np.ones((2 * _GROW + 1, 2 * _GROW + 1), np.uint8)
        self._cuts = SceneCut()
        self._low: Uint8Image | None = None
        self._high: Uint8Image | None = None
        self._noise: float | None = None
        self._rung = ""

    def apply(self, low: Uint8Image, high: Uint8Image, rung: str) -> Uint8Image:
        """Filter the next picture of the source.

        Args:
            low: ``(H, W, 3)`` uint8 RGB as captured.
            high: ``(H * scale, W * scale, 3)`` uint8 RGB as enhanced; left alone.
            rung: name of the engine that made it.

        Returns:
            A picture like ``high``, or ``high`` itself where nothing stands still. The
            filter goes on using it: it must not be written to.

        Raises:
            ValueError: the sizes of the pictures do not belong together.
        """
        height, width = low.shape[:2]
        if high.shape != (height * self._scale, width * self._scale, 3):
            raise ValueError(f"{high.shape} is not {low.shape} enlarged by {self._scale}")
        cut = self._cuts.update(low)
        past = self._strength if rung == self._rung else (1.0 + self._strength) / 2.0
        self._rung = rung
        last_low, last_high = self._low, self._high
        if (
            cut
            or last_low is None
            or last_high is None
            or last_low.shape != low.shape
            or not self._strength
            or min(height, width) < _SMALLEST
        ):
            self._noise = None
            return self._keep(low.copy(), high)
        moving = self._moving(low, last_low)
        if cv2.countNonZero(moving) == moving.size:
            return self._keep(low.copy(), high)
        return self._keep(
            _average(low, last_low, moving, past), _average(high, last_high, moving, past)
        )

    def reset(self) -> None:
        """Forget the past: the next picture passes as it is."""
        self._low = self._high = self._noise = None
        self._cuts.reset()

    def _keep(self, low: Uint8Image, high: Uint8Image) -> Uint8Image:
        self._low, self._high = low, high
        return high

    def _moving(self, low: Uint8Image, last: Uint8Image) -> Uint8Image:
        """255 where the input has changed by more than noise does, and around it; else 0."""
        change = cv2.subtract(low, last, dtype=cv2.CV_16S)
        noise = self._follow_noise(low, change)
        # Noise has no direction: over a window it cancels out, motion and light do not.
        summed = cv2.boxFilter(change, cv2.CV_16S, (_BOX, _BOX), normalize=False)
        area = min(max(_AREA_NOISE * noise / _BOX, _AREA_LEAST), _AREA_MOST)
        pixel = max(_PIXEL_NOISE * noise, _PIXEL_LEAST)
        means = cv2.convertScaleAbs(summed, alpha=_FINE / _BOX**2)
        moving = cv2.max(
            _above(means, _FINE * area),
            _above(cv2.convertScaleAbs(change), pixel),
        )
        return np.asarray(cv2.dilate(moving, self._grow), dtype=np.uint8)

    def _follow_noise(self, low: Uint8Image, change: npt.NDArray[Any]) -> float:
        """Standard deviation of the noise in code values, followed over time.

        Motion and texture both look like noise, but one to a comparison in time and the
        other to one in space: the lesser of the two is believed.
        """
        green, light = change[::4, :, 1], low[::4, 1:, 1]
        pairs = np.abs(green[:, 1:] - green[:, :-1])
        pairs = pairs[(light > _BLACK) & (light < _WHITE)]
        in_time = float(np.median(pairs)) / _PAIR_GAIN if pairs.size else 0.0
        # The reference carries some noise of its own.
        keep = 1.0 - self._strength
        in_time /= float(np.sqrt(1.0 + keep / (2.0 - keep)))
        now = min(in_time, _noise_in_space(low))
        self._noise = now if self._noise is None else 0.8 * self._noise + 0.2 * now
        return self._noise


def _average(now: Uint8Image, before: Uint8Image, moving: Uint8Image, past: float) -> Uint8Image:
    """A mean of the two where nothing moves, ``now`` elsewhere."""
    mixed = cv2.addWeighted(now, 1.0 - past, before, past, 0.0)
    if moving.shape != now.shape[:2]:
        size = (now.shape[1], now.shape[0])
        moving = np.asarray(cv2.resize(moving, size, interpolation=cv2.INTER_NEAREST))
    return np.asarray(cv2.copyTo(now, moving, mixed), dtype=np.uint8)


def _noise_in_space(low: Uint8Image) -> float:
    """Standard deviation of the noise, from the smoothest fifth of the picture."""
    green = low[..., 1].copy()
    blocks = (low.shape[1] // 8, low.shape[0] // 8)
    rough = cv2.convertScaleAbs(cv2.filter2D(green, cv2.CV_16S, _LAPLACE))
    means = cv2.resize(rough, blocks, interpolation=cv2.INTER_AREA)
    light = cv2.resize(green, blocks, interpolation=cv2.INTER_AREA)
    told = means[(light > _BLACK) & (light < _WHITE)]
    return float(np.percentile(told, 20)) / _LAPLACE_GAIN if told.size else 0.0


def _above(values: npt.NDArray[Any], limit: float) -> npt.NDArray[Any]:
    """255 where any channel of the ``(H, W, 3)`` uint8 values is above the limit, else 0."""
    first, second, third = cv2.split(values)
    largest = cv2.max(cv2.max(first, second), third)
    return np.asarray(cv2.threshold(largest, min(limit, 255.0), 255, cv2.THRESH_BINARY)[1])
