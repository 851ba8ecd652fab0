"""Recordings whose clock leaps, and how files say how long they are."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from video_clips import FakeEngine, numbered_picture, read_clip, write_clip

from acf_edge.stream import enhance_file
from acf_edge.stream.integrity import read_promise


def test_joined_recordings_become_one(tmp_path: Path) -> None:
    """Two transport streams in a row: the second one's clock starts again."""
    parts = []
    for number in range(2):
        part = tmp_path / f"{number}.ts"
        pictures = [numbered_picture(48, 64, 50 * number + i) for i in range(50)]
        write_clip(part, pictures, audio=["aac"], time_base=Fraction(1, 25), options={"bf": "0"})
        parts.append(part.read_bytes())
    source, target = tmp_path / "in.ts", tmp_path / "out.mp4"
    source.write_bytes(b"".join(parts))
    summary = enhance_file(source, target, FakeEngine(2))
    after = read_clip(target)
    assert after.numbers == list(range(100))
    steps = [b - a for a, b in zip(after.seconds[:-1], after.seconds[1:], strict=True)]
    assert all(step == Fraction(1, 25) for i, step in enumerate(steps) if i != 49)
    assert 0 < steps[49] < Fraction(1, 5)
    assert any("leapt" in note for note in summary.notes)
    # The sound of the second part starts with its pictures.
    assert len(after.audio[0]) > 150
    sound = after.audio_seconds[0]
    assert abs((sound[-1] - sound[0]) - (after.seconds[-1] - after.seconds[0])) < Fraction(1, 5)


def test_a_long_pause_is_no_leap(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    pts = [0, 1000, 600_000, 3_000_000]  # milliseconds: ten minutes, then forty
    pictures = [numbered_picture(48, 64, i) for i in range(4)]
    write_clip(source, pictures, pts=pts, time_base=Fraction(1, 1000))
    summary = enhance_file(source, target, FakeEngine(2))
    assert read_clip(target).seconds == [Fraction(t, 1000) for t in pts]
    assert summary.notes == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts"])
def test_whole_files_keep_their_promise(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    write_clip(
        path,
        [numbered_picture(48, 64, i) for i in range(30)],
        codec=codec,
        options={},
        time_base=Fraction(1, 25),
    )
    assert read_promise(path).missing == 0
    assert not read_promise(path).lacks_index
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    cut = read_promise(path)
    if suffix == ".ts":
        assert cut.missing == 0  # a transport stream has no outer structure
    else:
        assert cut.missing == size - size // 2 or cut.lacks_index


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",  # live
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"RIFF\xff\xff\xff\xffAVI LIST",
        struct.pack(">I4s", 0, b"mdat") + b"x" * 50,  # up to the end, whatever it is
        struct.pack(">I4s", 3, b"ftyp") + b"x" * 50,
        struct.pack(">I4s", 1, b"mdat"),
    ],
)
def test_what_promises_nothing_misses_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert read_promise(path).missing == 0


def test_the_runtime_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import acf_edge.stream, acf_edge.cli.enhance"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
