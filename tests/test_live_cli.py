"""``acf-edge stream`` from the outside: words, errors in one line, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pytest
from video_clips import numbered_picture, read_number, write_clip

from acf_edge.cli import stream
from acf_edge.cli.main import build_parser
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.command import LaneWords, read_duration, read_tile, split_lanes
from acf_edge.stream.live.console import EventLog, live_text, print_summary, summary_lines
from acf_edge.stream.live.stats import STAGES, RunStats, SinkStats, SourceStats
from acf_edge.stream.live.summary import StreamSummary


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bicubic in place of the shipped network."""
    monkeypatch.setattr(
        "acf_edge.stream.live.ladder.build_ladder", lambda *args, **kwargs: [BicubicEngine(2)]
    )


def call(*words: str) -> int:
    return stream.run(build_parser([stream]).parse_args(["stream", *map(str, words)]))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    write_clip(path, [numbered_picture(64, 96, number) for number in range(24)], audio=["aac"])
    return path


def numbers_in(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [read_number(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_a_file_goes_whole_into_two_recordings(quick: None, clip: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    assert call(clip, *outs, "--quiet", "--no-steady") == 0
    for out in outs:
        assert numbers_in(out) == list(range(24))
        with av.open(str(out)) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == (
                192,
                128,
            )
            assert len(container.streams.audio) == 1
            assert sum(1 for packet in container.demux(audio=0) if packet.size) > 5


def test_two_sources_and_a_machine_readable_summary(
    quick: None, clip: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    code = call(
        clip, "null://", "+", "test://bars?frames=5&realtime=0&width=64&height=48", "null://",
        "null://", "--json", "--stats", stats,
    )  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [source["frames"] for source in told["sources"]] == [24, 5]
    assert [(sink["source"], sink["frames"]) for sink in told["sinks"]] == [(0, 24), (1, 5), (1, 5)]
    assert json.loads(stats.read_text())["frames"] == 29
    assert told["interrupted"] is False and told["governor"]["frames"] == {"bicubic": 29}


def test_limits(quick: None, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(clip, "null://", "--frames", "7", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 7 and told["sources"][0]["captured"] == 7
    begun = time.monotonic()
    assert call("test://noise?width=64&height=48", "null://", "--duration", "300ms") == 0
    assert time.monotonic() - begun >= 0.3
    out = capsys.readouterr().out
    assert "64x48 -> 128x96" in out and "null://" in out


def test_a_deadline_is_kept_count_of(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("test://bars?width=64&height=48&frames=10&fps=50", "null://")
    assert call(*words, "--deadline", "2frames", "--json") == 0
    governor = json.loads(capsys.readouterr().out)["governor"]
    assert governor["deadline_ms"] == pytest.approx(40)
    assert governor["in_time"] + governor["late"] == sum(governor["frames"].values()) > 0


def test_a_sink_that_fails_is_told_and_counts(
    quick: None, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from acf_edge.stream.protocols import SinkFailed
    from acf_edge.stream.sinks.null import NullSink

    def write(self: Any, item: Any) -> None:
        raise SinkFailed("the cable was pulled")

    monkeypatch.setattr(NullSink, "write", write)
    out = clip.parent / "out.mkv"
    assert call(clip, out, "null://") == 1
    assert "failed: null://: the cable was pulled" in capsys.readouterr().err
    assert len(numbers_in(out)) == 24


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["in.mp4"], "has no sink"),
        (["+"], "source is missing"),
        (["in.mp4", "null://", "+"], "source is missing"),
        (["in.mp4", "out.mkv", "+", "b.mp4"], "'b.mp4' has no sink"),
        (["in.mp4", "out.mp4", "./sub/../out.mp4"], "Two sinks go to"),
        (["in.mp4", "out.mp4", "+", "b.mp4", "out.mp4?crf=30"], "Two sinks go to"),
        (["in.mp4", "x.mp4", "+", "b.mp4", "in.mp4"], "source and a sink at once"),
        (["in.mp4", "rtsp://:8554/live", "rtsp://:8554/live"], "Two sinks go to"),
        (["in.mp4", "out.xyz"], "cannot be written"),
        (["rtsb://camera/live", "null://"], "There is no source 'rtsb://'"),
        (["in.mp4", "webb://:8080"], "There is no sink 'webb://'"),
        (["test://bars?widht=3", "null://"], "no option 'widht'"),
        (["rtsp://me:secret@host/live"], "has no sink"),
    ],
)
def test_words_that_make_no_stream_are_refused(words: list[str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        split_lanes(words)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_goes_nowhere_may_be_named_twice() -> None:
    assert split_lanes(["a.mp4", "null://", "null://", "+", "b.mp4", "o.mkv"]) == [
        LaneWords("a.mp4", ("null://", "null://")),
        LaneWords("b.mp4", ("o.mkv",)),
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--deadline", "soon"], "--deadline 'soon'"),
        (["--deadline", "0ms"], "out of range"),
        (["--duration", "long"], "--duration 'long'"),
        (["--duration", "0"], "--duration '0'"),
        (["--frames", "0"], "--frames 0"),
        (["--tile", "wide"], "--tile 'wide'"),
        (["--tile", "8x8"], "--tile '8x8'"),
        (["--engine", "no-such.bundle"], "no-such.bundle"),
        (["--ladder", "no-such.bundle"], "no-such.bundle"),
        (["--threads", "0"], "0 threads"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: list[str], problem: str) -> None:
    with pytest.raises(AcfError) as caught:
        call("test://bars?width=64&height=48&frames=1", "null://", *options)
    assert problem in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("named", ["in.mp4", "out.mp4", "link.json", "other.MKV", "shot.png"])
def test_the_counters_overwrite_no_picture(
    quick: None, clip: Path, tmp_path: Path, named: str
) -> None:
    before = clip.read_bytes()
    (tmp_path / "link.json").symlink_to(clip)
    with pytest.raises(InputError, match="--stats"):
        call(clip, tmp_path / "out.mp4", "--stats", tmp_path / named)
    assert clip.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "link.json"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("500ms", 0.5), ("2min", 120), ("1:30", 90)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


def test_tiles() -> None:
    assert read_tile("320x180") == (320, 180)


def test_the_schemes_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call("--schemes")
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "rtsp://" in out and "null://" in out and "crf=" in out


def test_a_source_that_is_not_there_is_refused(quick: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no-such\.mp4"):
        call(tmp_path / "no-such.mp4", tmp_path / "out.mkv")
    assert not list(tmp_path.iterdir())


def example(**changes: Any) -> RunStats:
    table = {name: {"p50": 12.3, "p95": 20.0, "p99": 31.0} for name in STAGES}
    source = SourceStats(
        **{
            "uri": "rtsp://camera/[live]", "state": "live", "width": 640, "height": 360,
            "fps": 29.97, "captured": 130, "frames": 120, "dropped": 10, "held": 0,
            "reconnects": 2, "queue": 0, "reason": "", "latency_ms": table,
            "latency_total_ms": table, **changes,
        }
    )  # fmt: skip
    sinks = (
        SinkStats(0, "out.mkv", 0, "open", 118, 2, 0, "", {}),
        SinkStats(1, "web://:8080", 0, "failed", 3, 0, 0, "the port is gone", {}),
    )
    governor = {
        "rung": 1, "name": "small", "frames": {"full": 100, "small": 20, "bicubic": 0},
        "in_time": 114, "late": 6, "deadline_ms": 33.0,
    }  # fmt: skip
    return RunStats(4.0, "full", 29.97, 120, (source,), sinks, governor)


def test_the_live_line_says_what_matters_in_one_line() -> None:
    text = live_text(example()).plain
    assert "\n" not in text
    for part in (
        "live",
        "30.0 fps",
        "12/20/31 ms",
        "dropped 10",
        "back 2x",
        "small",
        "95 % in time",
    ):
        assert part in text
    assert "web://:8080 failed" in text and "out.mkv dropped 2" in text
    away = live_text(example(state="held", reason="no frame for 2 s"), stopping=True).plain
    assert away.startswith("finishing") and "held" in away and "no frame for 2 s" in away
    empty = {name: {"p50": None, "p95": None, "p99": None} for name in STAGES}
    assert live_text(example(state="opening", latency_ms=empty)).plain.startswith("opening")


def test_without_a_terminal_what_happens_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog(True)
    for state, reason in (
        ("opening", ""),
        ("opening", "nobody answers"),
        ("opening", "connection refused"),
        ("live", ""),
        ("held", "no frame for 2 s"),
        ("held", "nobody answers"),
        ("live", ""),
        ("held", "nobody answers"),
        ("ended", ""),
    ):
        log.update(example(state=state, reason=reason))
    told = capsys.readouterr()
    assert not told.out
    assert told.err.splitlines() == [
        "web://:8080: failed: the port is gone",
        "rtsp://camera/[live]: waiting for it: nobody answers",
        "rtsp://camera/[live]: is there",
        "rtsp://camera/[live]: lost: no frame for 2 s",
        "rtsp://camera/[live]: is there",
        "rtsp://camera/[live]: lost: nobody answers",
    ]


def test_a_source_that_never_came_is_told_so() -> None:
    empty = {name: {"p50": None, "p95": None, "p99": None} for name in STAGES}
    away = example(state="ended", width=0, height=0, frames=0, latency_total_ms=empty)
    line = summary_lines(StreamSummary(away), 4)[0]
    assert "never came" in line and "0x0" not in line


def test_the_summary_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    summary = StreamSummary(example(), interrupted=True, notes=("it was [lost]",))
    lines = summary_lines(summary, 4)
    assert "640x360 -> 2560x1440, 120 frames in 4.0 s (30.0 fps), 10 dropped" in lines[0]
    assert "p50 12.3, p95 20.0, p99 31.0" in lines[1]
    assert "out.mkv: 118 frames, 2 dropped" in lines[2]
    assert lines[-1] == "full 100, small 20; 95.0 % in time"
    print_summary(summary, scale=4)
    told = capsys.readouterr()
    assert "rtsp://camera/[live]" in told.out
    assert "failed: web://:8080: the port is gone" in told.err
    assert "interrupted" in told.err and "note: it was [lost]" in told.err
    assert summary.exit_code == 1


PROGRAM = """
import sys
from acf_edge.cli import main
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.stream.live import ladder
main.VERBS = ("stream",)
ladder.build_ladder = lambda *args, **kwargs: [BicubicEngine(2)]
sys.exit(main.main())
"""


def launch(
    *words: str | Path, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "stream", *map(str, words)],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, "ACF_EDGE_DEBUG": ""},
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until the stream runs, as its counters say."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        if path.exists() and json.loads(path.read_text())["frames"] > 5:
            return
        time.sleep(0.05)
    pytest.fail("it never began")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_recordings(tmp_path: Path, number: signal.Signals) -> None:
    out, stats = tmp_path / "out.mp4", tmp_path / "stats.json"
    process = launch("test://clock?width=192&height=128", out, "--stats", stats, "--json")
    wait_for(stats, process)
    process.send_signal(number)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    with av.open(str(out)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == json.loads(told)["sinks"][0]["frames"] > 5


def test_a_terminal_that_is_closed_finishes_the_recordings(tmp_path: Path) -> None:
    out, stats = tmp_path / "out.mp4", tmp_path / "stats.json"
    terminal, side = os.openpty()
    process = launch(
        "test://clock?width=192&height=128", out, "--stats", stats, stdout=side, stderr=side
    )
    os.close(side)
    wait_for(stats, process)
    os.close(terminal)
    time.sleep(0.6)  # the line that lives there is drawn again
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.wait(60)
    with av.open(str(out)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == json.loads(stats.read_text())["sinks"][0]["frames"] > 5


def test_a_log_that_cannot_be_written_ends_no_stream(quick: None, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        process = launch(
            "test://bars?width=64&height=48&frames=5&realtime=0", "null://", tmp_path / "sub.mkv",
            "+", "test://bars?width=64&height=48&frames=5&realtime=0", tmp_path / "odd.webm",
            "--stats", tmp_path / "s.json", stdout=subprocess.PIPE, stderr=full,
        )  # fmt: skip
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "sub.mkv: 5 frames" in out


def test_errors_are_one_line(tmp_path: Path) -> None:
    for words in (["nonsense://x", "null://"], [tmp_path / "none.mp4", tmp_path / "o.mkv"]):
        process = launch(*words)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 2 and not out
        assert errors.startswith("acf-edge: error:") and errors.count("\n") == 1
