"""Where a film or a camera switches to another picture altogether.

Pictures are compared as thumbnails: how far pixels are apart on average, and how far the
distributions of their colours are. Motion changes the first and hardly the second; a cut
changes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.engine.protocol import Uint8Image

_WIDTH, _HEIGHT = 48, 27
_BINS = 16
_FAR: Final = 45.0
"""Mean difference in code values that is a cut whatever the colours do."""
_NEAR: Final = 9.0
"""Mean difference in code values below which nothing is a cut."""
_COLOURS: Final = 0.3
"""Share of the pixels that must have changed their colour."""
_LEAP: Final = 2.5
"""A cut is so many times further than the pictures before were apart."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture as small as it may be to be told from others.

    Attributes:
        pixels: ``(27, 48, 3)`` uint8 RGB.
        colours: ``(3, 16)`` float32: distribution of each channel, sums to 1.
        size: ``(width, height)`` of the picture.
    """

    pixels: Uint8Image
    colours: npt.NDArray[np.float32]
    size: tuple[int, int]


def thumbnail(low: Uint8Image) -> Thumbnail:
    """Make the thumbnail of an ``(H, W, 3)`` uint8 RGB picture."""
    height, width = low.shape[:2]
    # Every n-th pixel is enough to average over, and leaves most of a large picture unread.
    step = max(1, min(height // (4 * _HEIGHT), width // (4 * _WIDTH)))
    sparse = np.ascontiguousarray(low[::step, ::step])
    resized = cv2.resize(sparse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    pixels: Uint8Image = np.asarray(resized, dtype=np.uint8)
    bins = (pixels >> 4).reshape(-1, 3)
    counts = [np.bincount(bins[:, channel], minlength=_BINS) for channel in range(3)]
    colours = np.asarray(counts, dtype=np.float32) / np.float32(_WIDTH * _HEIGHT)
    return Thumbnail(pixels, colours, (width, height))


def distance(first: Thumbnail, second: Thumbnail) -> float:
    """Mean difference of the pixels in code values."""
    return float(cv2.norm(first.pixels, second.pixels, cv2.NORM_L1)) / first.pixels.size


def same_scene(first: Thumbnail, second: Thumbnail, usual: float = 0.0) -> bool:
    """Whether two pictures, one soon after the other, show the same scene.

    Args:
        first, second: of one source.
        usual: how far apart pictures of this scene are as a rule, code values.
    """
    if first.size != second.size:
        return False
    apart = distance(first, second)
    if apart < max(_NEAR, _LEAP * usual):
        return True
    changed = float(np.abs(first.colours - second.colours).sum(axis=1).max()) / 2
    return apart < _FAR and changed < _COLOURS


class SceneCut:
    """Compares each picture of one source with the one before."""

    def __init__(self) -> None:
        self._last: Thumbnail | None = None
        self._usual = 0.0

    def update(self, low: Uint8Image) -> bool:
        """Whether ``low``, ``(H, W, 3)`` uint8 RGB, begins another scene; True for the first."""
        now, last = thumbnail(low), self._last
        self._last = now
        if last is None or not same_scene(last, now, self._usual):
            self._usual = 0.0
            return True
        self._usual += 0.2 * (distance(last, now) - self._usual)
        return False

    def reset(self) -> None:
        """Forget the last picture."""
        self._last, self._usual = None, 0.0
