"""What a run of the streaming runtime did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acf_edge.stream.live.stats import RunStats


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What :meth:`StreamRun.run` did.

    Attributes:
        stats: the counters at the end.
        interrupted: a file was stopped on request before its end.
        notes: everything that a sink or a source wants said, in words.
    """

    stats: RunStats
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fps(self) -> float:
        """Frames per second through the engine over the whole run; 0 if it took no time."""
        return self.stats.frames / self.stats.seconds if self.stats.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """0; 2 if a source turned out to be unusable, 1 if a sink failed, 130 if interrupted."""
        if any(source.state == "failed" for source in self.stats.sources):
            return 2
        if any(sink.state == "failed" for sink in self.stats.sinks):
            return 1
        return 130 if self.interrupted else 0

    def to_json(self) -> dict[str, Any]:
        """The counters of ``--stats``, ``fps`` of the whole run, ``interrupted``, ``notes``."""
        return {
            **self.stats.to_json(),
            "fps": round(self.fps, 2),
            "interrupted": self.interrupted,
            "notes": list(self.notes),
        }
