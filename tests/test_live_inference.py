"""The stage that all sources share, stepped by hand with a clock of its own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from live_toys import COLOUR, UNIT, Clock, Image, ToyEngine, ToySource, frame

from acf_edge.stream.live.deadline import Deadline
from acf_edge.stream.live.feed import Feed, Shot
from acf_edge.stream.live.inference import Inference
from acf_edge.stream.live.mailbox import Closed
from acf_edge.stream.live.pace import Pace
from acf_edge.stream.live.stats import Latency
from acf_edge.stream.protocols import Moment, StreamInfo


class SlowEngine(ToyEngine):
    """Takes its time on the test's clock."""

    def __init__(self, clock: Clock, seconds: float, name: str = "toy") -> None:
        super().__init__(name)
        self.clock, self.seconds = clock, seconds

    def run(self, pixels: Image) -> Image:
        self.clock.now += self.seconds
        return super().run(pixels)


def ignore(*_: Any) -> None:
    pass


class Shelf:
    """An outlet that keeps what it is offered."""

    def __init__(self) -> None:
        self.got: list[Moment] = []
        self.packets: list[Any] = []
        self.ready = True
        self.over = False
        self.sink = self
        self.wants_original = False
        self.deliver, self.end_to_end = Latency(), Latency()

    def wants(self, stream: int) -> bool:
        return True

    def offer(self, item: Any) -> None:
        (self.got if isinstance(item, Moment) else self.packets).append(item)

    def finish(self) -> None:
        self.over = True


class Bench:
    """Sources, a stage and shelves, without a thread."""

    def __init__(
        self,
        *live: bool,
        seconds: float = 0.0,
        rate: int = 30,
        deadline: float | None = None,
        limit: int | None = None,
        steady: bool = False,
    ) -> None:
        self.clock = Clock()
        self.engine = SlowEngine(self.clock, seconds)
        limited = None if deadline is None else Deadline(deadline)
        self.pace = Pace([self.engine], limited, self.clock)
        self.feeds, self.shelves = [], []
        for number, is_live in enumerate(live):
            source = ToySource(live=is_live)
            feed = Feed(number, source, ignore, ignore, ignore, clock=self.clock)
            info = StreamInfo("toy", 24, 16, Fraction(rate), UNIT, COLOUR, COLOUR, live=is_live)
            assert feed.begin(info)
            shelf: Any = Shelf()
            feed.add(shelf)
            self.feeds.append(feed)
            self.shelves.append(shelf)
            self.pace.begin(info, live=is_live)
        self.stage = Inference(self.feeds, self.pace, steady=steady, limit=limit, clock=self.clock)

    def capture(self, number: int, feed: int = 0, at: float | None = None) -> None:
        at = self.clock.now if at is None else at
        self.feeds[feed].inbox.put(Shot(frame(number), number, at))


def test_an_engine_slower_than_its_source_never_falls_behind() -> None:
    """30 frames a second into an engine of 80 ms: for a minute, as for ever."""
    bench = Bench(True, seconds=0.08)
    begun, number = bench.clock.now, 0
    while bench.clock.now < begun + 60:
        due = begun + number / 30
        if due <= bench.clock.now:
            bench.capture(number, at=due)
            number += 1
        elif not bench.stage.step():
            bench.clock.now = due
    ages = [moment.inferred - moment.captured for moment in bench.shelves[0].got]
    assert len(ages) > 60 * 12
    assert max(ages) < 0.08 + 1 / 30 + 1e-6
    shown = [moment.sequence for moment in bench.shelves[0].got]
    assert shown == sorted(set(shown))
    assert bench.feeds[0].inbox.dropped == number - len(shown) - len(bench.feeds[0].inbox)


def test_a_fast_source_does_not_starve_a_slow_one() -> None:
    bench = Bench(True, True)
    for turn in range(30):
        bench.capture(turn, feed=1) if turn % 3 == 0 else None
        for _ in range(10):  # the other one always has a frame
            bench.capture(turn, feed=0)
        assert bench.stage.step()
        if turn % 3 == 0:
            bench.capture(turn, feed=0)
            assert bench.stage.step()
            assert len(bench.shelves[1].got) == turn // 3 + 1


def test_two_sources_that_always_have_frames_take_turns() -> None:
    bench = Bench(False, True)
    for number in range(20):
        for feed in (0, 1):
            if bench.feeds[feed].inbox.has_room:
                bench.capture(number, feed=feed)
        bench.stage.step()
    counts = [len(shelf.got) for shelf in bench.shelves]
    assert counts == [10, 10]


def test_a_recording_that_is_full_holds_up_its_file_and_nobody_else() -> None:
    bench = Bench(False, True)
    bench.capture(0, feed=0)
    bench.shelves[0].ready = False
    for number in range(5):
        bench.capture(number, feed=1)
        assert bench.stage.step()
    assert not bench.stage.step()
    assert (len(bench.shelves[0].got), len(bench.shelves[1].got)) == (0, 5)
    bench.shelves[0].ready = True
    assert bench.stage.step() and len(bench.shelves[0].got) == 1


def silent_for(bench: Bench, seconds: float) -> list[Moment]:
    """Let a time without frames pass, in small steps; the pictures that were held."""
    before = len(bench.shelves[0].got)
    end = bench.clock.now + seconds
    while bench.clock.now < end - 1e-9:
        bench.clock.now += 0.01
        while bench.stage.step():
            pass
    return bench.shelves[0].got[before:]


def test_after_a_second_of_silence_the_last_picture_is_held_with_a_mark() -> None:
    bench = Bench(True)
    bench.capture(7)
    bench.stage.step()
    assert silent_for(bench, 0.95) == []
    assert not bench.feeds[0].holding
    held = silent_for(bench, 2.05)
    assert 10 <= len(held) <= 11, "five a second"
    assert all(moment.held and moment.sequence == 7 for moment in held)
    assert bench.feeds[0].state == "held" and bench.feeds[0].held == len(held)
    times = [float(moment.frame.seconds) for moment in bench.shelves[0].got]
    assert times == sorted(set(times))
    assert times[-1] - times[0] == pytest.approx(3.0, abs=0.25), "they stand where they were shown"


def test_the_source_comes_back_and_time_goes_on() -> None:
    bench = Bench(True)
    bench.capture(0)
    bench.stage.step()
    silent_for(bench, 3)
    bench.capture(1)  # its time stamp lies before those of the held pictures
    bench.stage.step()
    assert bench.feeds[0].state == "live"
    last = bench.shelves[0].got[-1]
    assert not last.held and last.sequence == 1
    stamps = [moment.frame.pts for moment in bench.shelves[0].got]
    assert stamps == sorted(set(stamps))
    assert silent_for(bench, 0.9) == []


def test_files_and_sources_that_never_showed_anything_are_not_held() -> None:
    bench = Bench(False)
    bench.capture(0)
    bench.stage.step()
    assert silent_for(bench, 5) == []
    bench = Bench(True)
    assert silent_for(bench, 5) == []
    assert bench.feeds[0].state == "live"


def test_held_pictures_count_neither_as_frames_nor_as_latency() -> None:
    bench = Bench(True)
    bench.capture(0)
    bench.stage.step()
    silent_for(bench, 3)
    feed = bench.feeds[0]
    assert (feed.frames, feed.infer.count, feed.wait.count) == (1, 1, 1)


def test_the_limit_of_frames_is_exact() -> None:
    bench = Bench(False, limit=2)
    for number in range(3):
        bench.capture(number)
    while bench.stage.step():
        pass
    assert [moment.sequence for moment in bench.shelves[0].got] == [0, 1]
    assert bench.feeds[0].finished and bench.shelves[0].over
    with pytest.raises(Closed):
        bench.capture(4)


def test_original_pixels_travel_only_if_somebody_wants_them() -> None:
    bench = Bench(True)
    bench.capture(5)
    bench.stage.step()
    assert bench.shelves[0].got[-1].original is None
    bench.shelves[0].wants_original = True
    bench.capture(6)
    bench.stage.step()
    moment = bench.shelves[0].got[-1]
    assert moment.original is not None and moment.original.shape == (16, 24, 3)
    assert moment.frame.pixels.shape == (32, 48, 3)
    assert (moment.original == 6).all() and moment.rung == "toy"


class SlowFilter:
    """A steady filter that takes its time on the test's clock."""

    clock: Clock
    seconds = 0.03

    def __init__(self, scale: int) -> None:
        pass

    def apply(self, low: Any, high: Any, rung: str) -> Any:
        self.clock.now += self.seconds
        return high // 2

    def reset(self) -> None:
        pass


@pytest.mark.parametrize(("deadline", "live"), [(0.033, True), (0.1, True), (0.033, False)])
def test_the_steady_filter_is_left_out_where_it_alone_makes_frames_late(
    monkeypatch: pytest.MonkeyPatch, deadline: float, live: bool
) -> None:
    monkeypatch.setattr("acf_edge.stream.live.inference.SteadyFilter", SlowFilter)
    bench = Bench(live, seconds=0.01, steady=True, deadline=deadline)
    SlowFilter.clock = bench.clock
    for _ in range(300):
        bench.capture(100)
        bench.stage.step()
        bench.clock.now += 1 / 30
    late = [m for m in bench.shelves[0].got if m.inferred - m.captured > deadline]
    filtered = [m for m in bench.shelves[0].got if m.frame.pixels.max() == 50]
    assert bench.feeds[0].unsteady == 300 - len(filtered)
    if deadline < 0.04 and live:
        assert len(late) < 9 and len(filtered) == len(late) > 1, "it is tried again, but rarely"
    else:
        assert len(filtered) == 300


def test_frames_that_change_size_go_through_and_are_told() -> None:
    bench = Bench(True, steady=True)
    bench.capture(0)
    bench.stage.step()
    bench.feeds[0].inbox.put(Shot(frame(1, size=(40, 30)), 1, bench.clock.now))
    bench.stage.step()
    assert bench.shelves[0].got[-1].frame.pixels.shape == (60, 80, 3)
    stats = bench.feeds[0].stats()
    assert (stats.width, stats.height) == (40, 30)
