"""Bad input: one clear InputError each, and nothing half-written left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_clips import FakeEngine, numbered_picture, read_clip, smooth_picture, write_clip

from acf_edge.errors import InputError
from acf_edge.stream import EnhanceSummary, enhance_file


def _refused(source: Path, target: Path, match: str, **options: bool) -> None:
    """The error fits ``match`` on one line, and the target's folder is as it was."""
    folder = target.parent

    def names() -> list[str] | None:
        # In /proc processes come and go meanwhile: their numbers are left out.
        return (
            sorted(p.name for p in folder.iterdir() if not p.name.isdigit())
            if folder.is_dir()
            else None
        )

    before = names()
    with pytest.raises(InputError, match=match) as caught:
        enhance_file(source, target, FakeEngine(2), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert names() == before


def _clip(path: Path, count: int = 40, **options: object) -> Path:
    pictures = [smooth_picture(96, 128, i) for i in range(count)]
    write_clip(path, pictures, time_base=Fraction(1, 25), **options)  # type: ignore[arg-type]
    return path


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_names(tmp_path: Path) -> None:
    clip = _clip(tmp_path / "in.mp4", 2)
    _refused(tmp_path / "none.mp4", tmp_path / "out.mp4", "does not exist")
    _refused(tmp_path, tmp_path / "out.mp4", "is a folder")
    _refused(clip, tmp_path, "cannot be written as|is a folder")
    _refused(clip, clip, "is the input itself")
    _refused(clip, tmp_path / "out.xyz", r"'\.xyz'.*Choose one of: .*\.mkv, .*\.mp4")
    _refused(clip, tmp_path / "out", "a file without suffix")
    _refused(clip, tmp_path / "out.png", "no image")
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    _refused(clip, link, "is the input itself")
    _refused(Path("/dev/null"), tmp_path / "out.mp4", "is not a file")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm", ".mov"])
def test_a_text_file_named_like_a_video(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    source.write_text("This is not a video.\n" * 200)
    _refused(source, tmp_path / "out.mp4", "is not a video that can be read|no video stream")


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg", ".webp", ".mkv"])
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    source.touch()
    target = tmp_path / ("out.mp4" if suffix in (".mp4", ".mkv") else "out.png")
    _refused(source, target, "is empty")


def test_an_mp4_that_lost_its_index(tmp_path: Path) -> None:
    source = _cut(_clip(tmp_path / "in.mp4"), 0.6)
    _refused(source, tmp_path / "out.mp4", "is cut off: it ends before its index")
    _refused(source, tmp_path / "out.mp4", "is cut off", keep_damaged=True)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"container": {"movflags": "+faststart"}}),
        (".mov", {"container": {"movflags": "+faststart"}}),
        (".mkv", {}),
        (".avi", {"codec": "mpeg4", "options": {}}),
    ],
)
def test_a_video_that_is_cut_off(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    source = _cut(_clip(tmp_path / f"in{suffix}", **options), 0.6)
    target = tmp_path / "out.mp4"
    _refused(source, target, r"cut off: 40 % .*, \d+ of \d+ frames are readable.*--keep-damaged")
    summary = enhance_file(source, target, FakeEngine(2), keep_damaged=True)
    assert 10 < summary.frames < 30
    assert any("damaged" in note for note in summary.notes)
    assert len(read_clip(target).frames) == summary.frames


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_hardly_anything_left(tmp_path: Path, share: float) -> None:
    source = _clip(tmp_path / "in.mp4", container={"movflags": "+faststart"})
    _cut(source, share)
    _refused(source, tmp_path / "out.mp4", "cut off|could be decoded")
    _refused(source, tmp_path / "o.mp4", "cut off|could be decoded", keep_damaged=True)


def test_flipped_bytes_are_counted_not_refused(tmp_path: Path) -> None:
    source, target = _clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    data = bytearray(source.read_bytes())
    random = np.random.default_rng(0)
    start = data.index(b"mdat") + 4096
    for at in random.integers(start, len(data) - 8192, 200):
        data[at] = random.integers(256)
    source.write_bytes(bytes(data))
    summary = enhance_file(source, target, FakeEngine(2), keep_damaged=True)
    assert summary.frames + 3 >= 40
    assert summary.corrupt_frames > 0
    assert any("damaged by the decoder" in note for note in summary.notes)


def test_a_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    source, target = (
        _clip(tmp_path / "in.avi", codec="mpeg4", options={"g": "1"}),
        tmp_path / "o.mp4",
    )
    data = bytearray(source.read_bytes())
    at = [i for i in range(len(data)) if data.startswith(b"00dc", i)][20]
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = b"\xff" * size
    source.write_bytes(bytes(data))
    _refused(source, target, r"is damaged: \d+ frames were readable.*--keep-damaged")
    summary = enhance_file(source, target, FakeEngine(2), keep_damaged=True)
    assert summary.frames == 39


def test_a_sound_file_is_no_video(tmp_path: Path) -> None:
    import av
    from video_clips import _add_sound, _sound_packets

    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        stream, seed = _add_sound(out, "aac", 0)
        for packet in _sound_packets(stream, Fraction(1), seed):
            out.mux(packet)
    _refused(source, tmp_path / "out.mp4", "holds no video stream")


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.2, 0.7, 0.99])
def test_cut_off_images(tmp_path: Path, kind: str, share: float) -> None:
    source = tmp_path / f"in{kind}"
    cv2.imwrite(str(source), smooth_picture(64, 64))
    _cut(source, share)
    _refused(source, tmp_path / "out.png", "cut off or damaged")


def test_an_image_with_a_flipped_byte(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    cv2.imwrite(str(source), smooth_picture(64, 64))
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 0xFF
    source.write_bytes(bytes(data))
    _refused(source, tmp_path / "out.png", "cut off or damaged")


def test_a_text_file_named_png(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.write_text("hello")
    _refused(source, tmp_path / "out.png", "neither PNG nor JPEG nor WebP")


@pytest.mark.parametrize("name", ["in.mp4", "in.png"])
def test_output_folders_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    if name.endswith("mp4"):
        _clip(source, 2)
    else:
        cv2.imwrite(str(source), smooth_picture(16, 16))
    file = tmp_path / "file"
    file.write_text("in the way")
    _refused(source, file / f"out{source.suffix}", "file")
    _refused(source, Path("/proc") / f"out{source.suffix}", "/proc")
    _refused(source, Path("/sys/kernel") / f"out{source.suffix}", "/sys/kernel")
    assert file.read_text() == "in the way"


def test_an_existing_output_stays_when_the_input_is_bad(tmp_path: Path) -> None:
    source = _cut(_clip(tmp_path / "in.mp4", container={"movflags": "+faststart"}), 0.6)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    _refused(source, target, "cut off")
    assert target.read_bytes() == b"precious"


def test_an_engine_that_fails_stops_everything(tmp_path: Path) -> None:
    class Failing(FakeEngine):
        def run(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 7:
                raise RuntimeError("the engine broke")
            return super().run(frame)

    source = _clip(tmp_path / "in.mp4", 60)
    with pytest.raises(RuntimeError, match="the engine broke"):
        enhance_file(source, tmp_path / "out.mp4", Failing(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


@pytest.mark.parametrize("options", [{"crf": -1}, {"crf": 52}, {"preset": "warp"}])
def test_options_out_of_range(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        enhance_file(
            _clip(tmp_path / "in.mp4", 2),
            tmp_path / "out.mp4",
            FakeEngine(2),
            **options,  # type: ignore[arg-type]
        )


def test_pictures_too_large_for_the_encoder(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    write_clip(source, [smooth_picture(32, 4500)])
    with pytest.raises(InputError, match="18000x128 is larger than libx264 can write"):
        enhance_file(source, tmp_path / "out.mp4", FakeEngine(4))
    assert not (tmp_path / "out.mp4").exists()


_FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from video_clips import FakeEngine
from acf_edge.errors import InputError
from acf_edge.stream import enhance_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    enhance_file({source!r}, {target!r}, FakeEngine(4), crf=1)
except InputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.png"])
def test_a_file_that_may_not_grow(tmp_path: Path, name: str) -> None:
    """A size limit stands in for a full disk: both arrive as an error while writing."""
    folder = tmp_path / "there"
    folder.mkdir()
    if name.endswith("png"):
        source = tmp_path / "in.png"
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(source), noise)
    else:
        source = _clip(tmp_path / "in.mp4", 30)
    code = _FULL_DISK.format(
        tests=str(Path(__file__).parent),
        limit=4096,
        source=str(source),
        target=str(folder / name),
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert name in done.stdout
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import av
    from av.error import FFmpegError

    from acf_edge.stream.sink_file import FileSink

    def full(self: FileSink, frame: object) -> None:
        raise FFmpegError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSink, "_write_frame", full)
    assert av.error.FFmpegError is FFmpegError
    _refused(_clip(tmp_path / "in.mp4", 3), tmp_path / "out.mp4", "disk that holds .* is full")


_SLOW = """
import argparse, sys, time
sys.path.insert(0, {tests!r})
from video_clips import FakeEngine
import acf_edge.engine
class Slow(FakeEngine):
    def run(self, frame):
        time.sleep(0.03)
        print("frame", flush=True)
        return super().run(frame)
acf_edge.engine.load_engine = lambda bundle=None, **_: Slow(2)
from acf_edge.cli import enhance
parser = argparse.ArgumentParser()
enhance.add_arguments(parser)
sys.exit(enhance.run(parser.parse_args(sys.argv[1:])))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_signals_leave_a_playable_file(tmp_path: Path, number: signal.Signals, suffix: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_clip(source, [numbered_picture(48, 64, i) for i in range(250)], audio=["aac"])
    code = _SLOW.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(12):
        assert process.stdout.readline() == "frame\n"
    assert not target.exists()
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    after = read_clip(target)
    count = len(after.frames)
    assert 12 <= count < 60
    assert after.numbers == list(range(count))
    assert len(after.audio[0]) > 5
    assert f"interrupted: {count} of 250 frames in {target}" in errors
    assert "Traceback" not in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", target.name]


def test_the_summary_is_plain_data() -> None:
    import dataclasses
    import json

    summary = EnhanceSummary("a", "b", "video", "e", 1, None, 1.0, 1.0, 1, 1, 2, 2)
    assert json.loads(json.dumps(dataclasses.asdict(summary)))["frames_expected"] is None
