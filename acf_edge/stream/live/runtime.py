"""Sources in, one engine, sinks out: the streaming runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from acf_edge.engine.protocol import Engine
from acf_edge.stream.live.lanes import Lane
from acf_edge.stream.live.stats import RunStats
from acf_edge.stream.live.summary import StreamSummary

__all__ = ["Lane", "StreamRun", "StreamSummary"]


class StreamRun:
    """Run frames from sources through one engine to sinks until all sources end.

    Args:
        lanes: sources with their sinks; at least one lane, each with a sink.
        engines: the ladder, best first, of one scale; not closed.
        deadline: seconds a frame may be old when it is done; None = no limit.
        steady: filter the flicker of what the engine adds.
        stats_path: counters are written there once a second, and at the end.
        seconds: end after this many; None = when the sources do.
        frames: end each source after this many frames; None = no limit.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        engines: Sequence[Engine],
        *,
        deadline: float | None = None,
        steady: bool = True,
        stats_path: Path | None = None,
        seconds: float | None = None,
        frames: int | None = None,
        tick: Callable[[RunStats], None] | None = None,
    ) -> None:
        self._lanes = tuple(lanes)
        self._engines = tuple(engines)

    def run(self, cancel: threading.Event | None = None) -> StreamSummary:
        """Run to the end, or until ``cancel`` is set; files are finished then."""
        raise RuntimeError("the run has no stages yet")

    def stats(self) -> dict[str, Any]:
        """Counters and latencies as plain JSON types."""
        return RunStats(0.0, self._engines[0].name, 0.0, 0, (), ()).to_json()
