"""The streaming runtime as a whole, with toys: what arrives, what fails, how it ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_toys import DeafSource, ToyEngine, ToySink, ToySource, alive, eventually, frame

from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.runtime import Lane, StreamRun, StreamSummary
from acf_edge.stream.protocols import Controls, SinkFailed


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    eventually(lambda: not alive(), "the end of all threads")


class Running:
    """A run in a thread of its own, to be watched and stopped."""

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
    runs: list[Running] = []

    def begin(lanes: list[Lane], engines: list[Any] | None = None, **options: Any) -> Running:
        runs.append(Running(StreamRun(lanes, engines or [ToyEngine()], steady=False, **options)))
        return runs[-1]

    yield begin
    for run in runs:
        run.cancel.set()


def test_a_file_arrives_whole_in_order_and_with_its_times(start: Any) -> None:
    sink = ToySink()
    summary = start([Lane(ToySource(frames=200), [sink])]).end()
    assert sink.numbers == list(range(200))
    assert [m.frame.pts for m in sink.got] == [frame(i).pts for i in range(200)]
    assert all((m.frame.pixels == i % 256).all() for i, m in enumerate(sink.got))
    assert sink.got[0].frame.pixels.shape == (32, 48, 3)
    assert sink.opened_with[1] == (48, 32)
    assert sink.closed == 1 and summary.exit_code == 0
    source = summary.stats.sources[0]
    assert (source.frames, source.dropped, source.state) == (200, 0, "ended")
    assert summary.stats.sinks[0].state == "closed"
    assert "toy://sink: written" in summary.notes and "toy://source: a toy" in summary.notes


def test_a_slow_recording_holds_up_its_file(start: Any) -> None:
    source, sink = ToySource(frames=100), ToySink()
    sink.gate.clear()
    running = start([Lane(source, [sink])])
    assert sink.entered.wait(20)
    before = -1
    while source.pulled != before:
        before = source.pulled
        time.sleep(0.1)
    assert before < 15, "a few frames wait, the others were not read"
    sink.gate.set()
    running.end()
    assert sink.numbers == list(range(100))


def test_the_newest_frame_of_a_live_source_wins_before_a_slow_engine(start: Any) -> None:
    source, sink, engine = ToySource(live=True), ToySink(), ToyEngine()
    engine.gate.clear()
    running = start([Lane(source, [sink])], [engine])
    source.put(frame(0))
    assert engine.entered.wait(20)
    for number in range(1, 20):
        source.put(frame(number))
    eventually(lambda: source.pulled == 20)
    eventually(lambda: running.run.stats().sources[0].dropped == 18)
    engine.gate.set()
    eventually(lambda: len(sink.got) == 2)
    assert sink.numbers == [0, 19]
    summary = running.end(cancel=True)
    assert summary.stats.sources[0].captured == 20
    assert summary.exit_code == 0 and not summary.interrupted, "a camera has no end to miss"


def test_a_slow_live_sink_gets_the_newest_and_holds_up_nobody(start: Any) -> None:
    source, slow, quick = ToySource(live=True), ToySink(lossless=False), ToySink(lossless=False)
    slow.gate.clear()
    running = start([Lane(source, [slow, quick])])
    for number in range(10):
        source.put(frame(number))
        eventually(lambda n=number: n in quick.numbers)
    slow.gate.set()
    eventually(lambda: len(slow.got) == 2)
    assert slow.numbers == [0, 9]
    sinks = running.end(cancel=True).stats.sinks
    assert (sinks[0].dropped, sinks[0].frames) == (8, 2)
    assert (sinks[1].dropped, sinks[1].frames) == (0, 10)


def test_a_recording_of_a_live_source_drops_rather_than_holds_up(start: Any) -> None:
    source, sink, other = ToySource(live=True), ToySink(lossless=True), ToySink(lossless=False)
    sink.gate.clear()
    running = start([Lane(source, [sink, other])])
    for number in range(100):
        source.put(frame(number))
        eventually(lambda n=number: n in other.numbers)
    sink.gate.set()
    summary = running.end(cancel=True)
    stats = summary.stats.sinks[0]
    assert stats.dropped > 0 and stats.frames + stats.dropped == 100
    assert sink.numbers == sorted(sink.numbers) and sink.numbers[-1] == 99


def test_what_shows_and_does_not_keep_gets_the_newest_of_a_live_source_and_all_of_a_file(
    start: Any,
) -> None:
    class Window(ToySink):
        newest = True

    window = Window()
    start([Lane(ToySource(frames=60), [window])]).end()
    assert window.numbers == list(range(60))
    source, window, other = ToySource(live=True), Window(), ToySink(lossless=False)
    window.gate.clear()
    running = start([Lane(source, [window, other])])
    for number in range(10):
        source.put(frame(number))
        eventually(lambda n=number: n in other.numbers)
    window.gate.set()
    eventually(lambda: len(window.got) == 2)
    assert window.numbers == [0, 9]
    running.end(cancel=True)


def test_several_sources_share_the_engine_and_end_by_themselves(start: Any) -> None:
    sinks = [ToySink(), ToySink(), ToySink()]
    lanes = [Lane(ToySource(frames=n), [s]) for n, s in zip((30, 90, 1), sinks, strict=True)]
    engine = ToyEngine()
    summary = start(lanes, [engine]).end()
    assert [len(sink.got) for sink in sinks] == [30, 90, 1]
    assert {m.source for m in sinks[1].got} == {1}
    assert summary.stats.frames == 121 == len(engine.seen)


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


def test_cancelling_finishes_what_is_under_way(start: Any) -> None:
    source, sink = ToySource(), ToySink()
    running = start([Lane(source, [sink])])
    source.put(*(frame(number) for number in range(20)))
    eventually(lambda: len(sink.got) == 20)
    summary = running.end(cancel=True)
    assert summary.interrupted and summary.exit_code == 130
    assert sink.numbers == list(range(20)) and sink.closed == 1


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


def test_time_and_frames_can_be_limited(start: Any) -> None:
    sink = ToySink()
    summary = start([Lane(ToySource(frames=100), [sink])], frames=7).end()
    assert sink.numbers == list(range(7))
    assert summary.exit_code == 0 and not summary.interrupted
    live = ToySource(live=True)
    live.put(frame(0))
    summary = start([Lane(live, [ToySink()])], seconds=0.3).end()
    assert summary.stats.seconds >= 0.3 and summary.exit_code == 0


def test_what_cannot_be_opened_is_refused_at_once(start: Any) -> None:
    sink = ToySink()
    wrong = ToySource(open_error=InputError("'x.mp4' does not exist.", "Check the path."))
    with pytest.raises(InputError, match=r"x\.mp4"):
        start([Lane(wrong, [sink]), Lane(ToySource(live=True), [ToySink()])]).end()
    assert not sink.opened_with and wrong.closed
    refusing = ToySink(open_error=InputError("the port is in use."))
    with pytest.raises(InputError, match="port"):
        start([Lane(ToySource(live=True), [refusing, sink])]).end()
    assert sink.closed == 1


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


class BoundSink(ToySink):
    controls: Controls | None = None

    def bind(self, controls: Controls) -> None:
        self.controls = controls


def test_sinks_come_and_go_while_it_runs(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = ToySource(live=True), BoundSink()
    running = start([Lane(source, [sink])])
    controls = sink.controls
    assert controls is not None
    source.put(frame(0))
    eventually(lambda: len(sink.got) == 1)

    late = ToySink(uri="toy://late")
    monkeypatch.setattr("acf_edge.stream.uri.open_sink", lambda uri: late)
    number = controls.attach("toy://late")
    assert number == 1 and late.opened_with[1] == (48, 32)
    source.put(frame(1))
    eventually(lambda: late.numbers == [1])
    assert [s["uri"] for s in controls.stats()["sinks"]] == ["toy://sink", "toy://late"]
    assert controls.detach(number) == ("written",)
    assert late.closed == 1
    source.put(frame(2))
    eventually(lambda: len(sink.got) == 3)
    assert late.numbers == [1]
    for wrong in (number, 0, 99):
        with pytest.raises(InputError, match="no sink"):
            controls.detach(wrong)
    monkeypatch.setattr(
        "acf_edge.stream.uri.open_sink",
        lambda uri: ToySink(open_error=InputError("the folder is read-only.")),
    )
    with pytest.raises(InputError, match="read-only"):
        controls.attach("toy://wrong")
    assert len(controls.stats()["sinks"]) == 1
    assert running.end(cancel=True).exit_code == 0


def test_what_is_attached_and_left_is_finished_with_the_run(start: Any) -> None:
    source, late = ToySource(live=True), ToySink()
    running = start([Lane(source, [ToySink()])])
    source.put(frame(0))
    eventually(lambda: running.run.stats().frames == 1)
    running.run.attach(late)
    running.end(cancel=True)
    assert late.closed == 1


def test_an_engine_can_be_held_by_hand(start: Any) -> None:
    source, sink = ToySource(live=True), BoundSink()
    running = start([Lane(source, [sink])], [ToyEngine("full"), ToyEngine("small")])
    assert sink.controls is not None
    assert list(sink.controls.rungs()) == ["full", "small"]
    sink.controls.hold_rung("small")
    source.put(frame(0))
    eventually(lambda: len(sink.got) == 1)
    sink.controls.hold_rung(None)
    sink.controls.hold_rung("full")
    source.put(frame(1))
    eventually(lambda: len(sink.got) == 2)
    with pytest.raises(InputError, match="no engine 'big'"):
        sink.controls.hold_rung("big")
    assert [m.rung for m in sink.got] == ["small", "full"]
    summary = running.end(cancel=True)
    assert summary.stats.governor is not None
    assert summary.stats.governor["frames"] == {"full": 1, "small": 1}


class FakeStream:
    def __init__(self, index: int) -> None:
        self.index = index


class Listener(ToySink):
    """Asks for the packets of some streams."""

    def __init__(self, *wanted: int) -> None:
        super().__init__()
        self.wanted = wanted

    def open(self, info: Any, size: Any, source: Any) -> None:
        super().open(info, size, source)
        source.pass_along([s for s in source.copyable() if s.index in self.wanted])
        with pytest.raises(RuntimeError):
            source.close()


def test_each_sink_gets_the_packets_that_it_asked_for(start: Any) -> None:
    class FakePacket:
        def __init__(self, stream_index: int) -> None:
            self.stream_index = stream_index

    source = ToySource(streams=[FakeStream(1), FakeStream(2)])
    first, second, third = Listener(1), Listener(1, 2), Listener()
    running = start([Lane(source, [first, second, third])])
    eventually(lambda: len(source.passed) == 2)
    source.put(frame(0), FakePacket(1), FakePacket(2), frame(1), FakePacket(1), None)
    running.end()
    assert [p.stream_index for p in first.packets] == [1, 1]
    assert [p.stream_index for p in second.packets] == [1, 2, 1]
    assert third.packets == [] and len(third.got) == 2
    assert {stream.index for stream in source.passed} == {1, 2}


def test_the_counters_have_the_agreed_shape(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    summary = start([Lane(ToySource(frames=30), [ToySink()])], stats_path=path).end()
    stats = json.loads(path.read_text())
    assert stats == json.loads(json.dumps(summary.stats.to_json()))
    assert set(stats) == {"seconds", "engine", "fps", "frames", "sources", "sinks", "governor"}
    source, sink = stats["sources"][0], stats["sinks"][0]
    for name in ("uri", "state", "width", "height", "frames", "dropped", "reconnects", "queue"):
        assert name in source
    assert set(source["latency_ms"]) == {"capture", "wait", "infer", "deliver", "end_to_end"}
    for table in (*source["latency_ms"].values(), *source["latency_total_ms"].values()):
        assert set(table) == {"p50", "p95", "p99"}
        assert 0 <= table["p50"] <= table["p95"] <= table["p99"]
    for name in ("number", "uri", "state", "frames", "dropped", "queue", "reason"):
        assert name in sink
    assert (source["width"], source["height"], source["frames"]) == (24, 16, 30)
    assert stats["governor"]["frames"] == {"toy": 30}
    assert summary.to_json()["interrupted"] is False


def test_a_place_for_the_stats_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    run = StreamRun([Lane(ToySource(), [ToySink()])], [ToyEngine()], stats_path=tmp_path)
    with pytest.raises(InputError, match="folder"):
        run.run()


def test_nothing_is_attached_to_a_source_that_does_not_run() -> None:
    run = StreamRun([Lane(ToySource(frames=1), [ToySink()])], [ToyEngine()])
    for _ in range(2):
        with pytest.raises(InputError, match="not running"):
            run.attach(ToySink())
        if run.stats().seconds == 0:
            run.run()


@pytest.mark.parametrize("steady", [True, False])
def test_each_source_has_a_steady_filter_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, steady: bool
) -> None:
    calls: list[tuple[Any, ...]] = []

    class Filter:
        def __init__(self, scale: int) -> None:
            calls.append(("made", scale))

        def apply(self, low: Any, high: Any, rung: str) -> Any:
            calls.append((low.shape, high.shape, rung))
            return high // 2

        def reset(self) -> None:
            calls.append(("reset",))

    monkeypatch.setattr("acf_edge.stream.live.inference.SteadyFilter", Filter)
    sinks = [ToySink(), ToySink()]
    source = ToySource()
    source.put(frame(100), frame(102, size=(30, 20)), None)
    lanes = [Lane(source, [sinks[0]]), Lane(ToySource(frames=1), [sinks[1]])]
    StreamRun(lanes, [ToyEngine()], steady=steady).run()
    if not steady:
        assert not calls
        assert sinks[0].got[0].frame.pixels.max() == 100
        return
    assert calls.count(("made", 2)) == 2
    assert ((16, 24, 3), (32, 48, 3), "toy") in calls
    large = calls.index(((20, 30, 3), (40, 60, 3), "toy"))
    assert ("reset",) in calls[:large], "a new size is a new picture"
    assert sinks[0].got[0].frame.pixels.max() == 50
