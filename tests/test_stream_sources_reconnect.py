"""A live source that comes back: one timeline, patience with bounds, nothing left behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import SourceLost, StreamInfo
from acf_edge.stream.sources import reconnect
from acf_edge.stream.sources.reconnect import Reconnecting

PIXELS = np.zeros((4, 4, 3), np.uint8)
UNIT = Fraction(1, 90000)


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def frame(pts: int, unit: Fraction = UNIT, duration: int = 3600) -> Frame:
    return Frame(PIXELS, pts, unit, duration, Colour())


def sound(pts: int, index: int = 1) -> Packet[Stream]:
    packet = Packet(b"x")
    packet.pts = packet.dts = pts
    packet.time_base = Fraction(1, 8000)
    return packet


Step = Any


class FakeSource:
    """Plays a script: one list per opening. A number is time that passes.

    An exception as the whole opening is raised by ``open``.
    """

    uri = "fake://"
    live = True

    def __init__(self, clock: Clock, *openings: Sequence[Step] | BaseException) -> None:
        self.clock = clock
        self.openings = iter(openings)
        self.opened: list[float] = []
        self.closed = 0
        self.steps: Sequence[Step] = ()

    def open(self) -> StreamInfo:
        self.opened.append(self.clock.now)
        steps = next(self.openings, [])
        if isinstance(steps, BaseException):
            raise steps
        self.steps = steps
        return StreamInfo("fake://", 4, 4, Fraction(25), UNIT, Colour(), Colour(), live=True)

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                self.clock.now += step
            else:
                yield step

    def copyable(self) -> Sequence[Stream]:
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def made(
    clock: Clock, source: FakeSource, monkeypatch: pytest.MonkeyPatch, **options: object
) -> tuple[Reconnecting, list[float]]:
    """A wrapper whose naps take no time; what they would have taken is written down."""
    wrapper = Reconnecting(source, clock=clock, **options)  # type: ignore[arg-type]
    naps: list[float] = []

    def nap(seconds: float) -> bool:
        naps.append(seconds)
        clock.now += seconds
        return False

    monkeypatch.setattr(wrapper._stop, "wait", nap)
    return wrapper, naps


LOST = SourceLost("gone")


def test_time_begins_at_zero_and_goes_on_over_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(
        clock,
        [frame(500000), 0.04, frame(503600), 0.04, frame(507200), 5.0, LOST],
        [frame(90), 0.04, frame(3690)],
    )
    wrapper, naps = made(clock, source, monkeypatch)
    wrapper.open()
    frames = [item for item in wrapper.items() if isinstance(item, Frame)]
    seconds = [float(item.seconds) for item in frames]
    assert seconds[:3] == [0, 0.04, 0.08]
    # As long as it was away: the silence, and the nap before it was opened again.
    assert seconds[3] - seconds[2] == pytest.approx(5.0 + naps[0], abs=1e-4)
    assert seconds[4] - seconds[3] == pytest.approx(0.04, abs=1e-9)
    assert all(item.time_base == UNIT for item in frames)
    assert wrapper.recoveries == 1


def test_timestamps_rise_strictly_whatever_the_source_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    source = FakeSource(
        clock,
        [frame(10), frame(10), frame(5), 0.001, LOST],
        [frame(10**9), frame(10**9), frame(10**9 + 1), LOST],
        [frame(-7), frame(-6)],
    )
    wrapper, _ = made(clock, source, monkeypatch)
    wrapper.open()
    stamps = [item.pts for item in wrapper.items() if isinstance(item, Frame)]
    assert len(stamps) == 8 and all(a < b for a, b in pairwise(stamps))
    assert wrapper.recoveries == 2


def test_another_time_base_after_the_loss_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    tick = Fraction(1, 1000)
    source = FakeSource(
        clock,
        [frame(0), 0.04, frame(3600), LOST],
        [frame(77, tick, 40), 0.04, frame(117, tick, 40), 0.03, frame(150, tick, 30)],
    )
    wrapper, _ = made(clock, source, monkeypatch)
    wrapper.open()
    frames = [item for item in wrapper.items() if isinstance(item, Frame)]
    assert {item.time_base for item in frames} == {UNIT}
    # Uneven intervals stay as they are.
    assert [b.pts - a.pts for a, b in pairwise(frames[2:])] == [3600, 2970]
    assert frames[2].duration == 3600


def test_sound_stays_with_the_picture_over_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(
        clock,
        [sound(0), frame(0), 0.1, sound(800), frame(9000), 1.0, LOST],
        # This time the sound comes first, and both clocks start elsewhere.
        [sound(80000), frame(900000), 0.1, sound(80800), frame(909000)],
    )
    wrapper, _ = made(clock, source, monkeypatch)
    wrapper.open()
    pictures, sounds = [], []
    for item in wrapper.items():
        if isinstance(item, Frame):
            pictures.append(float(item.seconds))
        else:
            sounds.append(float(item.pts * item.time_base))
    assert len(pictures) == len(sounds) == 4
    assert all(abs(a - b) < 0.001 for a, b in zip(pictures, sounds, strict=True))
    assert all(a < b for a, b in pairwise(sounds))


def test_sound_from_a_time_that_is_over_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(
        clock,
        [frame(0), sound(0), sound(80000), LOST],  # ten seconds ahead of the picture
        [frame(0), sound(0), sound(90000)],
    )
    wrapper, _ = made(clock, source, monkeypatch)
    wrapper.open()
    stamps = [item.dts for item in wrapper.items() if not isinstance(item, Frame)]
    assert len(stamps) == 3 and all(a < b for a, b in pairwise(stamps))


def test_naps_grow_to_a_bound_that_lets_it_return_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    dead = [SourceLost("refused")] * 30
    source = FakeSource(clock, [frame(0), LOST], *dead, [frame(0)])
    wrapper, naps = made(clock, source, monkeypatch)
    wrapper.open()
    assert len(list(wrapper.items())) == 2
    assert len(naps) == 31
    assert 0.1 < naps[0] <= 0.2
    assert max(naps) <= 2.0, "an outage may be long, the return must be noticed soon"
    assert min(naps[8:]) > 1.0
    assert len(set(naps[8:])) > 10, "clients of one server shall not come back in step"


def test_naps_start_short_again_only_after_a_good_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    flapping = [[frame(0), 0.1, LOST] for _ in range(8)]
    source = FakeSource(clock, *flapping, [frame(0), 60.0, LOST], [frame(0)])
    wrapper, naps = made(clock, source, monkeypatch)
    wrapper.open()
    list(wrapper.items())
    assert naps[7] > 1.0 and naps[8] <= 0.2


def test_nothing_is_final_once_it_was_live(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    missing = InputError("There is no camera '/dev/video0'.")
    source = FakeSource(clock, [frame(0), LOST], missing, missing, [frame(0)])
    told: list[tuple[str, str]] = []
    wrapper, _ = made(
        clock, source, monkeypatch, on_state=lambda state, reason: told.append((state, reason))
    )
    wrapper.open()
    assert len(list(wrapper.items())) == 2
    assert told == [
        ("live", ""),
        ("lost", "gone"),
        ("lost", "There is no camera '/dev/video0'."),
        ("live", ""),
        ("closed", ""),
    ]
    assert wrapper.recoveries == 1 and wrapper.notes() == ["it was lost and came back 1x"]


def test_what_cannot_work_is_said_at_once_at_the_start() -> None:
    source = FakeSource(Clock(), InputError("There is no camera."))
    with pytest.raises(InputError, match="no camera"):
        Reconnecting(source).open()
    assert len(source.opened) == 1


def test_it_waits_for_a_server_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(clock, LOST, LOST, LOST, [frame(0)])
    wrapper, _ = made(clock, source, monkeypatch)
    wrapper.open()
    assert len(source.opened) == 4 and wrapper.state == "opening"
    assert len(list(wrapper.items())) == 1 and wrapper.recoveries == 0


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(clock, *[SourceLost("refused")] * 100)
    wrapper, _ = made(clock, source, monkeypatch, patience=10.0)
    with pytest.raises(SourceLost, match="refused"):
        wrapper.open()
    assert 10 < clock.now - 1000 < 13


def test_the_end_of_a_source_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    source = FakeSource(clock, [frame(0), frame(3600)])
    wrapper, naps = made(clock, source, monkeypatch)
    wrapper.open()
    assert len(list(wrapper.items())) == 2
    assert not naps and len(source.opened) == 1 and wrapper.state == "closed"


def test_an_error_that_is_not_a_loss_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    wrapper, _ = made(clock, FakeSource(clock, [frame(0), InputError("bad")]), monkeypatch)
    wrapper.open()
    with pytest.raises(InputError, match="bad"):
        list(wrapper.items())


@pytest.mark.parametrize("when", ["open", "items"])
def test_closing_ends_a_long_wait(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "_SHORTEST_WAIT", 60.0)
    monkeypatch.setattr(reconnect, "_LONGEST_WAIT", 60.0)
    waiting = threading.Event()
    first: Sequence[Step] | BaseException = LOST if when == "open" else [frame(0), LOST]
    wrapper = Reconnecting(
        FakeSource(Clock(), first, LOST),
        on_state=lambda state, reason: waiting.set() if reason else None,
    )
    outcome: list[object] = []

    def work() -> None:
        try:
            wrapper.open()
            outcome.append(len(list(wrapper.items())))
        except SourceLost as lost:
            outcome.append(lost)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(5)
    wrapper.close()
    thread.join(3)
    assert not thread.is_alive()
    assert outcome == [LOST if when == "open" else 1]


def test_closing_while_it_is_being_opened_leaves_nothing_open() -> None:
    clock = Clock()
    opening: list[Callable[[], None]] = []

    class Slow(FakeSource):
        def open(self) -> StreamInfo:
            if self.opened:
                opening[0]()  # somebody closes it just now
            return super().open()

    source = Slow(clock, [frame(0), LOST], [frame(0)])
    wrapper = Reconnecting(source, clock=clock)
    opening.append(wrapper.close)
    wrapper.open()
    assert len(list(wrapper.items())) == 1
    assert len(source.opened) == 2 and source.closed >= 3


def test_many_losses_leave_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    rounds: list[list[Step]] = [[frame(0), LOST] for _ in range(200)]
    wrapper, _ = made(clock, FakeSource(clock, *rounds, []), monkeypatch)
    before = threading.active_count()
    wrapper.open()
    count = sum(1 for _ in itertools.islice(wrapper.items(), 200))
    assert count == 200 and wrapper.recoveries == 199
    assert threading.active_count() == before
