"""Where a film or a camera switches to another picture altogether."""

from __future__ import annotations

from acf_edge.engine.protocol import Uint8Image


class SceneCut:
    """Compares each picture of one source with the one before."""

    def update(self, low: Uint8Image) -> bool:
        """Whether ``low``, ``(H, W, 3)`` uint8 RGB, begins another scene; True for the first."""
        return False

    def reset(self) -> None:
        """Forget the last picture."""
