"""The file that ``--stats`` names: whole at any moment, new once a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from acf_edge.errors import AcfError
from acf_edge.files import write_text
from acf_edge.stream.live.stats import RunStats

_EVERY = 1.0


class StatsFile:
    """Writes counters as JSON, each time the whole file.

    Args:
        path: of the file.
        clock: seconds, monotonic.

    Attributes:
        notes: that it could not be written, in words; empty if it could.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.notes: list[str] = []
        self._path = path
        self._clock = clock
        self._next = clock() + _EVERY

    def begin(self, stats: RunStats) -> None:
        """Write the first one.

        Raises:
            InputError: the place cannot be written.
        """
        write_text(self._path, _text(stats))

    def due(self) -> bool:
        """Whether a second has gone by since the last one."""
        return self._clock() >= self._next

    def write(self, stats: RunStats) -> None:
        """Write the next one. A full disk ends no stream: it is noted, and tried again."""
        self._next = self._clock() + _EVERY
        try:
            write_text(self._path, _text(stats))
        except AcfError as error:
            self.notes = [f"the file of --stats: {error}"]


def _text(stats: RunStats) -> str:
    return json.dumps(stats.to_json(), indent=2) + "\n"
