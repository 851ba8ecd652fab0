"""Progress out of nested phases, and what is kept of a log."""

from __future__ import annotations

import pytest

from acf_edge.engine.trt.log import Message
from acf_edge.engine.trt.watch import Meter, Record, Watch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_phase_counts_within_its_parent_s_step() -> None:
    meter = Meter(Clock())
    meter.start("build", "", 4)
    meter.step("build", 0)
    assert meter.read("build").done == 0.25
    meter.start("time", "build", 2)
    meter.step("time", 0)
    assert meter.read("time").done == pytest.approx(0.25 + 0.125)
    meter.start("node", "time", 10)
    meter.step("node", 4)
    assert meter.read("node").done == pytest.approx(0.25 + 0.25 * (0.5 + 0.25))
    meter.finish("node")
    meter.step("time", 1)
    meter.finish("time")
    meter.step("build", 1)
    assert meter.read("build").done == 0.5
    meter.finish("build")
    assert meter.read("build").done == 1.0


def test_progress_never_falls_and_never_passes_the_end() -> None:
    meter = Meter(Clock())
    meter.start("build", "", 2)
    meter.step("build", 0)
    meter.start("again", "build", 1)
    meter.step("again", 0)
    high = meter.read("again").done
    # The same name once more, from its beginning; then more steps than were announced.
    meter.finish("again")
    meter.start("again", "build", 3)
    assert meter.read("again").done == high
    for step in range(9):
        meter.step("build", step)
    assert meter.read("build").done == 1.0


def test_odd_reports_do_no_harm() -> None:
    meter = Meter(Clock())
    meter.step("unheard of", 3)
    meter.finish("unheard of")
    meter.start("empty", "", 0)
    meter.start("self", "self", 2)
    meter.start("orphan", "nobody", 2)
    meter.step("orphan", 0)
    assert 0.0 <= meter.read("orphan").done <= 1.0


def test_the_time_left_follows_the_speed_of_late() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start("build", "", 100)
    assert meter.read("build").eta is None
    for step in range(50):
        clock.now += 0.1
        meter.step("build", step)
        meter.read("build")
    assert meter.read("build").eta == pytest.approx(5.0, rel=0.1)
    # Ten times slower: after a while the guess knows.
    for step in range(50, 80):
        clock.now += 1.0
        meter.step("build", step)
        meter.read("build")
    assert meter.read("build").eta == pytest.approx(20.0, rel=0.15)
    meter.finish("build")
    assert meter.read("build").eta == pytest.approx(0.0)


def test_standing_still_is_not_taken_for_the_end() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start("build", "", 2)
    clock.now += 100
    assert meter.read("build").eta is None


def test_watching_without_anybody_who_asks() -> None:
    watch = Watch(Record(), None, None)
    watch.start("build", "", 1)
    assert watch.step("build", 0) is True
    watch.finish("build")


def test_once_cancelled_it_stays_cancelled() -> None:
    answers = iter([False, True, False])
    record = Record()
    watch = Watch(record, None, lambda: next(answers))
    watch.start("build", "", 5)
    assert [watch.step("build", step) for step in range(4)] == [True, False, False, False]
    assert record.cancelled


def test_of_a_log_what_matters_is_kept() -> None:
    record = Record()
    for message in (
        Message("verbose", "Tactic: 0x1 Time: 0.5"),
        Message("warning", "one"),
        Message("warning", "one"),
        Message("info", "Detected 1 inputs"),
        Message("verbose", "Layers:\nName: a, LayerType: b, Inputs: []"),
        Message("warning", "Layer 'x' (SHUFFLE): Unsupported on DLA. Switching this layer's "
                           "device type to GPU."),
        Message("internal error", "two\n three"),
    ):  # fmt: skip
        record.hear(message)
    assert record.warnings[0] == "one"
    assert len(record.warnings) == 2
    assert record.errors == ["two three"]
    assert len(record.table) == 1
    assert record.fallbacks == 1
    assert record.log()[-1] == "two three"


def test_a_flood_of_warnings_keeps_its_ends() -> None:
    record = Record()
    for number in range(1000):
        record.hear(Message("warning", f"number {number}"))
    assert len(record.warnings) == 200
    assert record.warnings[0] == "number 0"
    assert record.warnings[-1] == "number 999"
