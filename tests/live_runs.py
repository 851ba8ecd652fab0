"""A run of the streaming runtime in a thread of its own, for tests to watch and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_toys import ToyEngine, alive, eventually

from acf_edge.stream.live.runtime import Lane, StreamRun, StreamSummary


class Running:
    """A run in a thread of its own."""

    def __init__(self, run: StreamRun) -> None:
        self.run = run
        self.cancel = threading.Event()
        self.summary: StreamSummary | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.summary = self.run.run(self.cancel)
        except BaseException as error:
            self.error = error

    def end(self, *, cancel: bool = False) -> StreamSummary:
        if cancel:
            self.cancel.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the run did not end"
        if self.error is not None:
            raise self.error
        assert self.summary is not None
        return self.summary


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Begin a run; whatever a test leaves running is stopped, and must have ended."""
    runs: list[Running] = []

    def begin(lanes: list[Lane], engines: list[Any] | None = None, **options: Any) -> Running:
        runs.append(Running(StreamRun(lanes, engines or [ToyEngine()], steady=False, **options)))
        return runs[-1]

    yield begin
    for run in runs:
        run.cancel.set()
    eventually(lambda: not alive(), "the end of all threads")
