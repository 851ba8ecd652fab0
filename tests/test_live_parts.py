"""The parts of the live runtime by themselves: mailboxes, counters, deadlines, the held picture."""

from __future__ import annotations

import json
import math
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from live_toys import Clock, frame

from acf_edge.errors import InputError
from acf_edge.stream.live.deadline import Deadline, parse_deadline
from acf_edge.stream.live.hold import HeldPicture, dim_border, draw_badge, interval, patience
from acf_edge.stream.live.mailbox import Closed, Mailbox
from acf_edge.stream.live.stats import WINDOW_SECONDS, Latency, RunStats, percentiles
from acf_edge.stream.live.stats_file import StatsFile
from acf_edge.stream.protocols import Moment


def take_all(box: Mailbox[str]) -> list[str]:
    taken = []
    while True:
        try:
            item = box.take(0)
        except Closed:
            return taken
        if item is None:
            return taken
        taken.append(item)


def test_the_newest_wins_and_the_others_are_counted() -> None:
    box: Mailbox[str] = Mailbox(1, waits=False)
    for name in "abcd":
        box.put(name)
    assert (len(box), box.dropped, box.has_room) == (1, 3, True)
    assert take_all(box) == ["d"]


def test_packets_stay_in_order_when_frames_give_way() -> None:
    box: Mailbox[str] = Mailbox(2, waits=False)
    for name in ("F1", "p1", "F2", "p2", "F3", "p3"):
        box.put(name, int(name.startswith("F")))
    assert take_all(box) == ["p1", "F2", "p2", "F3", "p3"]
    assert box.dropped == 1


def test_packets_that_nobody_takes_do_not_pile_up() -> None:
    box: Mailbox[str] = Mailbox(1, waits=False)
    box.put("F")
    for number in range(10_000):
        box.put(str(number), 0)
    left = take_all(box)
    assert len(left) <= 64 and left[-1] == "9999"
    assert box.dropped == 1


def test_a_full_mailbox_that_waits_holds_up_the_sender_until_there_is_room() -> None:
    box: Mailbox[int] = Mailbox(2, waits=True)
    sender = threading.Thread(target=lambda: [box.put(i) for i in range(5)], daemon=True)
    sender.start()
    sender.join(0.1)
    assert sender.is_alive() and len(box) == 2 and not box.has_room
    assert [box.take(5) for _ in range(5)] == [0, 1, 2, 3, 4]
    sender.join(5)
    assert not sender.is_alive() and box.dropped == 0


@pytest.mark.parametrize("abandon", [False, True])
def test_closing_ends_a_sender_that_waits_and_a_taker_after_what_is_left(abandon: bool) -> None:
    box: Mailbox[int] = Mailbox(1, waits=True)
    box.put(1)
    ended = threading.Event()

    def send() -> None:
        try:
            box.put(2)
        except Closed:
            ended.set()

    threading.Thread(target=send, daemon=True).start()
    if abandon:
        assert box.abandon() == 1
    else:
        box.close()
    assert ended.wait(5)
    assert box.exhausted is abandon
    if not abandon:
        assert box.take() == 1
    with pytest.raises(Closed):
        box.take()
    with pytest.raises(Closed):
        box.put(3)


def test_every_change_is_told() -> None:
    told = []
    box: Mailbox[int] = Mailbox(1, waits=False, on_change=lambda: told.append(len(box)))
    box.put(1)
    box.take()
    box.close()
    assert told == [1, 0, 0]


def test_percentiles_are_within_two_percent() -> None:
    clock = Clock()
    latency = Latency(clock)
    values = np.random.default_rng(0).lognormal(-4, 1.0, 20_000)
    for value in values:
        latency.add(float(value))
    found = percentiles([latency], window=False)
    for percent in (50, 95, 99):
        true = float(np.percentile(values, percent, method="inverted_cdf")) * 1000
        assert found[f"p{percent}"] == pytest.approx(true, rel=0.021)


def test_the_window_forgets_and_the_total_does_not() -> None:
    clock = Clock()
    latency = Latency(clock)
    for _ in range(1000):
        latency.add(0.5)
    clock.now += WINDOW_SECONDS + 1
    for _ in range(10):
        latency.add(0.001)
    assert percentiles([latency], window=True)["p99"] == pytest.approx(1, rel=0.021)
    assert percentiles([latency], window=False)["p99"] == pytest.approx(500, rel=0.021)
    clock.now += WINDOW_SECONDS + 1
    assert percentiles([latency], window=True) == {"p50": None, "p95": None, "p99": None}


def test_a_latency_of_days_needs_no_more_memory() -> None:
    clock = Clock()
    latency = Latency(clock)
    for _ in range(10_000):
        clock.now += 1
        latency.add(0.01)
    assert len(latency._slots) <= WINDOW_SECONDS + 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9, math.inf])
def test_durations_beyond_the_buckets_are_held_at_their_ends(seconds: float) -> None:
    latency = Latency(Clock())
    latency.add(seconds)
    value = percentiles([latency], window=False)["p50"]
    assert value is not None and 0.009 <= value <= 1.1e6


def test_latencies_of_several_sinks_are_taken_together() -> None:
    quick, slow = Latency(Clock()), Latency(Clock())
    for _ in range(90):
        quick.add(0.001)
    for _ in range(10):
        slow.add(1.0)
    found = percentiles([quick, slow], window=True)
    assert found["p50"] == pytest.approx(1, rel=0.021)
    assert found["p95"] == pytest.approx(1000, rel=0.021)


def test_the_rate_is_that_of_the_window() -> None:
    clock = Clock()
    latency = Latency(clock)
    assert latency.rate() == 0
    for _ in range(300):
        clock.now += 0.1
        latency.add(0.01)
    assert latency.rate() == pytest.approx(10, rel=0.05)
    clock.now += 60
    assert latency.rate() == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("33ms", 0.033),
        ("0.033", 0.033),
        ("1s", 1.0),
        ("2frames", 0.08),
        ("1 frame", 0.04),
        (".5 frames", 0.02),
    ],
)
def test_a_deadline_is_a_time_or_a_number_of_frames(text: str, seconds: float) -> None:
    assert parse_deadline(text).seconds(Fraction(25)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "33", "-1ms", "0", "0frames", "1e9", "33msec", "nan"])
def test_a_deadline_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--deadline"):
        parse_deadline(text)


def moment(number: int = 0, size: tuple[int, int] = (640, 360)) -> Moment:
    shown = frame(number, size=size)
    shown.pixels[:] = 200
    return Moment(shown, None, 0, number, 1000.0, 1000.02, "toy")


def test_a_held_picture_is_marked_and_the_picture_itself_is_not_touched() -> None:
    last = moment()
    held = HeldPicture(last).moment(1002.0, 777)
    assert (last.frame.pixels == 200).all()
    assert held.held and held.frame.pts == 777 and held.captured == last.captured
    pixels = held.frame.pixels
    assert (pixels[150:200, 250:400] == 200).all(), "the middle stays as it was"
    assert (pixels[-5:] < 100).all() and (pixels[:, -5:] < 100).all(), "the border is dim"
    badge = pixels[15:40, 15:80]
    assert badge.min() < 40 and badge.max() > 240, "there is light text on a dark plate"


def test_the_badge_counts_the_seconds() -> None:
    outage = HeldPicture(moment())
    first = outage.moment(1002.0, 1).frame.pixels
    assert outage.moment(1002.9, 2).frame.pixels is first, "drawn once a second"
    later = outage.moment(1003.0, 3).frame.pixels
    assert not np.array_equal(first, later)
    assert np.array_equal(first[100:], later[100:]), "nothing but the badge changes"


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (33, 33), (5000, 40)])
def test_small_and_odd_pictures_can_be_marked(size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    marked = draw_badge(dim_border(pixels), "no signal 1:00:00")
    assert marked.shape == pixels.shape and marked.flags.c_contiguous
    assert (pixels == 90).all()


@pytest.mark.parametrize(
    ("rate", "after", "every"),
    [(30, 1.0, 0.2), (60, 1.0, 0.2), (4, 1.0, 0.25), (1, 3.0, 1.0)],
)
def test_pictures_are_held_at_the_rate_of_the_source_but_five_a_second_at_most(
    rate: int, after: float, every: float
) -> None:
    assert patience(Fraction(rate)) == after
    assert interval(Fraction(rate)) == every


def test_the_file_of_stats_is_whole_json_once_a_second(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "deep" / "stats.json"
    file = StatsFile(path, clock)
    file.begin(RunStats(0.0, "toy", 0.0, 0, (), ()))
    assert json.loads(path.read_text())["frames"] == 0
    assert not file.due()
    clock.now += 1
    assert file.due()
    file.write(RunStats(1.0, "toy", 30.0, 30, (), (), {"rung": 0}))
    assert not file.due()
    assert json.loads(path.read_text()) == {
        "seconds": 1.0,
        "engine": "toy",
        "fps": 30.0,
        "frames": 30,
        "sources": [],
        "sinks": [],
        "governor": {"rung": 0},
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["stats.json"]


def test_a_place_that_cannot_be_written_is_refused_at_the_beginning_and_noted_later(
    tmp_path: Path,
) -> None:
    stats = RunStats(0.0, "toy", 0.0, 0, (), ())
    file = StatsFile(tmp_path, Clock())
    with pytest.raises(InputError, match="folder"):
        file.begin(stats)
    file.write(stats)
    file.write(stats)
    assert len(file.notes) == 1 and "--stats" in file.notes[0]


def test_a_deadline_in_frames_follows_the_rate() -> None:
    assert Deadline(2, "frames").seconds(Fraction(50)) == pytest.approx(0.04)
    assert Deadline(0.033).seconds(Fraction(50)) == 0.033
