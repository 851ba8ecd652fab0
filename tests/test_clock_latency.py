"""Glass to glass: sane numbers through every sink that can be read back here."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
from truth_ways import rtsp, web
from video_clips import FakeEngine, Image

from acf_edge.cli import latency as verb
from acf_edge.cli.main import build_parser
from acf_edge.errors import GateError, InputError, MissingExtraError
from acf_edge.stream.clock import browser, meter
from acf_edge.stream.clock.code import now
from acf_edge.stream.clock.meter import LatencyReport, measure
from acf_edge.stream.clock.sightings import Sightings

SIZE, RATE = (128, 72), Fraction(20)


class SlowEngine(FakeEngine):
    def __init__(self, seconds: float) -> None:
        super().__init__(2)
        self._seconds = seconds

    def run(self, frame: Image) -> Image:
        time.sleep(self._seconds)
        return super().run(frame)


class BlindEngine(FakeEngine):
    """Wipes out the clock."""

    def run(self, frame: Image) -> Image:
        return super().run(frame) * 0 + 90


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_WARM_UP", 0.2)
    monkeypatch.setattr(meter, "_DRAIN", 0.2)


def _check(report: LatencyReport, seconds: float) -> None:
    assert report.seconds == pytest.approx(seconds, rel=0.5)
    assert 0 < report.fastest_ms <= report.p50_ms <= report.p95_ms <= report.p99_ms
    assert report.p99_ms <= report.slowest_ms < 20_000
    # What was painted was read, was dropped on the way, or is unreadable: nothing is made up.
    assert 3 <= report.read <= report.painted + 2
    assert report.unreadable == 0
    assert report.how


def test_into_the_sink() -> None:
    report = measure("null", FakeEngine(2), seconds=1.0, size=SIZE, rate=RATE)
    _check(report, 1.0)
    assert report.engine == "nearest x2"
    # It cannot have taken longer than the time it was measured in.
    assert report.slowest_ms < 10_000
    assert report.stages_ms["end_to_end"]["p50"] is not None


def test_what_the_engine_takes_is_in_it() -> None:
    quick = measure("null", FakeEngine(2), seconds=0.8, size=SIZE, rate=RATE)
    slow = measure("null", SlowEngine(0.06), seconds=0.8, size=SIZE, rate=RATE)
    assert slow.fastest_ms >= 60
    assert slow.p50_ms >= quick.p50_ms + 30


def test_an_engine_too_slow_drops_frames_and_says_so() -> None:
    report = measure("null", SlowEngine(0.12), seconds=1.2, size=SIZE, rate=RATE)
    assert report.dropped > 0
    assert report.read < report.painted


def test_a_growing_recording() -> None:
    report = measure("file", FakeEngine(2), seconds=1.0, size=SIZE, rate=RATE)
    _check(report, 1.0)
    assert "while it grew" in report.how
    null = measure("null", FakeEngine(2), seconds=0.5, size=SIZE, rate=RATE)
    assert report.p50_ms > null.p50_ms  # an encoder and a decoder lie between


@rtsp
@pytest.mark.parametrize("client", ["av", "gst"])
def test_a_served_stream(client: str) -> None:
    report = measure("rtsp", FakeEngine(2), seconds=1.0, size=SIZE, rate=RATE, client=client)
    _check(report, 1.0)
    assert ("GStreamer" if client == "gst" else "PyAV") in report.how


@web
def test_a_page_in_a_browser() -> None:
    report = measure("web", FakeEngine(2), seconds=1.5, size=SIZE, rate=RATE)
    _check(report, 1.5)
    assert "Chromium" in report.how


def test_nothing_to_read_is_an_error_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_PATIENCE", 1.0)
    with pytest.raises(GateError, match="could be read"):
        measure("null", BlindEngine(2), seconds=0.5, size=SIZE, rate=RATE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sink": "display"}, "cannot be measured"),
        ({"size": (64, 64)}, "128x64"),
        ({"seconds": 0.0}, "no time to measure"),
    ],
)
def test_what_cannot_be_measured(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(**{"sink": "null", "engine": FakeEngine(2), "size": SIZE, **options})  # type: ignore[arg-type]


def test_no_browser_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(InputError, match="no Chromium"):
        measure("web", FakeEngine(2), seconds=0.5)
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="playwright"):
        measure("web", FakeEngine(2), seconds=0.5)


def test_a_picture_shown_twice_counts_once() -> None:
    seen = Sightings()
    for painted, when in ((1000, 5000), (1000, 9000), (None, 9500), (2000, 9900)):
        seen.add(painted, when)
    inside, unreadable = seen.between(0, 10_000)
    assert [each.milliseconds for each in inside] == [4.0, 7.9]
    assert unreadable == 1
    assert seen.between(1500, 9000) == ([inside[1]], 0)


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parser = build_parser([verb])
    words = ["latency", "--engine", "bicubic", "--seconds", "0.6", "--size", "128x72"]
    before = now()
    assert verb.run(parser.parse_args([*words, "--json"])) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sink"] == "null" and report["read"] > 3
    assert report["slowest_ms"] * 1000 < now() - before
    assert verb.run(parser.parse_args(words)) == 0
    assert "p50" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--size", "big"], ["--fps", "0"], ["--fps", "often"]])
def test_the_command_refuses_in_one_line(words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        verb.run(build_parser([verb]).parse_args(["latency", "--engine", "bicubic", *words]))
    assert "\n" not in str(caught.value)
