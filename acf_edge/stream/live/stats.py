"""How fast, how late, how many: counted while a stream runs, in bounded memory."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

STAGES: Final = ("capture", "wait", "infer", "deliver", "end_to_end")
PERCENTILES: Final = (50, 95, 99)

# Buckets grow by 4 %: the middle of one is at most 2 % from what fell into it.
_GROWTH: Final = 1.04
_SHORTEST: Final = 1e-5
_LONGEST: Final = 1e3
_BUCKETS: Final = math.ceil(math.log(_LONGEST / _SHORTEST) / math.log(_GROWTH)) + 1
_PER_LOG: Final = 1 / math.log(_GROWTH)

WINDOW_SECONDS: Final = 5


class Latency:
    """Durations of one stage, as counts in logarithmic buckets: over all, and of late.

    One thread adds; any thread reads, and may miss what is added at that very
    moment. Percentiles are within 2 % between 10 microseconds and 1000 s, and
    held at these two outside. The window is the second that runs and the
    :data:`WINDOW_SECONDS` before it.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = np.zeros(_BUCKETS, np.int64)
        self._slots: deque[tuple[int, npt.NDArray[np.int64]]] = deque(maxlen=WINDOW_SECONDS + 1)
        self._began: float | None = None
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        now = self._clock()
        if self._began is None:
            self._began = now
        second = int(now)
        if not self._slots or self._slots[-1][0] != second:
            self._slots.append((second, np.zeros(_BUCKETS, np.int64)))
        bucket = _bucket(seconds)
        self._slots[-1][1][bucket] += 1
        self._total[bucket] += 1
        self.count += 1

    def rate(self) -> float:
        """Durations per second within the window; 0 where there are none."""
        now = self._clock()
        began = self._began
        if began is None:
            return 0.0
        oldest = int(now) - WINDOW_SECONDS
        count = sum(int(counts.sum()) for second, counts in list(self._slots) if second >= oldest)
        return count / max(now - max(began, oldest), 1e-3) if count > 1 else 0.0


def percentiles(parts: Iterable[Latency], *, window: bool) -> dict[str, float | None]:
    """``{"p50", "p95", "p99"}`` of several latencies taken together.

    Args:
        parts: what to take together.
        window: of late; else since the beginning.

    Returns:
        Milliseconds; None where nothing was counted.
    """
    counts = np.zeros(_BUCKETS, np.int64)
    for part in parts:
        if window:
            oldest = int(part._clock()) - WINDOW_SECONDS
            for second, slot in list(part._slots):
                if second >= oldest:
                    counts += slot
        else:
            counts += part._total
    seen = int(counts.sum())
    if not seen:
        return {f"p{p}": None for p in PERCENTILES}
    below = np.cumsum(counts)
    result: dict[str, float | None] = {}
    for percent in PERCENTILES:
        rank = max(1, math.ceil(seen * percent / 100))
        bucket = int(np.searchsorted(below, rank))
        result[f"p{percent}"] = round(1e3 * _SHORTEST * _GROWTH**bucket, 3)
    return result


def _bucket(seconds: float) -> int:
    if not seconds > _SHORTEST:
        return 0
    if seconds >= _LONGEST:
        return _BUCKETS - 1
    return min(_BUCKETS - 1, round(math.log(seconds / _SHORTEST) * _PER_LOG))


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One source at one moment.

    Attributes:
        uri: without user name and password.
        state: ``"opening"``, ``"live"``, ``"held"`` (away, the last picture is
            shown), ``"ended"`` or ``"failed"``.
        width, height: pixels of the latest frame as captured; 0 until it is open.
        fps: frames per second through the engine, of late.
        captured: frames that came from it.
        frames: of these, how many went through the engine.
        dropped: of these, how many were replaced by a newer one before.
        held: how often its last picture was shown again.
        reconnects: how often it was lost and came back.
        queue: frames that wait for the engine now.
        reason: why it is away or failed; empty otherwise.
        latency_ms: stage -> percentiles of late.
        latency_total_ms: stage -> percentiles since the beginning.
        unsteady: frames on the last rung of the ladder that went without the steady
            filter, because with it they would have been late.
    """

    uri: str
    state: str
    width: int
    height: int
    fps: float
    captured: int
    frames: int
    dropped: int
    held: int
    reconnects: int
    queue: int
    reason: str
    latency_ms: dict[str, dict[str, float | None]]
    latency_total_ms: dict[str, dict[str, float | None]]
    unsteady: int = 0


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink at one moment.

    Attributes:
        number: as :meth:`Controls.detach` takes it; 0-based, never used twice.
        uri: as the user gave it.
        source: number of the source that it shows.
        state: ``"opening"``, ``"open"``, ``"failed"`` or ``"closed"``.
        frames: pictures that it took, held ones among them.
        dropped: pictures that it was too slow for.
        queue: pictures that wait for it now.
        reason: why it failed; empty otherwise.
        latency_ms: ``"deliver"`` and ``"end_to_end"`` -> percentiles of late.
    """

    number: int
    uri: str
    source: int
    state: str
    frames: int
    dropped: int
    queue: int
    reason: str
    latency_ms: dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class RunStats:
    """The whole stream at one moment; :meth:`to_json` is what ``--stats`` writes.

    Attributes:
        seconds: since the run began.
        engine: name of the best engine of the ladder.
        fps: frames per second through the engine, of late, all sources together.
        frames: frames that went through the engine.
        sources: in the order of the command.
        sinks: in the order of their numbers.
        governor: see :class:`acf_edge.stream.live.governor.GovernorState`; None
            until it has begun.
    """

    seconds: float
    engine: str
    fps: float
    frames: int
    sources: tuple[SourceStats, ...]
    sinks: tuple[SinkStats, ...]
    governor: dict[str, Any] | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; described in ``docs/streaming.md``."""
        return {
            "seconds": round(self.seconds, 3),
            "engine": self.engine,
            "fps": round(self.fps, 2),
            "frames": self.frames,
            "sources": [_plain(source) for source in self.sources],
            "sinks": [_plain(sink) for sink in self.sinks],
            "governor": self.governor,
        }


def _plain(stats: SourceStats | SinkStats) -> dict[str, Any]:
    values = {name: getattr(stats, name) for name in type(stats).__dataclass_fields__}
    if isinstance(stats, SourceStats):
        values["fps"] = round(stats.fps, 2)
    return values
