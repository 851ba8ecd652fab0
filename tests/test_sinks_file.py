"""Recordings: every picture at its time, sound in sync, nothing overwritten in silence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from sink_tools import TICKS, FilmSource, SilentSource, carry, info, moment, place_uri
from video_clips import numbered_picture, psnr, read_clip, smooth_picture, write_clip

from acf_edge.errors import InputError
from acf_edge.stream.protocols import SinkFailed
from acf_edge.stream.sinks.file import RecordingSink

SUFFIXES = [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts"]


def _record(
    path: Path, pictures: list[np.ndarray], pts: list[int], *, live: bool = False, **options: object
) -> list[str]:
    sink = RecordingSink(place_uri(path, **options))
    height, width = pictures[0].shape[:2]
    sink.open(info(width, height, live=live), (width, height), SilentSource())
    for picture, when in zip(pictures, pts, strict=True):
        sink.write(moment(picture, when))
    assert sink.frames == len(pictures)
    notes = list(sink.close())
    assert list(sink.close()) == notes  # twice is harmless
    return notes


def _numbered(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [numbered_picture(height, width, i) for i in range(count)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_variable_rate_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    pts = [90 * t for t in (0, 40, 41, 97, 160, 1333, 1334, 2000, 2040)]
    _record(path, _numbered(len(pts)), pts)
    after = read_clip(path)
    assert after.numbers == list(range(len(pts)))
    assert after.seconds == [t * TICKS for t in pts]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts"])
def test_times_are_exact_to_the_tick(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    pts = [180007, 180008, 183610, 187213, 270077, 270078, 400001]
    _record(path, _numbered(len(pts)), pts)
    assert read_clip(path).seconds == [t * TICKS for t in pts]


def test_coarse_milliseconds_stay_in_order(tmp_path: Path) -> None:
    """Two pictures within one millisecond: Matroska cannot hold that, and refuses equal times."""
    path = tmp_path / "out.mkv"
    pts = [0, 1, 7, 3600, 3601]
    notes = _record(path, _numbered(5), pts)
    after = read_clip(path)
    assert after.numbers == list(range(5))
    for got, wanted in zip(after.seconds, pts, strict=True):
        assert abs(got - wanted * TICKS) <= Fraction(2, 1000)
    assert any("milliseconds" in note for note in notes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_live_recording_begins_at_zero(tmp_path: Path, suffix: str) -> None:
    """A camera's clock counts from the start of the machine."""
    path = tmp_path / f"out{suffix}"
    start = 90000 * 3600 * 100
    _record(path, _numbered(4), [start + 3600 * i for i in range(4)], live=True)
    assert read_clip(path).seconds == [Fraction(i, 25) for i in range(4)]


def test_the_last_picture_keeps_its_length(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(64, 48), (64, 48), SilentSource())
    for i, picture in enumerate(_numbered(3)):
        sink.write(moment(picture, 3600 * i, duration=90000 if i == 2 else 3600))
    sink.close()
    assert read_clip(path).duration == Fraction(27, 25)


def test_another_unit_of_time_after_a_reconnect(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(64, 48, live=True), (64, 48), SilentSource())
    pictures = _numbered(4)
    sink.write(moment(pictures[0], 9000))
    sink.write(moment(pictures[1], 12600))
    sink.write(moment(pictures[2], 180, base=Fraction(1, 1000)))
    sink.write(moment(pictures[3], 220, base=Fraction(1, 1000)))
    sink.close()
    assert read_clip(path).seconds == [Fraction(t, 1000) for t in (0, 40, 80, 120)]


def test_time_that_runs_back_is_mended_and_said(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    notes = _record(path, _numbered(4), [0, 3600, 3600, 100])
    after = read_clip(path)
    assert after.numbers == [0, 1, 2, 3]
    assert after.seconds == sorted(set(after.seconds))
    assert any("2 pictures with a time that ran back" in note for note in notes)


def test_another_size_is_letterboxed_in_shape_and_said_once(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path, crf=1))
    sink.open(info(64, 48), (64, 48), SilentSource())
    sink.write(moment(np.full((48, 64, 3), 200, np.uint8), 0))
    sink.write(moment(np.full((96, 256, 3), 200, np.uint8), 3600))  # wider: bars above and below
    sink.write(moment(np.full((24, 8, 3), 200, np.uint8), 7200))  # narrower: bars at the sides
    notes = sink.close()
    after = read_clip(path)
    wide, narrow = after.rgb(1)[:, :, 1].astype(int), after.rgb(2)[:, :, 1].astype(int)
    assert wide[:10].max() < 30 and wide[-10:].max() < 30 and wide[15:33].min() > 180
    assert narrow[:, :22].max() < 30 and narrow[:, -22:].max() < 30 and narrow[:, 26:38].min() > 180
    assert [n for n in notes if "another size" in n] == [
        "2 pictures of another size, scaled to fit with black around them"
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts"])
@pytest.mark.parametrize("size", [(47, 64), (48, 63), (49, 65)])
def test_odd_sizes_keep_every_row_and_column(
    tmp_path: Path, size: tuple[int, int], suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    picture = smooth_picture(*size)
    notes = _record(path, [picture] * 2, [0, 3600], crf=1)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == size
        assert psnr(_second_opinion(frame), picture) > 40
    assert any("4:4:4" in note for note in notes)


def _second_opinion(frame: av.VideoFrame) -> np.ndarray:
    """4:4:4 limited BT.601 to RGB, from the definition."""
    y, u, v = (
        np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, : frame.width].astype(float)
        for p in frame.planes
    )
    y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], -1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def test_pixel_aspect_is_carried(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(64, 48, aspect=Fraction(16, 15)), (64, 48), SilentSource())
    sink.write(moment(numbered_picture(48, 64, 1), 0))
    sink.close()
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


@pytest.mark.parametrize(("held", "numbers"), [("keep", [0, 1, 1, 1, 4]), ("skip", [0, 1, 4])])
def test_held_pictures_by_option(tmp_path: Path, held: str, numbers: list[int]) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path, held=held))
    sink.open(info(64, 48, live=True), (64, 48), SilentSource())
    for i, number in enumerate([0, 1, 1, 1, 4]):
        sink.write(moment(numbered_picture(48, 64, number), 3600 * i, held=i in (2, 3)))
    notes = sink.close()
    after = read_clip(path)
    assert after.numbers == numbers
    assert after.seconds[-1] == Fraction(4, 25)  # the gap stays in the timeline
    assert any("2 pictures" in note and "source was away" in note for note in notes)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "aac"), (".mov", "aac"), (".mkv", "libopus"), (".webm", "libopus"), (".ts", "aac")],
)
def test_sound_is_copied_untouched_and_in_place(tmp_path: Path, suffix: str, codec: str) -> None:
    source = tmp_path / f"in{'.mkv' if codec == 'libopus' else '.mp4'}"
    target = tmp_path / f"out{suffix}"
    write_clip(source, _numbered(40), audio=[codec], time_base=Fraction(1, 25))
    carry(FilmSource(source), RecordingSink(place_uri(target)))
    before, after = read_clip(source), read_clip(target)
    assert after.numbers == list(range(40))
    assert len(after.audio) == 1
    strip = 7 if suffix == ".ts" else 0  # there every packet gets a header of its own
    assert [a[strip:] for a in after.audio[0]] == before.audio[0]
    shift = {
        a - b for a, b in zip(after.audio_seconds[0], before.audio_seconds[0], strict=True)
    } | {a - b for a, b in zip(after.seconds, before.seconds, strict=True)}
    assert max(shift) - min(shift) <= Fraction(1, 1000)


def test_two_recordings_share_one_source(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    write_clip(source, _numbered(20), audio=["aac"], time_base=Fraction(1, 25))
    targets = [tmp_path / "a.mp4", tmp_path / "b.mkv", tmp_path / "c.ts"]
    carry(FilmSource(source), *(RecordingSink(place_uri(t)) for t in targets))
    for target in targets:
        after = read_clip(target)
        assert after.numbers == list(range(20))
        assert len(after.audio[0]) == len(read_clip(source).audio[0])


def test_sound_without_a_place_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.webm"
    write_clip(source, _numbered(5), audio=["aac"])
    with pytest.raises(InputError, match=r"cannot hold the audio \(aac\).*audio=0"):
        carry(FilmSource(source), RecordingSink(place_uri(target)))
    assert not target.exists()
    carry(FilmSource(source), RecordingSink(place_uri(target, audio=False)))
    assert read_clip(target).audio == []


def test_a_camera_is_recorded_without_sound_that_has_no_place(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.webm"
    write_clip(source, _numbered(5), audio=["aac"])
    camera = FilmSource(source)
    camera.live = True
    notes = carry(camera, RecordingSink(place_uri(target)), live=True)
    assert any("(audio, aac) was left out" in note for note in notes)
    after = read_clip(target)
    assert after.audio == [] and len(after.numbers) == 5


def test_the_name_stands_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(64, 48), (64, 48), SilentSource())
    assert path.exists()
    sink.write(moment(numbered_picture(48, 64, 0), 0))
    sink.close()
    assert [p.name for p in path.parent.iterdir()] == ["out.mp4"]


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="overwrite=1"):
        _record(path, _numbered(2), [0, 3600])
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_overwriting_replaces_only_by_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    (tmp_path / "out.part.mp4").write_bytes(b"left by a crash")
    sink = RecordingSink(place_uri(path, overwrite=True))
    sink.open(info(64, 48), (64, 48), SilentSource())
    for i, picture in enumerate(_numbered(3)):
        sink.write(moment(picture, 3600 * i))
        assert path.read_bytes() == b"precious"
    assert (tmp_path / "out.part-2.mp4").exists()
    sink.close()
    assert read_clip(path).numbers == [0, 1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "out.part.mp4"]
    assert (tmp_path / "out.part.mp4").read_bytes() == b"left by a crash"


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(64, 48), (64, 48), SilentSource())
    assert any("no picture" in note for note in sink.close())
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.avi", {}, "cannot be written as '.avi'"),
        ("out", {}, "without suffix"),
        ("out.mp4", {"preset": "quick"}, "Unknown preset"),
        ("out.webm", {"encoder": "x264"}, "cannot hold"),
        ("folder.mp4", {}, "is a folder"),
        ("pipe.mp4", {"overwrite": True}, "not a plain file"),
        ("file.txt/out.mp4", {}, "file.txt"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, name: str, options: dict[str, object], words: str
) -> None:
    import os

    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.txt").write_text("text")
    os.mkfifo(tmp_path / "pipe.mp4")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        _record(tmp_path / name, _numbered(1), [0], **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_writing_to_what_is_not_open_fails(tmp_path: Path) -> None:
    sink = RecordingSink(place_uri(tmp_path / "out.mp4"))
    with pytest.raises(SinkFailed):
        sink.write(moment(numbered_picture(48, 64, 0), 0))
    assert list(sink.close()) == []
