"""Bicubic up-sampling behind the engine's protocol: no network, next to no time."""

from __future__ import annotations

import cv2
import numpy as np

from acf_edge.engine.frames import checked_frame
from acf_edge.engine.protocol import Uint8Image


class BicubicEngine:
    """OpenCV's bicubic interpolation (a = -0.75, edge samples repeated).

    It is made for speed. The baseline in tables of quality is
    :func:`acf_edge.imaging.resize.upscale_bicubic` (a = -0.5), as in the
    super-resolution literature.

    Args:
        scale: up-sampling factor, >= 1.
    """

    def __init__(self, scale: int) -> None:
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        self._scale = scale

    @property
    def name(self) -> str:
        """``"bicubic"``."""
        return "bicubic"

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Up-sample one ``(H, W, 3)`` uint8 RGB picture by :attr:`scale`."""
        frame = checked_frame(frame)
        size = (frame.shape[1] * self._scale, frame.shape[0] * self._scale)
        enlarged = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(enlarged, dtype=np.uint8)

    def close(self) -> None:
        """Nothing to release."""
