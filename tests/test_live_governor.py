"""The governor against simulated engines and a fake clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from acf_edge.stream.live.board import BoardState
from acf_edge.stream.live.governor import Governor

Service = Callable[[int, float], float]
"""(rung, seconds since the start) -> seconds that the engine takes."""


@dataclass
class Run:
    """A live source, newest frame wins, one engine at a time."""

    deadline: float
    rungs: Sequence[str]
    service: Service
    rate: float = 30.0
    board: Callable[[], BoardState | None] | None = None
    overhead: float = 0.002
    now: float = 0.0
    governor: Governor = field(init=False)
    used: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_time: int = 0
    captured: int = 0

    def __post_init__(self) -> None:
        self.governor = Governor(self.deadline, self.rungs, lambda: self.now, self.board)

    def until(self, seconds: float) -> Run:
        while True:
            # The newest frame there is; if it was taken already, the next one to come.
            newest = int(self.now * self.rate)
            frame = max(newest, self.captured)
            born = frame / self.rate
            if born >= seconds:
                return self
            self.now = max(self.now, born)
            rung = self.governor.choose(self.now - born)
            took = self.service(rung, self.now)
            self.now += took + self.overhead
            latency = self.now - born
            self.governor.report(rung, took, latency)
            self.used.append(rung)
            self.times.append(born)
            self.in_time += latency <= self.deadline
            self.captured = frame + 1

    @property
    def share_in_time(self) -> float:
        """Of all captured frames: what was dropped was not in time."""
        return self.in_time / self.captured

    def rungs_between(self, start: float, end: float) -> list[int]:
        return [r for r, t in zip(self.used, self.times, strict=True) if start <= t < end]


def steady(*services: float) -> Service:
    return lambda rung, _: services[rung]


def noisy(services: Sequence[float], spread: float, seed: int = 5) -> Service:
    random = np.random.default_rng(seed)
    return lambda rung, _: services[rung] * float(np.exp(random.normal(0.0, spread)))


def changes(rungs: Sequence[int]) -> int:
    return sum(a != b for a, b in pairwise(rungs))


@pytest.mark.parametrize("told", [True, False], ids=["measured before", "found out on the way"])
@pytest.mark.parametrize("seconds", [10.0, 60.0, 600.0])
def test_an_80_ms_engine_at_30_frames_a_second_meets_33_ms(told: bool, seconds: float) -> None:
    run = Run(0.033, ("full", "bicubic"), steady(0.080, 0.003))
    if told:
        run.governor.expect(0, 0.080)
        run.governor.expect(1, 0.003)
    run.until(seconds)
    assert run.share_in_time >= (0.97 if told else 0.95)
    state = run.governor.snapshot()
    assert state.name == "bicubic"
    assert state.steps_up == 0
    assert state.in_time + state.late == sum(state.frames.values()) == len(run.used)


def test_the_share_holds_with_noise_and_a_long_ladder() -> None:
    run = Run(0.033, ("full", "pruned", "acf-t", "bicubic"), noisy((0.08, 0.045, 0.02, 0.003), 0.1))
    run.until(60.0)
    assert run.share_in_time >= 0.95
    assert run.governor.snapshot().name == "acf-t"


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("top", [0.010, 0.020, 0.026, 0.030, 0.034, 0.040, 0.080])
def test_a_steady_load_leads_to_one_rung_and_stays_there(top: float, spread: float) -> None:
    run = Run(0.033, ("full", "acf-t", "bicubic"), noisy((top, top / 2.5, 0.002), spread))
    run.until(300.0)
    state = run.governor.snapshot()
    # Where noise makes the best rung fail one frame in ten it may be tried again, ever more rarely.
    assert state.steps_up <= 5
    assert state.steps_down <= state.steps_up + 2
    late = run.rungs_between(200.0, 300.0)
    assert changes(late) <= 2 * 0.06 * len(late)
    if spread == 0.0:
        assert state.steps_up == 0
        assert changes(late) <= 4  # at most two probes


def test_a_rung_that_fits_is_used_for_every_frame() -> None:
    run = Run(0.033, ("full", "bicubic"), noisy((0.015, 0.002), 0.1)).until(60.0)
    assert set(run.used) == {0}
    assert run.share_in_time == 1.0
    assert run.governor.snapshot().steps_down == 0


def test_one_hiccup_is_no_reason_to_step_down() -> None:
    def service(rung: int, now: float) -> float:
        if 10.0 <= now < 10.034 and rung == 0:
            return 0.4
        return (0.015, 0.002)[rung]

    run = Run(0.033, ("full", "bicubic"), service).until(20.0)
    state = run.governor.snapshot()
    assert state.steps_down == 0
    assert state.late == 1
    assert set(run.rungs_between(11.0, 20.0)) == {0}


def test_spikes_in_three_frames_of_a_hundred_are_borne() -> None:
    random = np.random.default_rng(2)

    def service(rung: int, now: float) -> float:
        return 0.06 if rung == 0 and random.random() < 0.03 else (0.015, 0.002)[rung]

    run = Run(0.033, ("full", "bicubic"), service).until(120.0)
    assert run.used.count(0) > 0.8 * len(run.used)


def test_a_load_that_comes_and_goes_is_followed_down_and_up() -> None:
    def service(rung: int, now: float) -> float:
        return ((0.060 if 20.0 <= now < 60.0 else 0.018), 0.010, 0.002)[rung]

    run = Run(0.033, ("full", "acf-t", "bicubic"), service).until(120.0)
    assert set(run.rungs_between(0.0, 20.0)) == {0}
    under_load = run.rungs_between(21.0, 60.0)
    assert under_load.count(1) > 0.95 * len(under_load)
    assert set(run.rungs_between(100.0, 120.0)) == {0}
    state = run.governor.snapshot()
    assert (state.steps_down, state.steps_up) == (1, 1)
    assert run.share_in_time >= 0.95


def test_after_a_short_load_it_is_up_again_within_seconds() -> None:
    def service(rung: int, now: float) -> float:
        return ((0.060 if 20.0 <= now < 22.0 else 0.018), 0.002)[rung]

    run = Run(0.033, ("full", "bicubic"), service).until(40.0)
    assert set(run.rungs_between(32.0, 40.0)) == {0}


def test_an_impossible_deadline_ends_on_the_last_rung_without_probes() -> None:
    run = Run(0.001, ("full", "acf-t", "bicubic"), steady(0.08, 0.02, 0.004)).until(60.0)
    state = run.governor.snapshot()
    assert state.name == "bicubic"
    assert state.probes == 0 and state.steps_up == 0
    assert state.in_time == 0 and state.late == len(run.used)
    assert set(run.rungs_between(2.0, 60.0)) == {2}


def test_probes_become_rare() -> None:
    run = Run(0.033, ("full", "bicubic"), steady(0.08, 0.003)).until(1200.0)
    first = run.rungs_between(0.0, 60.0).count(0)
    last = run.rungs_between(1080.0, 1200.0).count(0)
    assert 1 <= last <= 3 < first


def test_two_sources_on_one_engine_do_not_make_it_alternate() -> None:
    """The engine alone fits, both sources together do not: ages rise, not the service time."""
    now = [0.0]
    governor = Governor(0.033, ("full", "bicubic"), lambda: now[0])
    used, taken = [], [0, 0]
    in_time = 0
    while now[0] < 60.0:
        births = [max(int((now[0] + s / 61) * 30), taken[s]) / 30 for s in (0, 1)]
        source = int(np.argmin(births))
        now[0] = max(now[0], births[source])
        rung = governor.choose(now[0] - births[source])
        took = (0.022, 0.002)[rung]
        now[0] += took
        taken[source] = round(births[source] * 30) + 1
        governor.report(rung, took, now[0] - births[source])
        in_time += now[0] - births[source] <= 0.033
        used.append(rung)
    assert in_time >= 0.95 * len(used)
    assert governor.snapshot().steps_up <= 5


def test_without_a_deadline_the_best_rung_makes_every_frame() -> None:
    governor = Governor(None, ("full", "bicubic"))
    for _ in range(50):
        assert governor.choose(5.0) == 0
        governor.report(0, 3.0, 9.0)
    state = governor.snapshot()
    assert state.late == 0 and state.in_time == 50
    assert state.to_json()["deadline_ms"] is None


def test_a_rung_held_by_hand_stays_and_is_left_when_asked() -> None:
    run = Run(0.033, ("full", "acf-t", "bicubic"), steady(0.08, 0.015, 0.002)).until(10.0)
    run.governor.hold(0)
    run.until(20.0)
    assert set(run.rungs_between(10.1, 20.0)) == {0}
    assert run.governor.snapshot().held
    run.governor.hold(None)
    run.until(30.0)
    assert set(run.rungs_between(22.0, 24.0)) == {1}
    assert not run.governor.snapshot().held


def test_the_state_is_plain_json() -> None:
    run = Run(0.033, ("full", "bicubic"), steady(0.08, 0.002)).until(5.0)
    data = run.governor.snapshot().to_json()
    assert data["frames"] == {"full": run.used.count(0), "bicubic": run.used.count(1)}
    assert data["name"] == "bicubic" and data["rung"] == 1
    assert data["deadline_ms"] == pytest.approx(33.0)
    assert "missed the deadline" in data["reason"]


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan")])
def test_a_deadline_is_positive(deadline: float) -> None:
    with pytest.raises(ValueError, match="deadline"):
        Governor(deadline, ("a",))


@pytest.mark.parametrize("rungs", [(), ("a", "a")])
def test_rungs_have_names_of_their_own(rungs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="ladder"):
        Governor(0.033, rungs)


def test_a_hot_board_steps_down_and_comes_back_when_it_is_cool() -> None:
    run: Run

    def board() -> BoardState:
        hot = 20.0 <= run.now < 45.0
        return BoardState("25W", 97.0 if hot else 60.0, hot)

    rungs = ("full", "pruned", "acf-t", "bicubic")
    run = Run(0.033, rungs, steady(0.02, 0.015, 0.01, 0.002), board=board)
    run.until(44.0)
    assert set(run.rungs_between(0.0, 20.0)) == {0}
    assert set(run.rungs_between(22.0, 30.0)) == {1}
    assert set(run.rungs_between(42.0, 44.0)) == {3}
    assert "hot (97 °C)" in run.governor.snapshot().reason
    run.until(90.0)
    assert set(run.rungs_between(80.0, 90.0)) == {0}


def test_another_power_mode_is_tried_out_at_once() -> None:
    run: Run

    def board() -> BoardState:
        return BoardState("10W" if run.now < 200.0 else "25W", 50.0, False)

    run = Run(
        0.033,
        ("full", "bicubic"),
        lambda rung, now: ((0.08 if now < 200.0 else 0.015), 0.002)[rung],
        board=board,
    )
    run.until(203.0)
    assert set(run.rungs_between(202.5, 203.0)) == {0}
