"""A lane: one source and the sinks that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acf_edge.stream.protocols import Sink, Source


@dataclass(frozen=True)
class Lane:
    """One source and the sinks that show it.

    Attributes:
        source: opened, read and closed by the run. A live one is opened again
            when it is lost.
        sinks: opened, fed and closed by the run, each in a thread of its own.
    """

    source: Source
    sinks: Sequence[Sink]
