"""What fails in the streaming runtime, and that it stays where it happens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from live_toys import DeafSource, ToyEngine, ToySink, ToySource, eventually, frame

from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.protocols import SinkFailed

pytest_plugins = ("live_runs",)


@pytest.mark.parametrize("where", ["write", "open", "close", "bug"])
def test_a_failing_sink_does_not_stop_the_others(start: Any, where: str) -> None:
    good = ToySink()
    bad = {
        "write": ToySink(fail_at=3, uri="toy://bad"),
        "open": ToySink(open_error=SinkFailed("no room"), uri="toy://bad"),
        "close": ToySink(close_error=OSError(28, "No space left on device"), uri="toy://bad"),
        "bug": ToySink(open_error=ZeroDivisionError("oops"), uri="toy://bad"),
    }[where]
    summary = start([Lane(ToySource(frames=50), [bad, good])]).end()
    assert good.numbers == list(range(50)) and bad.closed == 1
    assert summary.exit_code == 1
    stats = summary.stats.sinks[0]
    assert stats.state == "failed"
    reasons = {"write": "disk is full", "open": "no room", "close": "No space", "bug": "oops"}
    assert reasons[where] in stats.reason
    assert summary.stats.sinks[1].state == "closed"


def test_when_no_sink_is_left_the_run_ends(start: Any) -> None:
    source = ToySource(live=True)
    source.put(*(frame(number) for number in range(10)))
    summary = start([Lane(source, [ToySink(fail_at=0), ToySink(fail_at=1)])]).end()
    assert summary.exit_code == 1
    assert [sink.state for sink in summary.stats.sinks] == ["failed", "failed"]
    assert source.closed


def test_a_lane_without_sinks_ends_and_the_other_goes_on(start: Any) -> None:
    dying, good = ToySource(live=True), ToySink()
    dying.put(frame(0), frame(1), frame(2))
    summary = start([Lane(dying, [ToySink(fail_at=0)]), Lane(ToySource(frames=40), [good])]).end()
    assert summary.exit_code == 1 and good.numbers == list(range(40))


def test_a_sink_that_hangs_is_given_up(start: Any) -> None:
    hanging, good = ToySink(uri="toy://hanging"), ToySink()
    hanging.gate.clear()
    summary = start([Lane(ToySource(frames=30), [hanging, good])], patience=0.3).end()
    assert good.numbers == list(range(30))
    assert summary.stats.sinks[0].state == "failed"
    assert "take a frame within 0.3 s" in summary.stats.sinks[0].reason
    assert summary.exit_code == 1
    hanging.gate.set()


def test_a_live_sink_that_hangs_at_the_end_costs_three_seconds_at_most(start: Any) -> None:
    source, sink = ToySource(live=True), ToySink(lossless=False)
    sink.gate.clear()
    running = start([Lane(source, [sink])])
    source.put(frame(0))
    assert sink.entered.wait(20)
    begun = time.monotonic()
    running.cancel.set()
    summary = running.end()
    assert time.monotonic() - begun < 10
    assert summary.stats.sinks[0].state == "failed"
    sink.gate.set()


def test_a_source_that_hangs_is_left_behind(start: Any) -> None:
    source, sink = DeafSource(), ToySink()
    running = start([Lane(source, [sink])])
    eventually(lambda: sink.got)
    summary = running.end(cancel=True)
    assert any("did not let go" in note for note in summary.notes)
    assert sink.closed == 1 and source.closed
    source.release.set()


def test_an_interrupt_of_the_caller_ends_all_at_once() -> None:
    sink, source = ToySink(), ToySource(live=True)
    sink.gate.clear()
    ticks = 0

    def interrupt(stats: Any) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            sink.gate.set()
            raise KeyboardInterrupt

    source.put(*(frame(number) for number in range(5)))
    run = StreamRun([Lane(source, [sink])], [ToyEngine()], tick=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert sink.closed == 1 and source.closed


def test_what_cannot_be_opened_is_refused_at_once(start: Any) -> None:
    sink = ToySink()
    wrong = ToySource(open_error=InputError("'x.mp4' does not exist.", "Check the path."))
    with pytest.raises(InputError, match=r"x\.mp4"):
        start([Lane(wrong, [sink]), Lane(ToySource(live=True), [ToySink()])]).end()
    assert not sink.opened_with and wrong.closed
    refusing = ToySink(open_error=InputError("the port is in use."))
    with pytest.raises(InputError, match="port"):
        start([Lane(ToySource(live=True), [refusing, sink])]).end()
    assert sink.closed == bool(sink.opened_with)


class LateRefusal(ToySource):
    """Cannot be opened, and says so once ``engine`` is at work on another source's frame."""

    def __init__(self, engine: ToyEngine) -> None:
        super().__init__(open_error=InputError("'x.mp4' does not exist.", "Check the path."))
        self.engine = engine

    def open(self) -> Any:
        assert self.engine.entered.wait(20)
        return super().open()


def test_a_refused_run_writes_nothing_of_what_is_under_way(start: Any) -> None:
    engine, sink = ToyEngine(), ToySink()
    engine.gate.clear()
    lanes = [Lane(LateRefusal(engine), [ToySink()]), Lane(ToySource(frames=30), [sink])]
    running = start(lanes, [engine])
    eventually(lambda: running.run.stats().sources[1].state == "ended")
    time.sleep(0.1)
    engine.gate.set()
    with pytest.raises(InputError, match=r"x\.mp4"):
        running.end()
    assert sink.closed == 1 and not sink.got


def test_a_file_that_turns_out_to_be_damaged_is_finished_and_told(start: Any) -> None:
    source, sink, other = ToySource(), ToySink(), ToySink()
    source.put(*(frame(number) for number in range(9)))
    source.put(InputError("'x.mp4' is damaged."))
    lanes = [Lane(source, [sink]), Lane(ToySource(frames=30), [other])]
    summary = start(lanes).end()
    assert len(sink.got) == 9 and sink.closed == 1 and len(other.got) == 30
    assert summary.exit_code == 2
    assert summary.stats.sources[0].state == "failed"
    assert "damaged" in summary.stats.sources[0].reason


@pytest.mark.parametrize("live", [False, True])
def test_an_engine_that_fails_ends_the_run_and_says_so(start: Any, live: bool) -> None:
    source, sink = ToySource(live=live), ToySink()
    running = start([Lane(source, [sink])], [ToyEngine(fail_at=2)])
    for number in range(3):
        source.put(frame(number))
        eventually(lambda n=number: source.pulled > n)
        if number < 2:
            eventually(lambda n=number: n in sink.numbers)
    with pytest.raises(AcfError, match=r"toy failed at frame 2 of 'toy://source': .*bad weight"):
        running.end()
    assert sink.numbers == [0, 1] and sink.closed == 1


def test_too_little_memory_in_the_engine_is_bad_input_in_words(start: Any) -> None:
    engine = ToyEngine(fail_at=0)
    engine.error = MemoryError()
    with pytest.raises(InputError, match=r"not enough memory.*24x16"):
        start([Lane(ToySource(frames=3), [ToySink()])], [engine]).end()


def test_an_engine_that_never_returns_does_not_keep_the_run_from_ending(start: Any) -> None:
    engine, sink, source = ToyEngine(), ToySink(), ToySource(live=True)
    running = start([Lane(source, [sink])], [engine], patience=0.3)
    source.put(frame(0))
    eventually(lambda: sink.got)
    engine.gate.clear()
    engine.entered.clear()
    source.put(frame(1))
    assert engine.entered.wait(20)
    with pytest.raises(AcfError, match=r"did not return within 0\.3 s"):
        running.end(cancel=True)
    assert sink.numbers == [0] and sink.closed == 1
    engine.gate.set()


def test_lanes_and_engines_are_checked() -> None:
    lane = Lane(ToySource(), [ToySink()])
    other = ToyEngine()
    other.scale = 4
    for lanes, engines in (
        ([], [ToyEngine()]),
        ([Lane(ToySource(), [])], [ToyEngine()]),
        ([lane], []),
        ([lane], [ToyEngine(), other]),
    ):
        with pytest.raises(InputError):
            StreamRun(lanes, engines)


def test_a_place_for_the_stats_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    run = StreamRun([Lane(ToySource(), [ToySink()])], [ToyEngine()], stats_path=tmp_path)
    with pytest.raises(InputError, match="folder"):
        run.run()
