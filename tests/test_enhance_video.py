"""Videos: every frame once, its time, its sound, its way up, its text."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import (
    Contents,
    FakeEngine,
    Tags,
    numbered_picture,
    psnr,
    read_clip,
    smooth_picture,
    turn,
    write_clip,
)

from acf_edge.errors import InputError
from acf_edge.stream import EnhanceSummary, enhance_file

_TICKS = Fraction(1, 90000)


def _numbered(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [numbered_picture(height, width, i) for i in range(count)]


def _enhance(source: Path, suffix: str = ".mp4", scale: int = 2) -> tuple[EnhanceSummary, Contents]:
    target = source.with_name("out" + suffix)
    summary = enhance_file(source, target, FakeEngine(scale))
    assert not summary.interrupted
    return summary, read_clip(target)


@pytest.mark.parametrize(
    ("name", "options", "pts"),
    [
        ("constant rate", {"preset": "ultrafast"}, [i * 3600 for i in range(24)]),
        ("B-frames", {"preset": "fast", "bf": "3"}, [i * 3600 for i in range(24)]),
        ("29.97", {"preset": "ultrafast"}, [i * 3003 for i in range(24)]),
        (
            "variable rate",
            {"preset": "ultrafast"},
            [0, 1, 7, 3600, 3601, 9000, 90000, 90077, 180001, 180002, 450000],
        ),
        (
            "variable rate with B-frames",
            {"preset": "fast", "bf": "3"},
            [0, 1500, 3100, 3600, 9001, 12000, 12500, 17777, 40000, 45001, 45002, 60000],
        ),
        ("starts late", {"preset": "ultrafast"}, [180007 + i * 3600 for i in range(12)]),
        ("starts late with B-frames", {"bf": "2"}, [50001 + i * 3600 for i in range(12)]),
    ],
)
def test_every_frame_keeps_its_place_and_time(
    tmp_path: Path, name: str, options: dict[str, str], pts: list[int]
) -> None:
    source = tmp_path / "in.mp4"
    pictures = _numbered(len(pts))
    fine = {"movie_timescale": "90000"}  # or this writer itself rounds a late start
    write_clip(source, pictures, pts=pts, time_base=_TICKS, options=options, container=fine)
    before = read_clip(source)
    assert before.seconds == [t * _TICKS for t in pts]
    summary, after = _enhance(source)
    assert after.seconds == before.seconds
    assert after.numbers == list(range(len(pts)))
    assert summary.frames == len(pts) == summary.frames_expected
    assert (summary.width_in, summary.height_in) == (64, 48)
    assert (summary.width_out, summary.height_out) == (128, 96)
    assert (after.frames[0].width, after.frames[0].height) == (128, 96)


def test_the_last_frame_keeps_its_length(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    pts, lengths = [0, 3600, 7200, 10800], [3600, 3600, 3600, 45000]
    write_clip(source, _numbered(4), pts=pts, time_base=_TICKS, durations=lengths)
    assert read_clip(source).duration == 55800 * _TICKS
    for suffix in (".mp4", ".mov", ".mkv"):
        _, after = _enhance(source, suffix)
        assert after.duration == 55800 * _TICKS


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".webm", ".m4v"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in.mp4"
    pts = [0, 40, 80, 97, 160, 333]
    write_clip(source, _numbered(6), pts=pts, time_base=Fraction(1, 1000))
    _, after = _enhance(source, suffix)
    assert after.seconds == [Fraction(t, 1000) for t in pts]
    assert after.numbers == list(range(6))


def test_matroska_says_that_it_rounds_to_milliseconds(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    pts = [i * 3003 for i in range(10)]
    write_clip(source, _numbered(10), pts=pts, time_base=_TICKS)
    summary, after = _enhance(source, ".mkv")
    assert any("milliseconds" in note for note in summary.notes)
    for got, wanted in zip(after.seconds, pts, strict=True):
        assert abs(got - wanted * _TICKS) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", [".avi", ".ts", ".mkv", ".h264"])
def test_inputs_of_other_kinds(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    write_clip(source, _numbered(12), codec=codec, time_base=Fraction(1, 25), options={"bf": "0"})
    summary, after = _enhance(source)
    assert after.numbers == list(range(12))
    assert summary.frames == 12
    steps = {b - a for a, b in zip(after.seconds[:-1], after.seconds[1:], strict=True)}
    assert steps == {Fraction(1, 25)}


def test_missing_timestamps_follow_the_rate(tmp_path: Path) -> None:
    """AVI holds no presentation times; a raw stream none at all."""
    source = tmp_path / "in.avi"
    write_clip(source, _numbered(20), codec="mpeg4", time_base=Fraction(1, 25), options={"bf": "2"})
    _, after = _enhance(source)
    assert after.numbers == list(range(20))
    steps = {b - a for a, b in zip(after.seconds[:-1], after.seconds[1:], strict=True)}
    assert steps == {Fraction(1, 25)}


@pytest.mark.parametrize(
    ("source_suffix", "target_suffix", "codecs"),
    [
        (".mp4", ".mp4", ["aac"]),
        (".mp4", ".mp4", ["aac", "aac"]),
        (".mp4", ".mkv", ["aac", "mp3"]),
        (".mkv", ".mp4", ["libopus"]),
        (".mkv", ".webm", ["libopus", "libopus"]),
        (".avi", ".mp4", ["libmp3lame"]),
        (".mkv", ".mkv", ["pcm_s16le", "flac"]),
        (".ts", ".mp4", ["aac"]),
    ],
)
def test_audio_is_copied_untouched(
    tmp_path: Path, source_suffix: str, target_suffix: str, codecs: list[str]
) -> None:
    source = tmp_path / f"in{source_suffix}"
    codecs = ["libmp3lame" if c == "mp3" else c for c in codecs]
    video = "mpeg4" if source_suffix == ".avi" else "libx264"
    write_clip(source, _numbered(30), audio=codecs, codec=video, time_base=Fraction(1, 25))
    before = read_clip(source)
    summary, after = _enhance(source, target_suffix)
    assert summary.audio_streams == len(codecs) == len(after.audio)
    wanted = before.audio
    if source_suffix == ".ts":  # AAC sheds its 7-byte ADTS header in MP4; the sound is the rest
        wanted = [[packet[7:] for packet in packets] for packets in wanted]
    for got, packets in zip(after.audio, wanted, strict=True):
        assert len(packets) > 10
        assert got == packets
    for index in range(len(codecs)):
        lead_before = before.audio_seconds[index][0] - before.seconds[0]
        lead_after = after.audio_seconds[index][0] - after.seconds[0]
        assert abs(lead_after - lead_before) <= Fraction(1, 500)


def test_audio_lies_beside_its_picture_in_the_file(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source, _numbered(150), audio=["aac"])
    enhance_file(source, target, FakeEngine(2))
    with av.open(str(target)) as container:
        latest = {}
        for packet in container.demux():
            if packet.size and packet.dts is not None:
                latest[packet.stream_index] = float(packet.dts * packet.time_base)
                if len(latest) == 2:
                    assert abs(latest[0] - latest[1]) < 1.5


def test_webm_cannot_hold_aac_and_says_so_before_any_work(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.webm"
    write_clip(source, _numbered(5), audio=["aac"])
    engine = FakeEngine(2)
    with pytest.raises(InputError, match=r"'\.webm' cannot hold the audio \(aac\).*--no-audio"):
        enhance_file(source, target, engine)
    assert engine.calls == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]
    summary = enhance_file(source, target, engine, audio=False)
    assert summary.audio_streams == 0 and summary.frames == 5


def test_metadata_chapters_and_subtitles_are_kept(tmp_path: Path) -> None:
    film, words, source = tmp_path / "film.mkv", tmp_path / "words.srt", tmp_path / "in.mkv"
    write_clip(film, _numbered(25), audio=["aac"])
    words.write_text("1\n00:00:00,200 --> 00:00:00,600\nHello there\n\n")
    with (
        av.open(str(film)) as a,
        av.open(str(words)) as b,
        av.open(str(source), "w", format="matroska") as out,
    ):
        out.metadata.update({"title": "A walk", "artist": "Someone"})
        copies = {
            (c, s.index): out.add_stream_from_template(s) if s.type != "video" else None
            for c in (a, b)
            for s in c.streams
        }
        copies[(a, 0)] = out.add_stream_from_template(a.streams.video[0], opaque=True)
        out.streams[-1].metadata["language"] = "fra"
        next(s for s in out.streams if s.type == "audio").metadata["language"] = "deu"
        chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000)}
        out.set_chapters([{**chapter, "metadata": {"title": "First"}}])
        for c in (b, a):
            for packet in c.demux():
                if packet.dts is not None:
                    packet.stream = copies[(c, packet.stream_index)]
                    out.mux(packet)
    summary = enhance_file(source, tmp_path / "out.mkv", FakeEngine(2))
    with av.open(str(tmp_path / "out.mkv")) as out:
        titles = {k.lower(): v for k, v in out.metadata.items()}
        assert titles["title"] == "A walk" and titles["artist"] == "Someone"
        assert [c["metadata"]["title"] for c in out.chapters()] == ["First"]
        assert [s.type for s in out.streams].count("subtitle") == 1
        assert next(s for s in out.streams if s.type == "audio").language == "deu"
        texts = [bytes(p) for p in out.demux(subtitles=0) if p.size]
        assert texts == [b"Hello there"]
    assert not any("left out" in note for note in summary.notes)
    summary = enhance_file(source, tmp_path / "out.mp4", FakeEngine(2))
    assert any("subtitle" in note and "left out" in note for note in summary.notes)
    assert summary.audio_streams == 1


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_phone_clips_come_out_the_right_way_up(tmp_path: Path, degrees: int, mirror: bool) -> None:
    """What a player shows of the input is what the output holds, with no matrix left."""
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    coded = smooth_picture(48, 64)
    write_clip(source, [coded] * 3, options={"crf": "1"}, aspect=Fraction(4, 3))
    turn(source, degrees, mirror)
    shown = np.rot90(coded[:, ::-1] if mirror else coded, -degrees // 90)
    enhance_file(source, target, FakeEngine(2), crf=1)
    after = read_clip(target)
    wanted = np.ascontiguousarray(shown.repeat(2, 0).repeat(2, 1))
    assert after.frames[0].rotation == 0
    assert psnr(after.rgb(), wanted) > 32
    with av.open(str(target)) as container:
        aspect = container.streams.video[0].sample_aspect_ratio
    assert aspect == (Fraction(3, 4) if degrees in (90, 270) else Fraction(4, 3))


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    pictures = [smooth_picture(47, 63, i) for i in range(3)]
    write_clip(source, pictures, codec="ffv1", pixel_format="yuv444p", options={})
    for suffix in (".mp4", ".webm"):
        summary, after = _enhance(source, suffix, scale=1)
        assert (after.frames[0].width, after.frames[0].height) == (63, 47)
        assert any("4:4:4" in note for note in summary.notes)
    summary, after = _enhance(source, ".mp4", scale=2)
    assert (after.frames[0].width, after.frames[0].height) == (126, 94)
    assert after.frames[0].format.name == "yuv420p"


def test_ten_bits_become_eight_and_it_is_said(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, _numbered(3), codec="ffv1", pixel_format="yuv420p10le", options={})
    summary, after = _enhance(source)
    assert after.numbers == [0, 1, 2]
    assert any("10-bit" in note for note in summary.notes)


def test_frames_that_change_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    source, parts = tmp_path / "in.ts", [tmp_path / "a.ts", tmp_path / "b.ts"]
    write_clip(parts[0], _numbered(5, 48, 64), tags=Tags(6, 1))
    later = [numbered_picture(96, 128, 5 + i) for i in range(5)]
    pts = [(5 + i) * 512 for i in range(5)]
    write_clip(parts[1], later, pts=pts, tags=Tags(6, 1))
    source.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    summary, after = _enhance(source)
    assert {(f.width, f.height) for f in after.frames} == {(128, 96)}
    assert after.numbers == list(range(10))
    assert any("another size" in note for note in summary.notes)


def test_progress_counts_up_to_the_end(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    write_clip(source, _numbered(10))
    seen: list[tuple[int, int | None]] = []
    enhance_file(
        source, tmp_path / "o.mp4", FakeEngine(2), on_progress=lambda n, of: seen.append((n, of))
    )
    assert seen[-1] == (10, 10)
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)


def test_cancelling_leaves_a_whole_file_of_what_was_done(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source, _numbered(100), audio=["aac"])
    cancel = threading.Event()
    engine = FakeEngine(2)

    class Stopping(FakeEngine):
        def run(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 10:
                cancel.set()
            return super().run(frame)

    engine = Stopping(2)
    summary = enhance_file(source, target, engine, cancel=cancel)
    after = read_clip(target)
    assert summary.interrupted and summary.frames_expected == 100
    assert 10 <= summary.frames < 30
    assert after.numbers == list(range(summary.frames))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_cancelled_before_the_first_frame_writes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source, _numbered(10))
    target.write_bytes(b"what was here before")
    cancel = threading.Event()
    cancel.set()
    summary = enhance_file(source, target, FakeEngine(2), cancel=cancel)
    assert summary.interrupted and summary.frames == 0
    assert target.read_bytes() == b"what was here before"


def test_cancelling_after_the_end_is_no_interruption(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    write_clip(source, _numbered(3))
    cancel = threading.Event()
    summary = enhance_file(
        source,
        tmp_path / "out.mp4",
        FakeEngine(2),
        cancel=cancel,
        on_progress=lambda done, of: cancel.set() if done == 3 else None,
    )
    assert summary.frames == 3 and not summary.interrupted
