"""Frames handed out when they are due, not when they are ready."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

# A machine that slept does not catch up with an hour of frames.
_MOST_LATE = 1.0


class Pacer:
    """Keeps an absolute schedule: errors do not add up.

    Args:
        sleep: waits that many seconds, or raises when the waiting is over for good.
        clock: seconds, monotonic.
    """

    def __init__(
        self, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._origin: float | None = None

    def late(self, seconds: Fraction) -> float:
        """By how many seconds the frame of stream time ``seconds`` is overdue."""
        if self._origin is None:
            return 0.0
        return self._clock() - self._origin - float(seconds)

    def wait(self, seconds: Fraction) -> None:
        """Wait until the frame of stream time ``seconds`` is due; the first one is at once.

        If it is a second late, the schedule begins anew with it.
        """
        late = self.late(seconds)
        if self._origin is None or late > _MOST_LATE:
            self._origin = self._clock() - float(seconds)
        elif late < 0:
            self._sleep(-late)
