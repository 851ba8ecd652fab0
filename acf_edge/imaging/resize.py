"""Resampling with the kernel that super-resolution papers use.

Keys' cubic convolution with a = -0.5 (Keys 1981), half-pixel centres, edge
samples repeated beyond the border. When it shrinks, the kernel is
widened by the factor (antialiased), as MATLAB's ``imresize`` and Pillow's
``BICUBIC`` do; OpenCV's ``INTER_CUBIC`` does neither (a = -0.75, no widening).

Each axis is one dense matrix, so the work is matrix products: exact to
float32, any size, and fast enough to feed a training run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError

FloatArray = npt.NDArray[np.float32]


def _keys(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


# Few: the matrix from 2160 rows to 8640 has 75 MB, and a folder of pictures many sizes.
@lru_cache(maxsize=8)
def resample_matrix(
    source: int, target: int, kernel: str = "bicubic", antialias: bool = True
) -> FloatArray:
    """Return the ``(target, source)`` float32 matrix that resamples one axis.

    Args:
        source: samples before; >= 1.
        target: samples after; >= 1.
        kernel: ``"bicubic"`` (a = -0.5) or ``"area"`` (mean over the covered span).
        antialias: widen the cubic kernel by ``source / target`` when shrinking.

    Returns:
        ``(target, source)`` float32, read-only (it is cached); each row sums to 1.

    Raises:
        InputError: a size below 1 or an unknown kernel.
    """
    if source < 1 or target < 1:
        raise InputError(f"Cannot resample {source} samples to {target}.", "Sizes start at 1.")
    if kernel not in ("bicubic", "area"):
        raise InputError(f"Unknown kernel '{kernel}'.", "There are: bicubic, area.")
    ratio = source / target
    if kernel == "area":
        edges = np.arange(target + 1, dtype=np.float64) * ratio
        cells = np.arange(source, dtype=np.float64)
        low = np.maximum(edges[:-1, None], cells[None, :])
        high = np.minimum(edges[1:, None], cells[None, :] + 1.0)
        weights = np.maximum(high - low, 0.0)
    else:
        widen = max(ratio, 1.0) if antialias else 1.0
        centres = (np.arange(target, dtype=np.float64) + 0.5) * ratio - 0.5
        reach = int(np.ceil(2.0 * widen)) + 1
        taps = np.arange(-reach, reach + 1)
        positions = np.floor(centres)[:, None] + taps[None, :]
        values = _keys((positions - centres[:, None]) / widen)
        weights = np.zeros((target, source))
        rows = np.broadcast_to(np.arange(target)[:, None], positions.shape)
        columns = np.clip(positions, 0, source - 1).astype(np.intp)
        np.add.at(weights, (rows, columns), values)
    weights /= weights.sum(axis=1, keepdims=True)
    result: FloatArray = weights.astype(np.float32)
    result.flags.writeable = False
    return result


def resize(
    image: npt.NDArray[np.uint8] | FloatArray,
    height: int,
    width: int,
    kernel: str = "bicubic",
    antialias: bool = True,
) -> FloatArray:
    """Resample a picture to ``height`` x ``width``.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, uint8 or float32, code values 0..255.
        height: rows wanted; >= 1.
        width: columns wanted; >= 1.
        kernel: see :func:`resample_matrix`.
        antialias: see :func:`resample_matrix`.

    Returns:
        ``(height, width)`` or ``(height, width, C)`` float32; *not* clipped: the
        cubic kernel overshoots at edges.

    Raises:
        InputError: a size below 1 or an unknown kernel.
    """
    data = np.ascontiguousarray(image, dtype=np.float32)
    rows, columns = data.shape[:2]
    vertical = resample_matrix(rows, height, kernel, antialias)
    horizontal = resample_matrix(columns, width, kernel, antialias)
    flat = vertical @ data.reshape(rows, -1)
    if data.ndim == 2:
        plane = flat @ horizontal.T
        return plane.astype(np.float32, copy=False)
    picture = horizontal @ flat.reshape(height, columns, -1)
    return picture.astype(np.float32, copy=False)


def resize_bicubic(
    image: npt.NDArray[np.uint8] | FloatArray, height: int, width: int, antialias: bool = True
) -> FloatArray:
    """:func:`resize` with the cubic kernel, a = -0.5."""
    return resize(image, height, width, "bicubic", antialias)


def to_uint8(image: FloatArray) -> npt.NDArray[np.uint8]:
    """Round half to even and clip to 0..255, as the engines' output stage does."""
    codes: npt.NDArray[np.uint8] = np.clip(np.rint(image), 0.0, 255.0).astype(np.uint8)
    return codes


def upscale_bicubic(image: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """The baseline of every table: bicubic up-sampling, rounded and clipped.

    Args:
        image: ``(H, W)`` or ``(H, W, C)`` uint8.
        scale: an integer factor, >= 1.

    Returns:
        ``(scale H, scale W)`` or ``(scale H, scale W, C)`` uint8.

    Raises:
        InputError: a factor below 1.
    """
    return to_uint8(resize_bicubic(image, image.shape[0] * scale, image.shape[1] * scale))
