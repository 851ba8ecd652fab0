"""A time as black and white blocks that survive scaling, 4:2:0, codecs and engines.

The picture is thought of as a grid of 32 columns and 16 rows; the code takes the
top three rows. Both numbers are shares of the picture, so a picture of another
size carries the same code. Each row begins and ends with two blocks that are
always the same: they tell what is black, what is white, and that the code is
there at all. The 84 blocks between them hold 52 bits of time and a CRC of 32
bits over it, so that a strip made of two frames is not taken for a third one;
a block that is neither black nor white (two frames blended) makes it unreadable.
"""

from __future__ import annotations

import time
import zlib

import numpy as np
import numpy.typing as npt

from acf_edge.engine.protocol import Uint8Image

COLUMNS, ROWS, CODE_ROWS = 32, 16, 3
SMALLEST = (128, 64)
"""``(width, height)`` in pixels below which the blocks are too small to be painted."""

_TIME_BITS, _CHECK_BITS = 52, 32
_EDGE = np.array([1, 0], bool)
# Two frames blended half and half lie between these shares of the way from black to white.
_SURELY_BLACK, _SURELY_WHITE = 0.3, 0.7
# Code values between black and white below which the strip is noise.
_LEAST_CONTRAST = 48.0
_BLACK, _WHITE = 16, 235


def now() -> int:
    """The machine's wall clock in microseconds since 1970: what every process reads alike."""
    return time.time_ns() // 1000


def paint(pixels: Uint8Image, microseconds: int) -> None:
    """Paint a time over the top of a picture, in place.

    Args:
        pixels: ``(H, W, 3)`` or ``(H, W)`` uint8, at least :data:`SMALLEST`.
        microseconds: 0 to 2**52 - 1 (142 years), e.g. :func:`now`.

    Raises:
        ValueError: the picture is too small, or the time out of range.
    """
    height, width = pixels.shape[:2]
    if width < SMALLEST[0] or height < SMALLEST[1]:
        raise ValueError(
            f"a clock needs at least {SMALLEST[0]}x{SMALLEST[1]} pixels, not {width}x{height}"
        )
    if not 0 <= microseconds < 1 << _TIME_BITS:
        raise ValueError(f"{microseconds} microseconds do not fit into {_TIME_BITS} bits")
    columns, rows = _edges(width, COLUMNS), _edges(height, ROWS)[: CODE_ROWS + 1]
    levels = np.where(_grid(microseconds), _WHITE, _BLACK).astype(np.uint8)
    strip = levels.repeat(np.diff(rows), 0).repeat(np.diff(columns), 1)
    pixels[: strip.shape[0]] = strip if pixels.ndim == 2 else strip[:, :, None]


def read(pixels: Uint8Image) -> int | None:
    """Read the time that :func:`paint` left in a picture.

    Args:
        pixels: ``(H, W, 3)`` or ``(H, W)`` uint8, the whole picture, at any scale and
            after any codec.

    Returns:
        Microseconds; None where there is no code, or one that is not whole.
    """
    levels = _levels(pixels)
    return None if levels is None else decode(levels)


def decode(levels: npt.NDArray[np.float64]) -> int | None:
    """Read the time from the brightness of the blocks: for readers that cannot send pixels.

    Args:
        levels: ``(CODE_ROWS, COLUMNS)``, code values, each the mean of the middle of a block.

    Returns:
        As :func:`read`.
    """
    edge = np.tile(np.concatenate([_EDGE, _EDGE[::-1]]), (CODE_ROWS, 1))
    marks = np.concatenate([levels[:, :2], levels[:, -2:]], axis=1)
    black, white = float(marks[~edge].mean()), float(marks[edge].mean())
    if white - black < _LEAST_CONTRAST:
        return None
    share = (levels - black) / (white - black)
    bits = share > 0.5
    if ((share > _SURELY_BLACK) & (share < _SURELY_WHITE)).any():
        return None
    if (np.concatenate([bits[:, :2], bits[:, -2:]], axis=1) != edge).any():
        return None
    number = int("".join("1" if bit else "0" for bit in bits[:, 2:-2].ravel()), 2)
    microseconds, check = number >> _CHECK_BITS, number & ((1 << _CHECK_BITS) - 1)
    return microseconds if check == _check(microseconds) else None


def _edges(length: int, parts: int) -> npt.NDArray[np.int64]:
    """Where the parts of a side begin, and where the last one ends."""
    return np.arange(parts + 1) * length // parts


def _grid(microseconds: int) -> npt.NDArray[np.bool_]:
    """The code as ``(CODE_ROWS, COLUMNS)``, white = True."""
    number = microseconds << _CHECK_BITS | _check(microseconds)
    data = np.array([bit == "1" for bit in f"{number:0{_TIME_BITS + _CHECK_BITS}b}"])
    side = np.tile(_EDGE, (CODE_ROWS, 1))
    return np.concatenate([side, data.reshape(CODE_ROWS, -1), side[:, ::-1]], axis=1)


def _check(microseconds: int) -> int:
    return zlib.crc32(microseconds.to_bytes((_TIME_BITS + 7) // 8, "big"))


def _levels(pixels: Uint8Image) -> npt.NDArray[np.float64] | None:
    """The mean of the middle of each block, ``(CODE_ROWS, COLUMNS)``; None if too small."""
    height, width = pixels.shape[:2]
    if width < 2 * COLUMNS or height < 2 * ROWS:
        return None
    columns, rows = _edges(width, COLUMNS), _edges(height, ROWS)[: CODE_ROWS + 1]
    strip = pixels[: rows[-1]]
    grey = strip.astype(np.float64) if strip.ndim == 2 else strip.mean(axis=2)
    # The outer quarter of a block is blurred by its neighbour.
    tops, bottoms = _middle(rows)
    lefts, rights = _middle(columns)
    total = np.zeros((height + 1, width + 1))[: rows[-1] + 1]
    total[1:, 1:] = grey.cumsum(0).cumsum(1)
    sums = (
        total[np.ix_(bottoms, rights)]
        - total[np.ix_(tops, rights)]
        - total[np.ix_(bottoms, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    area = np.outer(bottoms - tops, rights - lefts)
    levels: npt.NDArray[np.float64] = sums / area
    return levels


def _middle(edges: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    margin = np.diff(edges) // 4
    return edges[:-1] + margin, edges[1:] - margin
