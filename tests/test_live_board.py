"""Readings of a Jetson board, from a stand-in for jtop."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from acf_edge.stream.live.board import (
    BoardJudge,
    BoardSensor,
    BoardState,
    open_board,
    throttle_events,
)


def test_being_hot_ends_later_than_it_begins() -> None:
    judge = BoardJudge(hot=90.0, cool=84.0)
    states = [judge.judge("15W", [40.0, t], 0).hot for t in (89.0, 90.0, 86.0, 83.0, 86.0)]
    assert states == [False, True, True, False, False]


def test_throttling_counts_as_hot_for_a_while() -> None:
    judge = BoardJudge()
    states = [judge.judge("15W", [50.0], events) for events in (7, 7, 8, *[8] * 12)]
    assert [state.hot for state in states[:4]] == [False, False, True, True]
    assert not states[-1].hot


def test_throttle_events_are_summed_over_the_counters(tmp_path: Path) -> None:
    for name, text in (("hwmon0/oc1_event_cnt", "3\n"), ("hwmon1/oc2_event_cnt", "4\n")):
        file = tmp_path / "sys/class/hwmon" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (tmp_path / "sys/class/hwmon/hwmon1/oc3_event_cnt").write_text("broken")
    assert throttle_events(tmp_path) == 7
    assert throttle_events(tmp_path / "nowhere") == 0


class FakeJtop:
    """What is used of ``jtop.jtop``."""

    def __init__(self) -> None:
        self.closed = False
        self.nvpmodel = SimpleNamespace(name="15W")
        self.temperature = {
            "cpu": {"temp": 71.5, "online": True},
            "gpu": {"temp": -256, "online": False},
            "tj": 93.0,
        }

    def start(self) -> None:
        pass

    def ok(self, spin: bool = False) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True


def test_the_sensor_reads_jtop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeJtop()
    sensor = BoardSensor(service, tmp_path, period=0.01)
    for _ in range(500):
        state = sensor()
        if state is not None:
            break
        time.sleep(0.01)
    sensor.close()
    assert state == BoardState("15W", 93.0, True)
    assert service.closed


def test_without_jtop_there_is_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    assert open_board() is None


def test_a_jtop_without_its_service_is_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FakeJtop):
        def start(self) -> None:
            raise Exception("The jetson_stats.service is not active.")

    module = SimpleNamespace(jtop=Broken, __spec__=SimpleNamespace(name="jtop"))
    monkeypatch.setitem(sys.modules, "jtop", module)
    assert open_board() is None
