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
    def exit_code(self) -> int:
        """0; 2 if a source turned out to be unusable, 1 if a sink failed, 130 if interrupted."""
        if any(source.state == "failed" for source in self.stats.sources):
            return 2
        if any(sink.state == "failed" for sink in self.stats.sinks):
            return 1
        return 130 if self.interrupted else 0

    def to_json(self) -> dict[str, Any]:
        """The counters of ``--stats`` and beside them ``interrupted`` and ``notes``."""
        return {
            **self.stats.to_json(),
            "interrupted": self.interrupted,
            "notes": list(self.notes),
        }
