"""Pictures smaller than what an engine was compiled for: padded, and the result cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acf_edge.engine import Engine
from acf_edge.engine.passport import InputProfile
from acf_edge.engine.protocol import Pending, Uint8Image, begin


def padded_size(profiles: Sequence[InputProfile], width: int, height: int) -> tuple[int, int]:
    """The smallest size that an engine takes and that holds a picture; its own if none does.

    Args:
        profiles: of the engine; empty = any size.
        width: of the picture in pixels. ``height``: likewise.
    """
    sizes = [
        (max(width, one.minimum[0]), max(height, one.minimum[1]))
        for one in profiles
        if width <= one.maximum[0] and height <= one.maximum[1]
    ]
    return min(sizes, key=lambda size: size[0] * size[1], default=(width, height))


class PaddedEngine:
    """An engine of certain sizes that takes smaller pictures, too.

    The last row and column are repeated to the right and below. A network with votes on the
    whole picture sees those as well, so the result may differ a little from that of an engine
    for the picture's own size.

    Args:
        engine: stays the caller's until :meth:`close`.
        profiles: of the engine.
    """

    def __init__(self, engine: Engine, profiles: Sequence[InputProfile]) -> None:
        self._engine, self._profiles = engine, tuple(profiles)

    @property
    def name(self) -> str:
        """Of the engine."""
        return self._engine.name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._engine.scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one ``(H, W, 3)`` uint8 RGB picture."""
        return self.submit(frame).result()

    def submit(self, frame: Uint8Image) -> Pending:
        """Begin one picture; without waiting for it where the engine can."""
        height, width = frame.shape[:2]
        wide, high = padded_size(self._profiles, width, height)
        grown = (wide, high) != (width, height)
        if grown:
            frame = np.pad(frame, ((0, high - height), (0, wide - width), (0, 0)), mode="edge")
        pending = begin(self._engine, frame)
        return _Cut(pending, width * self.scale, height * self.scale) if grown else pending

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


class _Cut:
    """The part of a picture that is under way, from its upper left corner."""

    def __init__(self, pending: Pending, width: int, height: int) -> None:
        self._pending, self._width, self._height = pending, width, height

    def result(self) -> Uint8Image:
        return np.ascontiguousarray(self._pending.result()[: self._height, : self._width])
