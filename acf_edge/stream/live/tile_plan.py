"""How a frame is cut into tiles, and when it has to be."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acf_edge.engine.tile_session import Part
from acf_edge.errors import InputError

_LARGEST: Final = 1024
"""Pixels; a larger tile saves little of what overlaps, and takes more memory."""
_BLIND: Final = 2 << 30
"""Bytes that are taken to be free where nothing tells."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the frame; ends are exclusive.

    Attributes:
        start, end: what is given to the network.
        first, last: what is taken from its result, and from no other tile's.
        inner: whether another tile follows.
        weight: pixels from ``first`` on, with what the network pads at the frame's end.
    """

    start: int
    end: int
    first: int
    last: int
    inner: bool
    weight: int


@dataclass(frozen=True)
class Tile:
    """One tile of a frame."""

    rows: Span
    columns: Span

    @property
    def part(self) -> Part:
        """What belongs to this tile alone, as the network is to average it."""
        rows, columns = self.rows, self.columns
        return Part(
            rows.first - rows.start,
            columns.first - columns.start,
            rows.last - rows.start if rows.inner else None,
            columns.last - columns.start if columns.inner else None,
        )

    @property
    def weight(self) -> int:
        """Its share of the averages, in pixels."""
        return self.rows.weight * self.columns.weight


def plan_tiles(
    size: tuple[int, int], tile: tuple[int, int], overlap: int, alignment: int
) -> list[Tile]:
    """Cut a frame, row by row.

    Args:
        size: ``(width, height)`` of the frame.
        tile: ``(width, height)``, the largest that a tile may be.
        overlap: pixels at an inner edge of a tile that come out wrong.
        alignment: tiles begin and are divided at multiples of it.

    Raises:
        InputError: nothing of a tile is left between its overlaps.
    """
    columns = cut(size[0], tile[0], overlap, alignment)
    rows = cut(size[1], tile[1], overlap, alignment)
    return [Tile(row, column) for row in rows for column in columns]


def cut(length: int, tile: int, overlap: int, alignment: int) -> list[Span]:
    """Cut one axis into tiles of nearly the same length; arguments as :func:`plan_tiles`."""
    whole = math.ceil(length / alignment) * alignment
    if length <= tile:
        return [Span(0, length, 0, length, False, whole)]
    overlap = math.ceil(overlap / alignment) * alignment
    step = tile // alignment * alignment - 2 * overlap
    if step < alignment:
        raise InputError(
            f"Tiles of {tile} pixels are too small: {overlap} pixels on each side must overlap.",
            f"Give tiles of at least {2 * overlap + alignment} pixels.",
        )
    # As many as it takes, then as short as so many may be.
    count = math.ceil((length - 2 * overlap) / step)
    step = math.ceil((length - 2 * overlap) / count / alignment) * alignment
    count = math.ceil((length - 2 * overlap) / step)
    spans = []
    for index in range(count):
        start, inner = index * step, index < count - 1
        first = start + overlap if index else 0
        last = start + step + overlap if inner else length
        end = last + overlap if inner else length
        spans.append(Span(start, end, first, last, inner, (last if inner else whole) - first))
    return spans


def tile_for_memory(
    bytes_per_pixel: int, overlap: int, alignment: int, free: int
) -> tuple[int, int]:
    """The largest square tile that a quarter of the free memory has room for.

    Args:
        bytes_per_pixel: that the network needs.
        overlap: of tiles, pixels.
        alignment: of tiles, pixels.
        free: bytes.

    Returns:
        ``(width, height)``, multiples of the alignment; never so small that nothing is
        left between the overlaps.
    """
    side = min(_LARGEST, math.isqrt(max(1, free // (4 * bytes_per_pixel))))
    least = 4 * overlap + alignment
    side = math.ceil(max(side, least) / alignment) * alignment
    return side, side


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still use: the machine's, and its control group's."""
    found = [_BLIND]
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        found = [int(available.split()[1]) * 1024]
    with contextlib.suppress(OSError, ValueError):
        group = root / "sys/fs/cgroup"
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        found.append(max(0, limit - used))
    return min(found)
