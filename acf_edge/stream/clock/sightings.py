"""What a reader of painted clocks has seen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture, seen for the first time.

    Attributes:
        painted: microseconds of the wall clock when its time was painted into it.
        seen: the same when it was there at the other end.
    """

    painted: int
    seen: int

    @property
    def milliseconds(self) -> float:
        """How long it was on its way."""
        return (self.seen - self.painted) / 1000


@dataclass
class Sightings:
    """Collects what a reader sees; thread-safe.

    Attributes:
        unreadable: pictures in which no whole code was found, as ``seen`` times.
    """

    unreadable: list[int] = field(default_factory=list)
    _list: list[Sighting] = field(default_factory=list)
    _known: set[int] = field(default_factory=set)
    _first: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, painted: int | None, seen: int) -> None:
        """Note what was read in a picture; one that is shown again counts once."""
        with self._lock:
            if painted is None:
                self.unreadable.append(seen)
            elif painted not in self._known:
                self._known.add(painted)
                self._list.append(Sighting(painted, seen))
                self._first.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the first picture; False if none came."""
        return self._first.wait(seconds)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest picture took; 0 where there is none."""
        with self._lock:
            return max((each.milliseconds / 1000 for each in self._list), default=0.0)

    def between(self, begin: int, end: int) -> tuple[list[Sighting], int]:
        """Those painted within a span of time, and how many unreadable ones were seen in it."""
        with self._lock:
            inside = [each for each in self._list if begin <= each.painted < end]
            return inside, sum(begin <= seen < end for seen in self.unreadable)
