"""PSNR and SSIM as the super-resolution literature counts them.

Pictures are compared in code values (peak 255). The luma is BT.601 in studio
range, which is what papers mean by "PSNR-Y"; it is *not* rounded to integers.
SSIM is that of Wang et al. 2004: an 11x11 Gaussian window of sigma 1.5,
K1 = 0.01, K2 = 0.03, averaged over the positions where the whole window lies
inside the picture. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError

Image = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]

PEAK = 255.0
_RADIUS = 5
_SIGMA = 1.5


@dataclass(frozen=True)
class Quality:
    """How near one picture is to another.

    Attributes:
        psnr_y: dB on the luma; ``inf`` for pictures with the same luma.
        ssim_y: structural similarity of the luma, at most 1.
        psnr_rgb: dB over the three channels together; ``inf`` for identical pictures.
        ssim_rgb: structural similarity, averaged over the three channels.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float


def luma(rgb: Image) -> Float64Array:
    """BT.601 studio-range luma of an RGB picture.

    Args:
        rgb: ``(H, W, 3)``, code values 0..255.

    Returns:
        ``(H, W)`` float64, 16 (black) to 235 (white), not rounded.

    Raises:
        InputError: the picture has not three channels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise InputError(f"A luma needs (H, W, 3); this picture is {rgb.shape}.", "Give RGB.")
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    result: Float64Array = rgb.astype(np.float64) @ weights + 16.0
    return result


def psnr(a: Image, b: Image, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255.

    Args:
        a: ``(H, W)`` or ``(H, W, C)``, code values 0..255.
        b: of the same shape.
        border: pixels shaved off each side first; >= 0.

    Returns:
        dB; ``inf`` where the pictures are equal.

    Raises:
        InputError: shapes that differ, or nothing left within the border.
    """
    a, b = _shaved(a, b, border, smallest=1)
    error = float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK * PEAK / error)


def ssim(a: Image, b: Image, border: int = 0) -> float:
    """Mean structural similarity; channels are averaged.

    Args:
        a: ``(H, W)`` or ``(H, W, C)``, code values 0..255.
        b: of the same shape.
        border: pixels shaved off each side first; >= 0.

    Returns:
        -1..1; 1 for equal pictures.

    Raises:
        InputError: shapes that differ, or fewer than 11 pixels a side within the border.
    """
    a, b = _shaved(a, b, border, smallest=2 * _RADIUS + 1)
    if a.ndim == 2:
        return _ssim_plane(a, b)
    return float(np.mean([_ssim_plane(a[:, :, c], b[:, :, c]) for c in range(a.shape[2])]))


def quality(a: Image, b: Image, border: int = 0) -> Quality:
    """All four figures for two ``(H, W, 3)`` RGB pictures; see :func:`psnr`, :func:`ssim`.

    Raises:
        InputError: shapes that differ, not RGB, or fewer than 11 pixels a side within the border.
    """
    a, b = _shaved(a, b, border, smallest=2 * _RADIUS + 1)
    ya, yb = luma(a), luma(b)
    return Quality(psnr(ya, yb), ssim(ya, yb), psnr(a, b), ssim(a, b))


def _shaved(a: Image, b: Image, border: int, smallest: int) -> tuple[Image, Image]:
    if a.shape != b.shape:
        raise InputError(
            f"Pictures of {_size(a)} and {_size(b)} cannot be compared.",
            "They must be equal in size.",
        )
    if a.ndim not in (2, 3):
        raise InputError(f"An array of {a.shape} is no picture.", "Give (H, W) or (H, W, C).")
    if border < 0:
        raise InputError(f"A border of {border} pixels cannot be shaved.", "Give 0 or more.")
    height, width = a.shape[0] - 2 * border, a.shape[1] - 2 * border
    if min(height, width) < smallest:
        raise InputError(
            f"A picture of {_size(a)} is too small to compare within a border of {border} pixels.",
            f"At least {smallest + 2 * border} pixels a side are needed.",
        )
    rows, columns = slice(border, border + height), slice(border, border + width)
    return a[rows, columns], b[rows, columns]


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}" if image.ndim >= 2 else str(image.shape)


def _ssim_plane(a: Image, b: Image) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_x, mean_y = _window(x), _window(y)
    product = mean_x * mean_y
    squares_x, squares_y = mean_x * mean_x, mean_y * mean_y
    variance_x = _window(x * x) - squares_x
    variance_y = _window(y * y) - squares_y
    covariance = _window(x * y) - product
    similarity = ((2.0 * product + c1) * (2.0 * covariance + c2)) / (
        (squares_x + squares_y + c1) * (variance_x + variance_y + c2)
    )
    return float(np.mean(similarity))


def _window(plane: Float64Array) -> Float64Array:
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    taps /= taps.sum()
    smooth = np.asarray(cv2.sepFilter2D(plane, cv2.CV_64F, taps, taps), dtype=np.float64)
    return smooth[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


def mean_quality(rows: Sequence[Quality]) -> Quality:
    """Plain mean of each figure over one or more rows; infinite if any row is."""
    columns = [[getattr(row, name) for row in rows] for name in Quality.__dataclass_fields__]
    return Quality(*(float(np.mean(column)) for column in columns))
