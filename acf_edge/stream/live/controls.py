"""What a sink with buttons may ask of the running stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from acf_edge.stream.protocols import Sink


class RunControls:
    """The controls of a run, for the sinks of one of its sources; thread-safe.

    Args:
        stats: gives the counters as JSON.
        rungs: names of the engines, best first.
        hold: holds one of them, or none.
        attach: adds a sink to the source, and returns its number.
        detach: finishes a sink, and returns its notes.
    """

    def __init__(
        self,
        *,
        stats: Callable[[], Mapping[str, Any]],
        rungs: Sequence[str],
        hold: Callable[[str | None], None],
        attach: Callable[[Sink], int],
        detach: Callable[[int], Sequence[str]],
    ) -> None:
        self._stats = stats
        self._rungs = tuple(rungs)
        self._hold = hold
        self._attach = attach
        self._detach = detach

    def stats(self) -> Mapping[str, Any]:
        """Counters and latencies as plain JSON types; see ``docs/streaming.md``."""
        return self._stats()

    def rungs(self) -> Sequence[str]:
        """Names of the engines on the ladder, best first."""
        return self._rungs

    def hold_rung(self, name: str | None) -> None:
        """Use this engine from now on; None = let the governor choose again.

        Raises:
            InputError: there is no engine of this name.
        """
        self._hold(name)

    def attach(self, uri: str) -> int:
        """Add a sink for the source that this sink shows, and return its number.

        Raises:
            InputError: the URI, or the place, cannot be used.
        """
        from acf_edge.stream.uri import open_sink

        return self._attach(open_sink(uri))

    def detach(self, number: int) -> Sequence[str]:
        """Finish a sink that was attached; returns its notes.

        Raises:
            InputError: there is none of this number.
        """
        return self._detach(number)
