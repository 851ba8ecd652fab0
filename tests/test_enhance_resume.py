"""Long videos: cut off anywhere and run again, the result is that of one uninterrupted run."""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from long_films import LENGTH, enhance, film, packets, stopped
from video_clips import FakeEngine, read_clip, turn

from acf_edge.errors import InputError
from acf_edge.stream import enhance_file
from acf_edge.stream.batch.reader import Reader, Reading
from acf_edge.stream.batch.segment import Mark
from acf_edge.stream.batch.work import work_path

TICKS = Fraction(1, 90000)
_OPEN = {"preset": "fast", "bf": "3", "g": "13", "x264-params": "open-gop=1:scenecut=0"}
_FRAME = Fraction(1, 25)
_UNEVEN = [int(t) for t in np.cumsum(np.random.default_rng(3).integers(1, 9000, 66))]
_KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("B-frames", "in.mp4", {"audio": ["aac"]}),
    ("open GOPs", "in.mp4", {"options": _OPEN, "audio": ["aac"]}),
    ("open GOPs", "in.ts", {"options": _OPEN, "time_base": _FRAME, "audio": ["aac"]}),
    ("uneven times", "in.mp4", {"pts": _UNEVEN, "time_base": TICKS, "audio": ["aac"]}),
    ("starts late", "in.mkv", {"pts": range(5000, 7640, 40), "time_base": Fraction(1, 1000)}),
    ("one key picture", "in.mp4", {"options": {"preset": "fast", "bf": "2", "g": "1000"}}),
    (
        "no key pictures but rolling ones",
        "in.mp4",
        {"options": {"bf": "0", "g": "20", "x264-params": "intra-refresh=1"}},
    ),
    ("no index", "in.mkv", {"time_base": _FRAME, "container": {"live": "1"}}),
    ("fragments", "in.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
    (
        "MPEG-2",
        "in.mpg",
        {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}, "time_base": _FRAME},
    ),
    (
        "MPEG-4",
        "in.avi",
        {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}, "time_base": _FRAME},
    ),
    ("no times at all", "in.h264", {"options": {"bf": "0", "g": "12"}, "time_base": _FRAME}),
]


@pytest.mark.parametrize(
    ("name", "options"), [kind[1:] for kind in _KINDS], ids=[f"{k[0]}, {k[1][2:]}" for k in _KINDS]
)
def test_a_stopped_run_goes_on_to_the_same_result(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    source = film(tmp_path / name, **options)
    whole, _ = enhance(source, tmp_path / "whole.mp4")
    assert whole.frames == 66 and whole.segments == 7 and whole.resumed_frames == 0
    target = tmp_path / "out.mp4"
    kept = 0
    for after in (24, 23):  # stopped twice, at different places
        summary = stopped(source, target, after)
        assert summary.resumed_frames == kept
        assert summary.kept_frames >= kept + LENGTH and summary.kept_frames % LENGTH == 0
        assert summary.work_folder == str(work_path(target))
        kept = summary.kept_frames
    summary, engine = enhance(source, target)
    assert summary.resumed_frames == kept and engine.calls == 66 - kept
    assert (summary.frames, summary.notes) == (66, whole.notes)
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out.mp4", "whole.mp4"])
    after_all = read_clip(target)
    assert after_all.numbers == list(range(66))
    if name.endswith((".mp4", ".mkv", ".ts")):  # the others hold no times of display
        before = read_clip(source)
        assert after_all.seconds == before.seconds
    if options.get("audio"):
        lead = before.audio_seconds[0][0] - before.seconds[0]
        assert abs(after_all.audio_seconds[0][0] - after_all.seconds[0] - lead) < Fraction(1, 500)
        assert len(after_all.audio[0]) == len(before.audio[0])


@pytest.mark.parametrize(
    ("suffix", "sound"), [(".mkv", "flac"), (".mov", "aac"), (".webm", "libopus")]
)
def test_containers(tmp_path: Path, suffix: str, sound: str) -> None:
    source = film(tmp_path / "in.mkv", audio=[sound], time_base=_FRAME)
    enhance(source, tmp_path / f"whole{suffix}")
    target = tmp_path / f"out{suffix}"
    stopped(source, target, 25)
    enhance(source, target)
    assert packets(target) == packets(tmp_path / f"whole{suffix}")
    after = read_clip(target)
    assert after.numbers == list(range(66))
    assert after.audio == read_clip(source).audio


def test_segments_hold_what_one_go_holds(tmp_path: Path) -> None:
    """Times, lengths, colours, sound, chapters and names do not depend on the way."""
    source = film(tmp_path / "in.mp4", audio=["aac"], metadata={"title": "A walk"})
    turn(source, 90)
    long, _ = enhance(source, tmp_path / "long.mp4")
    short = enhance_file(source, tmp_path / "short.mp4", FakeEngine(2), segment_frames=0)
    assert (long.segments, short.segments) == (7, 0)
    a, b = read_clip(tmp_path / "long.mp4"), read_clip(tmp_path / "short.mp4")
    assert (a.seconds, a.duration, a.audio, a.audio_seconds) == (
        b.seconds,
        b.duration,
        b.audio,
        b.audio_seconds,
    )
    with av.open(str(tmp_path / "long.mp4")) as x, av.open(str(tmp_path / "short.mp4")) as y:
        assert x.metadata["title"] == y.metadata["title"] == "A walk"
        one, other = x.streams.video[0].codec_context, y.streams.video[0].codec_context
        assert (one.colorspace, one.color_range, one.width, one.height) == (
            other.colorspace,
            other.color_range,
            other.width,
            other.height,
        )
        keys = [p.pts for p in x.demux(video=0) if p.is_keyframe]
        step = Fraction(1, 25) / x.streams.video[0].time_base
        assert {int(p / step) for p in keys if p is not None} >= set(range(0, 66, LENGTH))


def test_decoding_times_increase_and_come_before_display(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", pts=_UNEVEN, time_base=TICKS)
    enhance(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    times = [p.dts for p in packets]
    assert all(b > a for a, b in itertools.pairwise(times))
    assert all(p.dts <= p.pts for p in packets)
    assert times != [p.pts for p in packets]  # there are B-frames


@pytest.mark.parametrize(("name", "jumps"), [("in.mp4", True), ("in.h264", False)])
def test_reading_goes_on_at_a_key_picture_where_that_is_exact(
    tmp_path: Path, name: str, jumps: bool
) -> None:
    """A raw stream has no times to find a picture by: all of it is decoded again."""
    options = {"options": {"bf": "0", "g": "6"}, "time_base": _FRAME}
    source, length = film(tmp_path / name, **options), 20
    with Reader(source, Reading()) as reader:
        first = list(reader.read(length, lambda number: number >= length - 4))
        then = [item.frame for item in reader.read(None, lambda number: False)]
        assert reader.ended and reader.position == 66
    tail = [item.mark for item in first if item.mark is not None]
    clean = first[-1].clean
    assert clean is jumps and len(tail) == 4
    with Reader(source, Reading()) as reader:
        assert reader.go(length, tail, clean)
        assert (reader.source.start > 0) is jumps
        again = [item.frame for item in reader.read(None, lambda number: False)]
        assert reader.ended and reader.position == 66
    assert [frame.pts for frame in again] == [frame.pts for frame in then]
    assert all((a.pixels == b.pixels).all() for a, b in zip(again, then, strict=True))


def test_a_film_that_gives_other_frames_than_before_is_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4")
    with Reader(source, Reading()) as reader:
        marks = [item.mark for item in reader.read(20, lambda number: number > 16)]
    tail = [mark for mark in marks if mark is not None]
    wrong = [*tail[:-1], Mark(tail[-1].pts, tail[-1].crc ^ 1)]
    with (
        Reader(source, Reading()) as reader,
        pytest.raises(InputError, match=r"does not give the frames .* --restart"),
    ):
        reader.go(20, wrong, True)


_SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from long_films import LENGTH, Stopping, enhance, film, packets, pictures, stopped
from video_clips import FakeEngine
import acf_edge.engine
class Slow(FakeEngine):
    def run(self, frame):
        time.sleep(0.02)
        return super().run(frame)
acf_edge.engine.load_engine = lambda bundle=None, **_: Slow(2)
from acf_edge.cli.main import main
sys.exit(main(["enhance", *sys.argv[1:], "--segment-frames", "10"]))
"""


def _start(source: Path, target: Path, *words: str) -> subprocess.Popen[str]:
    code = _SLOW.format(tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(target), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _await_segments(target: Path, process: subprocess.Popen[str], count: int) -> None:
    for _ in range(3000):
        if len(list(work_path(target).glob("segment-*.acfseg"))) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail("no segments")


def test_a_killed_process_loses_no_whole_segment(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", 100, audio=["aac"]), tmp_path / "out.mp4"
    for count in (2, 5):  # killed twice
        process = _start(source, target)
        _await_segments(target, process, count)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert not target.exists()
    process = _start(source, target)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "going on: " in errors and "100 frames" in out
    whole = _start(source, tmp_path / "whole.mp4")
    assert whole.wait(60) == 0
    whole.communicate()
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert read_clip(target).numbers == list(range(100))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4", "whole.mp4"]


@pytest.mark.parametrize("mode", ["on", "auto"])
def test_rebuilt_fields_go_on_where_they_were(tmp_path: Path, mode: str) -> None:
    """A picture is rebuilt from its neighbours in time, also from those before the stop."""
    interlaced = {"preset": "fast", "g": "15", "x264-params": "interlaced=1"}
    source, target = film(tmp_path / "in.mp4", options=interlaced), tmp_path / "out.mp4"
    whole, _ = enhance(source, tmp_path / "whole.mp4", deinterlace=mode)
    assert whole.frames == 66 and any("rebuilt" in note for note in whole.notes)
    kept = stopped(source, target, 37, deinterlace=mode).kept_frames
    summary, engine = enhance(source, target, deinterlace=mode)
    assert summary.resumed_frames == kept and engine.calls == 66 - kept
    assert summary.notes == whole.notes
    assert packets(target) == packets(tmp_path / "whole.mp4")
    enhance(source, tmp_path / "plain.mp4")
    assert packets(target) != packets(tmp_path / "plain.mp4")


def test_the_line_shows_frames_rate_and_the_time_that_is_left(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", 100), tmp_path / "out.mp4"
    ours, theirs = pty.openpty()
    code = _SLOW.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(target)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    # A terminal whose other end is gone is an error to read from.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    process.communicate(timeout=30)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode(errors="replace"))
    assert re.search(r"enhancing .*\b\d+/100 +\d+\.\d fps +0:00:0\d", text), text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_keep_the_work_and_say_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    source, target = film(tmp_path / "in.mp4", 100), tmp_path / "out.mp4"
    process = _start(source, target)
    _await_segments(target, process, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "frames are kept in" in errors and "run the same command again" in errors
    assert "Traceback" not in errors
    before = len(list(work_path(target).glob("segment-*.acfseg")))
    assert before >= 2 and not target.exists()
    # Impatience does no harm either.
    process = _start(source, target)
    _await_segments(target, process, before + 1)
    for _ in range(3):
        process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors
    assert len(list(work_path(target).glob("segment-*.acfseg"))) > before
    process = _start(source, target, "--json")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert '"resumed_frames": ' in out and '"frames": 100' in out
    assert read_clip(target).numbers == list(range(100))
