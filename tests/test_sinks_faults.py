"""Full disks, removed folders, slow disks, signals: what was written plays."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from sink_tools import FilmSource, SilentSource, carry, info, moment, place_uri
from sync_tools import flash_and_beep, write_flash_and_beep
from video_clips import numbered_picture, read_clip, write_clip

from acf_edge.stream.protocols import SinkFailed
from acf_edge.stream.sinks import place
from acf_edge.stream.sinks.file import RecordingSink
from acf_edge.stream.sinks.images import ImageFolderSink

KINDS = [".mp4", ".mov", ".mkv", ".webm", ".ts"]


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: the write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _noisy(number: int) -> np.ndarray:
    """A numbered picture that does not compress."""
    picture = numbered_picture(96, 128, number)
    noise = np.random.default_rng(number).integers(0, 256, (48, 128, 3), dtype=np.uint8)
    picture[48:] = noise
    return picture


def _numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        from video_clips import read_number, yuv_to_rgb

        return [read_number(yuv_to_rgb(f, 6, False)) for f in container.decode(video=0)]


@pytest.mark.parametrize("suffix", KINDS)
def test_a_disk_too_full_for_the_beginning_leaves_nothing_that_does_not_play(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    sink = RecordingSink(place_uri(path))
    sink.open(info(128, 96, live=True), (128, 96), SilentSource())
    with file_limit(30_000):
        with contextlib.suppress(SinkFailed):
            for number in range(60):
                sink.write(moment(_noisy(number), 3600 * number))
        notes = sink.close()
    assert path.exists() == any("holds what was recorded" in note for note in notes)
    if path.exists():
        with av.open(str(path)) as container:
            assert next(container.decode(video=0), None) is not None


@pytest.mark.parametrize("suffix", KINDS)
def test_a_full_disk_ends_this_sink_and_what_was_written_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    sink = RecordingSink(place_uri(path))
    sink.open(info(128, 96), (128, 96), SilentSource())
    with file_limit(300_000), pytest.raises(SinkFailed, match="allowed here"):
        for i in range(200):
            sink.write(moment(_noisy(i), 3600 * i))
    written = sink.frames
    with pytest.raises(SinkFailed):
        sink.write(moment(_noisy(0), 10**9))
    notes = sink.close()
    assert any(str(path) in note for note in notes)
    numbers = _numbers(path)
    assert numbers == list(range(len(numbers)))
    assert 10 < len(numbers) <= written


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("short", [1, 40, 400, 1500])
def test_a_disk_that_is_full_at_the_very_end(tmp_path: Path, suffix: str, short: int) -> None:
    """The index no longer fits, or half of it."""
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"

    def record(target: Path) -> RecordingSink:
        sink = RecordingSink(place_uri(target))
        sink.open(info(128, 96), (128, 96), SilentSource())
        for i in range(30):
            sink.write(moment(_noisy(i), 3600 * i))
        return sink

    record(whole).close()
    with file_limit(whole.stat().st_size - short), contextlib.suppress(SinkFailed):
        sink = record(path)
        with contextlib.suppress(SinkFailed):
            sink.close()
        sink.close()
    numbers = _numbers(path)
    assert numbers == list(range(len(numbers)))
    # At most what is flushed at once is lost.
    assert len(numbers) >= 15


def test_a_really_full_disk_is_named(tmp_path: Path) -> None:
    """A small file system of its own, where that can be had."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        path = disk / "out.mp4"
        sink = RecordingSink(place_uri(path))
        sink.open(info(128, 96), (128, 96), SilentSource())
        with pytest.raises(SinkFailed, match="is full"):
            for i in range(300):
                sink.write(moment(_noisy(i), 3600 * i))
        sink.close()
        numbers = _numbers(path)
        assert len(numbers) > 5 and numbers == list(range(len(numbers)))
        pictures = ImageFolderSink(place_uri(disk / "pictures", "folder"))
        pictures.open(info(128, 96), (128, 96), SilentSource())
        with pytest.raises(SinkFailed, match="is full"):
            for i in range(300):
                pictures.write(moment(_noisy(i), 3600 * i))
        pictures.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_existing_file_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    sink = RecordingSink(place_uri(path, overwrite=True))
    sink.open(info(128, 96), (128, 96), SilentSource())
    with file_limit(200_000), pytest.raises(SinkFailed):
        for i in range(200):
            sink.write(moment(_noisy(i), 3600 * i))
    notes = sink.close()
    assert path.read_bytes() == b"precious"
    assert any("out.part.mp4" in note for note in notes)
    assert _numbers(tmp_path / "out.part.mp4")


@pytest.mark.parametrize("what", ["file", "folder", "moved"])
def test_a_removed_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("acf_edge.stream.sinks.file._CHECK_SECONDS", 0.0)
    folder = tmp_path / "recordings"
    sink = RecordingSink(place_uri(folder / "out.mp4"))
    sink.open(info(128, 96), (128, 96), SilentSource())
    for i in range(5):
        sink.write(moment(_noisy(i), 3600 * i))
    if what == "file":
        (folder / "out.mp4").unlink()
    elif what == "folder":
        shutil.rmtree(folder)
    else:
        (folder / "out.mp4").rename(folder / "elsewhere.mp4")
    with pytest.raises(SinkFailed, match="removed"):
        sink.write(moment(_noisy(5), 3600 * 5))
    sink.close()
    assert not (folder / "out.mp4").exists()


def test_a_file_removed_just_before_the_end_is_noticed_too(tmp_path: Path) -> None:
    sink = RecordingSink(place_uri(tmp_path / "out.mp4"))
    sink.open(info(128, 96), (128, 96), SilentSource())
    sink.write(moment(_noisy(0), 0))
    (tmp_path / "out.mp4").unlink()
    with pytest.raises(SinkFailed, match="removed"):
        sink.close()
    sink.close()


def test_an_old_file_that_cannot_be_replaced_stays_beside_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    sink = RecordingSink(place_uri(path, overwrite=True))
    sink.open(info(128, 96), (128, 96), SilentSource())
    sink.write(moment(_noisy(0), 0))

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(place.Path, "replace", refuse)
    with pytest.raises(SinkFailed, match=r"cannot be replaced.*out\.part\.mp4"):
        sink.close()
    assert path.read_bytes() == b"precious"
    assert _numbers(tmp_path / "out.part.mp4") == [0]


def test_a_slow_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    pictures = [numbered_picture(48, 64, i) for i in range(25)]
    write_clip(source, pictures, audio=["aac"], time_base=Fraction(1, 25))
    sink = RecordingSink(place_uri(target))
    inner = RecordingSink.write

    def slow(self: RecordingSink, item: object) -> None:
        time.sleep(0.005)
        inner(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordingSink, "write", slow)
    carry(FilmSource(source), sink)
    after = read_clip(target)
    assert after.numbers == list(range(25))
    assert len(after.audio[0]) == len(read_clip(source).audio[0])


# Records live pictures, 25 a second of the clip's clock, and says how far it is.
RECORDER = """
    import signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from sink_tools import SilentSource, info, moment, place_uri
    from video_clips import numbered_picture
    from acf_edge.stream.sinks.file import RecordingSink
    from acf_edge.stream.signals import stop_on_signals

    sink = RecordingSink(place_uri(Path({path!r})))
    sink.open(info(64, 48, live=True), (64, 48), SilentSource())
    with stop_on_signals() as stop:
        for i in range(100000):
            if stop.is_set():
                break
            sink.write(moment(numbered_picture(48, 64, i % 256), 3600 * i))
            if i in (50, 150):
                print("at", i, flush=True)
            if i >= 150:
                time.sleep(0.01)
    print(sink.frames, *sink.close(), flush=True)
"""


def _recorder(path: Path) -> subprocess.Popen[str]:
    script = textwrap.dedent(RECORDER).format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for wanted in ("at 50\n", "at 150\n"):
        line = process.stdout.readline()
        assert line == wanted, process.communicate()[1]
    return process


@pytest.mark.parametrize("suffix", KINDS)
def test_sigkill_leaves_a_file_that_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    process = _recorder(path)
    process.kill()
    process.communicate(timeout=10)
    numbers = _numbers(path)
    assert numbers == [i % 256 for i in range(len(numbers))]
    # A second and a half of 25 pictures: what is flushed at once, and what the encoder holds.
    assert len(numbers) >= 150 - 38


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_what_a_crash_leaves_is_in_sync(tmp_path: Path, suffix: str) -> None:
    """Only the encoder holds something back: a copy of the file is what a crash leaves."""
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    crashed = tmp_path / f"crashed{suffix}"
    write_flash_and_beep(source, "aac", seconds=4.0)
    seen = 0

    def copy_late(pixels: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += 1
        if seen == 80:
            shutil.copy(target, crashed)
        return pixels

    carry(FilmSource(source), RecordingSink(place_uri(target)), change=copy_late)
    drifts = [flash - beep for flash, beep in map(flash_and_beep, (source, target, crashed))]
    assert max(drifts) - min(drifts) <= 0.020


@pytest.mark.parametrize("suffix", KINDS)
def test_sigterm_leaves_a_whole_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    process = _recorder(path)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    frames = int(out.split()[0])
    after = read_clip(path)
    assert after.numbers == [i % 256 for i in range(frames)]
    if suffix != ".ts":  # it has no place for a length
        assert after.duration == pytest.approx(frames / 25, abs=0.05)
    if suffix in (".mp4", ".mov"):  # an index like that of any other file, not fragments
        data = path.read_bytes()
        assert b"moof" not in data[:64] and data.rindex(b"moov") > data.index(b"mdat")
