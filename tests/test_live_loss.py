"""A live source that is lost and comes back, through the whole runtime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from live_toys import UNIT, ToyEngine, ToySink, ToySource, alive, eventually, frame

from acf_edge.errors import InputError
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.protocols import SourceLost, StreamInfo


class Unsteady(ToySource):
    """Cannot be opened while ``away`` is set; what is put into it survives being opened again."""

    def __init__(self) -> None:
        super().__init__(live=True)
        self.away = threading.Event()

    def open(self) -> StreamInfo:
        if self.away.is_set():
            self.opened += 1
            raise SourceLost("nobody answers")
        return super().open()

    def close(self) -> None:
        if not self.away.is_set():
            super().close()
        else:
            self.closed += 1


@pytest.fixture
def stage() -> Iterator[Any]:
    """A run of one unsteady source into one sink, and what belongs to it."""

    class Stage:
        def __init__(self) -> None:
            self.source, self.sink = Unsteady(), ToySink()
            self.run = StreamRun([Lane(self.source, [self.sink])], [ToyEngine()], steady=False)
            self.cancel = threading.Event()
            self.ended: list[Any] = []
            self.thread = threading.Thread(target=self.work, daemon=True)

        def work(self) -> None:
            try:
                self.ended.append(self.run.run(self.cancel))
            except InputError as error:
                self.ended.append(error)

        def state(self) -> str:
            return self.run.stats().sources[0].state

        def finish(self) -> Any:
            self.cancel.set()
            self.thread.join(20)
            assert not self.thread.is_alive()
            return self.ended[0]

    made = Stage()
    yield made
    made.cancel.set()
    made.source.away.clear()
    eventually(lambda: not alive(), "the end of all threads")


def test_a_lost_source_is_held_and_goes_on_when_it_is_back(stage: Any) -> None:
    stage.thread.start()
    stage.source.put(frame(0), frame(1))
    eventually(lambda: stage.run.stats().frames >= 1 and stage.source.pulled == 2)
    stage.source.away.set()
    stage.source.put(SourceLost("no frame for 2 s"))
    eventually(lambda: stage.state() == "held")
    stats = stage.run.stats().sources[0]
    assert "nobody answers" in stats.reason or "no frame" in stats.reason
    eventually(lambda: stage.sink.got[-1].held)
    stage.source.away.clear()
    stage.source.put(frame(0), frame(1))  # a new connection begins at zero again
    eventually(lambda: stage.state() == "live")
    summary = stage.finish()
    source = summary.stats.sources[0]
    assert source.reconnects == 1 and source.held > 0 and source.reason == ""
    assert summary.exit_code == 0
    stamps = [m.frame.pts for m in stage.sink.got]
    gaps = [(b - a) * UNIT for a, b in pairwise(stamps)]
    assert min(gaps) >= Fraction(1, 1000), "Matroska counts in milliseconds"
    assert float((stamps[-1] - stamps[0]) * UNIT) > 1.0, "the outage takes its time on the timeline"
    held = [m.held for m in stage.sink.got]
    assert True in held and not held[0] and not held[-1]


def test_a_source_that_is_not_there_yet_is_waited_for(stage: Any) -> None:
    stage.source.away.set()
    stage.thread.start()
    eventually(lambda: stage.source.opened >= 2)
    stats = stage.run.stats().sources[0]
    assert (stats.state, stats.reason) == ("opening", "nobody answers")
    assert not stage.sink.opened_with, "its size is not known yet"
    stage.source.away.clear()
    stage.source.put(frame(0))
    eventually(lambda: stage.sink.got)
    assert stage.finish().stats.sources[0].reconnects == 0


def test_waiting_for_a_source_can_be_cancelled(stage: Any) -> None:
    stage.source.away.set()
    stage.thread.start()
    eventually(lambda: stage.source.opened >= 1)
    summary = stage.finish()
    assert summary.exit_code == 0 and summary.stats.frames == 0
    assert summary.stats.sinks[0].state == "closed" and not stage.sink.opened_with


def test_a_live_source_that_comes_to_an_end_ends_the_run(stage: Any) -> None:
    stage.source.put(frame(0), None)
    stage.thread.start()
    stage.thread.join(20)
    assert not stage.thread.is_alive()
    assert stage.ended[0].exit_code == 0
    assert stage.ended[0].stats.sources[0].state == "ended"
