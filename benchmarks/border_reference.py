"""What the frame border has to compute, in float64, straight from the definitions.

Nothing is shared with ``acf_edge.cuda.border`` or with the kernels: matrices come
from the equations of BT.601, BT.709 and BT.2020, chroma from positions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
# Position of a chroma sample, in luma samples right of and below the first of its four pixels.
POSITIONS = {"left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}


def rgb_matrix(matrix: int, full: bool) -> tuple[Float64, Float64]:
    """``rgb = M @ (yuv - offset)`` on code values; the inverse of the defining equations."""
    red, blue = SHARES[matrix]
    forward = np.array([[red, 1 - red - blue, blue]] * 3)
    forward[1] = (np.array([0, 0, 1]) - forward[0]) / (2 * (1 - blue))
    forward[2] = (np.array([1, 0, 0]) - forward[0]) / (2 * (1 - red))
    if not full:
        forward *= np.array([[219 / 255], [224 / 255], [224 / 255]])
    offset = np.array([0.0 if full else 16.0, 128.0, 128.0])
    return np.linalg.inv(forward), offset


def _stretched(chroma: Float64, size: int, position: float, axis: int) -> Float64:
    """Linear interpolation of chroma at every luma sample of one axis; ends are repeated."""
    at = (np.arange(size) - position) / 2
    low = np.floor(at).astype(int)
    share = at - low
    last = chroma.shape[axis] - 1
    first = chroma.take(np.clip(low, 0, last), axis)
    second = chroma.take(np.clip(low + 1, 0, last), axis)
    share = share.reshape([-1 if i == axis else 1 for i in range(chroma.ndim)])
    return first * (1 - share) + second * share


def nv12_to_rgb(luma: Bytes, chroma: Bytes, matrix: int, full: bool, siting: str) -> Float64:
    """``(H, W)`` and ``(ceil(H/2), ceil(W/2), 2)`` -> ``(H, W, 3)``, clipped, not rounded."""
    across, down = POSITIONS[siting]
    height, width = luma.shape
    wide = _stretched(chroma.astype(np.float64), height, down, 0)
    wide = _stretched(wide, width, across, 1)
    yuv = np.concatenate([luma[..., None].astype(np.float64), wide], 2)
    inverse, offset = rgb_matrix(matrix, full)
    return np.clip((yuv - offset) @ inverse.T, 0, 255)


def _shrunk(plane: Float64, position: float, axis: int) -> Float64:
    """The mean of what lies within one luma sample of each chroma sample's place (a box of 2)."""
    size = plane.shape[axis]
    centres = 2 * np.arange((size + 1) // 2) + position
    total = 0.0
    for offset in range(-1, 2):
        index = np.floor(centres + offset + 0.5).astype(int)
        # How much of sample ``index`` (half a sample to either side) the box covers.
        left = np.maximum(index - 0.5, centres - 1.0)
        right = np.minimum(index + 0.5, centres + 1.0)
        share = np.maximum(right - left, 0) / 2
        share = share.reshape([-1 if i == axis else 1 for i in range(plane.ndim)])
        total = total + share * plane.take(np.clip(index, 0, size - 1), axis)
    return np.asarray(total)


def rgb_to_nv12(rgb: Float64, matrix: int, full: bool, siting: str) -> tuple[Float64, Float64]:
    """``(H, W, 3)`` -> luma ``(H, W)`` and chroma ``(ceil(H/2), ceil(W/2), 2)``, not rounded."""
    across, down = POSITIONS[siting]
    inverse, offset = rgb_matrix(matrix, full)
    yuv = np.clip(rgb, 0, 255) @ np.linalg.inv(inverse).T + offset
    chroma = _shrunk(_shrunk(yuv[..., 1:], down, 0), across, 1)
    return np.clip(yuv[..., 0], 0, 255), np.clip(chroma, 0, 255)
