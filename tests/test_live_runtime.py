"""The streaming runtime as a whole, with toys: what arrives, when, and how it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from live_toys import ToyEngine, ToySink, ToySource, eventually, frame

from acf_edge.stream.live.runtime import Lane, StreamRun

pytest_plugins = ("live_runs",)


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


def test_cancelling_finishes_what_is_under_way(start: Any) -> None:
    source, sink = ToySource(), ToySink()
    running = start([Lane(source, [sink])])
    source.put(*(frame(number) for number in range(20)))
    eventually(lambda: len(sink.got) == 20)
    summary = running.end(cancel=True)
    assert summary.interrupted and summary.exit_code == 130
    assert sink.numbers == list(range(20)) and sink.closed == 1


def test_time_and_frames_can_be_limited(start: Any) -> None:
    sink = ToySink()
    summary = start([Lane(ToySource(frames=100), [sink])], frames=7).end()
    assert sink.numbers == list(range(7))
    assert summary.exit_code == 0 and not summary.interrupted
    live = ToySource(live=True)
    live.put(frame(0))
    summary = start([Lane(live, [ToySink()])], seconds=0.3).end()
    assert summary.stats.seconds >= 0.3 and summary.exit_code == 0


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
