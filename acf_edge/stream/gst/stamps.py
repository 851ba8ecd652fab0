"""When a picture is due in a pipeline, given its own time and when it came."""

from __future__ import annotations

from fractions import Fraction

_NANO = 1_000_000_000
# A camera's clock that is so far off has leapt, or the source was away.
_LEAP = _NANO // 2


class Stamps:
    """Makes the times of buffers: strictly increasing, of a live source never in the future.

    A file's pictures keep their distances from the first one. A live source's do,
    too, as seen by the quickest of them: stamped by arrival alone, they would carry
    the jitter of the engine; put at a fixed distance from a slow first one, they
    would wait for their time ever after.

    Args:
        live: of the source.
        by_arrival: stamp live pictures with the time of their arrival all the same;
            sinks that keep to the clock throw away what is late.
    """

    def __init__(self, live: bool, *, by_arrival: bool = False) -> None:
        self._live = live
        self._by_arrival = by_arrival
        self._origin: int | None = None
        self._last = -1

    def due(self, seconds: Fraction, now: int) -> int:
        """The running time for the next picture.

        Args:
            seconds: its presentation time.
            now: running time of the pipeline in nanoseconds; 0 before it plays.

        Returns:
            Nanoseconds.
        """
        media = round(seconds * _NANO)
        if self._live and self._by_arrival:
            stamp = now
        else:
            if self._origin is None:
                self._origin = now - media if self._live else -media
            ahead = media + self._origin - now
            if self._live and not -_LEAP <= ahead <= 0:
                self._origin = now - media
            stamp = media + self._origin
        self._last = max(stamp, self._last + 1)
        return self._last
