"""A picture of any size into a canvas of one size, its shape kept."""

from __future__ import annotations

import cv2
import numpy as np

from acf_edge.engine.protocol import Uint8Image


def letterbox(pixels: Uint8Image, width: int, height: int) -> Uint8Image:
    """Scale a picture to fit and centre it on black.

    Args:
        pixels: ``(H, W, 3)`` uint8 RGB.
        width, height: of the canvas.

    Returns:
        ``(height, width, 3)`` uint8 RGB, C-contiguous; ``pixels`` itself where it fits.
    """
    rows, columns = pixels.shape[:2]
    if (columns, rows) == (width, height):
        return pixels
    share = min(width / columns, height / rows)
    inner = max(1, min(width, round(columns * share))), max(1, min(height, round(rows * share)))
    # Averaging is the only one of OpenCV's that does not alias when it shrinks.
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(pixels, inner, interpolation=how)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas
