"""Sinks that come and go, engines held by hand, packets for those who asked."""

from __future__ import annotations

from typing import Any

import pytest
from live_toys import ToyEngine, ToySink, ToySource, eventually, frame

from acf_edge.errors import InputError
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.protocols import Controls

pytest_plugins = ("live_runs",)


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


def test_nothing_is_attached_to_a_source_that_does_not_run() -> None:
    run = StreamRun([Lane(ToySource(frames=1), [ToySink()])], [ToyEngine()])
    for _ in range(2):
        with pytest.raises(InputError, match="not running"):
            run.attach(ToySink())
        if run.stats().seconds == 0:
            run.run()
