"""Which engine may take the next frame, so that frames arrive before their deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GovernorState:
    """What the governor has done so far."""

    rung: int
    name: str
    frames: Mapping[str, int]
    in_time: int
    late: int
    steps_down: int
    steps_up: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"rung": self.rung, "name": self.name, "frames": dict(self.frames)}


class Governor:
    """Chooses a rung of the ladder for every frame."""

    def __init__(
        self,
        deadline: float | None,
        rungs: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rungs = tuple(rungs)
        self._frames = [0] * len(self._rungs)
        self._held: int | None = None

    def choose(self, age: float) -> int:
        """The rung for a frame that was captured ``age`` seconds ago."""
        return self._held or 0

    def report(self, rung: int, service: float, latency: float) -> None:
        """What became of a frame, seconds."""
        self._frames[rung] += 1

    def hold(self, rung: int | None) -> None:
        """Use this rung from now on; None = choose again."""
        self._held = rung

    def expect(self, rung: int, service: float) -> None:
        """Tell a service time, seconds, that was measured before the stream began."""

    def snapshot(self) -> GovernorState:
        """The state now."""
        rung = self._held or 0
        frames = dict(zip(self._rungs, self._frames, strict=True))
        return GovernorState(rung, self._rungs[rung], frames, 0, 0, 0, 0, "")
