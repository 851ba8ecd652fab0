"""GStreamer as source and sink, with software elements."""

from __future__ import annotations

import gc
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from gst_tools import (
    clip_reader,
    descriptors,
    need_gstreamer,
    read,
    source_uri,
    threads,
)
from video_clips import (
    Tags,
    psnr,
    smooth_picture,
    turn,
    write_clip,
)

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.source import GstSource
from acf_edge.stream.protocols import SourceLost
from acf_edge.stream.source_file import FileSource

need_gstreamer("videotestsrc", "x264enc", "avdec_h264", "matroskamux", "h264parse")

LIVE = "gst:videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=50/1"


# Source


def test_a_pipeline_is_read_to_its_end_with_its_times() -> None:
    info, frames = read(
        "gst:videotestsrc num-buffers=12 ! video/x-raw,format=I420,width=64,height=48,"
        "framerate=30000/1001"
    )
    assert (info.width, info.height, info.rate) == (64, 48, Fraction(30000, 1001))
    assert not info.live
    assert [frame.seconds for frame in frames] == [Fraction(1001 * n, 30000) for n in range(12)]
    assert all(frame.duration * frame.time_base == Fraction(1001, 30000) for frame in frames)
    assert all(frame.pixels.shape == (48, 64, 3) for frame in frames)


def test_a_slow_reader_of_a_file_misses_nothing() -> None:
    source = GstSource(
        source_uri("gst:videotestsrc num-buffers=30 ! video/x-raw,width=32,height=32")
    )
    source.open()
    count = 0
    for _ in source.items():
        time.sleep(0.005)
        count += 1
    source.close()
    assert count == 30


def test_a_slow_reader_of_a_camera_gets_the_newest() -> None:
    source = GstSource(source_uri(LIVE))
    assert source.open().live
    times = []
    for frame in source.items():
        assert isinstance(frame, Frame)
        times.append(frame.seconds)
        if len(times) == 6:
            break
        time.sleep(0.2)  # ten frames of the camera
    source.close()
    # Two wait at most, so each is at most two frames behind; none is ten.
    assert times[-1] - times[1] > Fraction(6, 10)


def test_liveness_is_what_gstreamer_says_not_what_the_elements_look_like() -> None:
    # The name of a live element stands in it, yet it is none.
    text = "gst:videotestsrc name=v4l2src num-buffers=40 ! video/x-raw,width=32,height=32"
    source = GstSource(source_uri(text))
    assert source.live
    assert not source.open().live
    assert not source.live
    source.close()


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "code_range", "size"),
    [
        ("yuv420p", 1, 1, (96, 128)),
        ("yuv420p", 6, 1, (96, 128)),
        ("yuv420p", 1, 2, (96, 128)),
        ("yuv420p", 6, 2, (96, 128)),
        ("yuv420p", 2, 0, (96, 128)),  # untagged
        ("yuv420p", 2, 0, (96, 1280)),  # untagged and large
        ("yuv422p", 1, 1, (96, 128)),
        ("yuv444p", 6, 1, (97, 131)),
        ("yuv420p10le", 1, 1, (96, 128)),
        ("yuv422p10le", 1, 2, (96, 128)),
    ],
)
def test_the_pixels_are_those_that_pyav_reads(
    pixel_format: str, matrix: int, code_range: int, size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "clip.mkv"
    pictures = [smooth_picture(*size, seed) for seed in range(2)]
    tags = Tags(matrix, code_range, *((1, 1) if matrix != 2 else (2, 2)))
    written = matrix if matrix != 2 else 6
    write_clip(path, pictures, pixel_format=pixel_format, matrix=written, tags=tags)
    with FileSource(path) as source:
        wanted = [item for item in source.items() if isinstance(item, Frame)]
    info, frames = read(clip_reader(path))
    assert info.tags == tags_as(tags)
    assert [f.colour for f in frames] == [f.colour for f in wanted]
    assert [f.seconds for f in frames] == [f.seconds for f in wanted]
    for ours, theirs in zip(frames, wanted, strict=True):
        assert np.array_equal(ours.pixels, theirs.pixels)
    assert any("10-bit" in note for note in info.notes) == ("10" in pixel_format)


def tags_as(tags: Tags) -> Colour:
    return Colour(tags.matrix, tags.range, tags.primaries, tags.transfer)


@pytest.mark.parametrize("name", ["RGB", "BGRx", "YUY2", "NV12", "Y444", "P010_10LE", "GRAY8"])
def test_every_layout_of_pixels_shows_the_same_picture(name: str) -> None:
    # Odd sizes have rows that end in padding, and half a chroma sample.
    base = (
        "gst:videotestsrc pattern=ball num-buffers=1 ! video/x-raw,format=I420,width=77,height=51"
    )
    wanted = read(base)[1][0].pixels
    found = read(f"{base} ! videoconvert dither=none ! video/x-raw,format={name}")[1][0].pixels
    assert psnr(found, wanted) > 38


def test_a_change_of_size_and_colour_is_followed() -> None:
    info, frames = read(
        "gst:videotestsrc num-buffers=4 ! video/x-raw,format=I420,width=64,height=48,"
        "colorimetry=bt601 ! c. "
        "videotestsrc num-buffers=4 ! video/x-raw,format=NV12,width=96,height=64,"
        "colorimetry=bt709 ! c. concat name=c"
    )
    assert (info.width, info.height) == (64, 48)
    assert [frame.pixels.shape[:2] for frame in frames] == [(48, 64)] * 4 + [(64, 96)] * 4
    assert [frame.colour.matrix for frame in frames] == [6] * 4 + [1] * 4
    times = [frame.pts for frame in frames]
    assert times == sorted(set(times))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phones_video_is_turned_upright(degrees: int, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    write_clip(path, [smooth_picture(64, 96)] * 3)
    turn(path, degrees)
    with FileSource(path) as source:
        wanted = [item.pixels for item in source.items() if isinstance(item, Frame)]
    info, frames = read(clip_reader(path))
    assert (info.height, info.width) == wanted[0].shape[:2]
    for ours, theirs in zip(frames, wanted, strict=True):
        assert np.array_equal(ours.pixels, theirs)


def test_interlaced_video_is_said() -> None:
    info, _ = read(
        "gst:videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48,"
        "interlace-mode=interleaved"
    )
    assert any("interlaced" in note for note in info.notes)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("nonesuch ! identity", "needs the GStreamer element 'nonesuch'"),
        ("videotestsrc ! audioconvert", "could not link"),
        ("videotestsrc num-buffers=0", "ended before its first frame"),
        ("filesrc location=/nonesuch/a.mkv ! decodebin", "No such file"),
        ("audiotestsrc num-buffers=3 ! audioconvert", "could not link"),
        ("videotestsrc ! identity error-after=1", "Failed after iterations"),
    ],
)
def test_a_pipeline_that_does_not_work_is_told_in_one_line(pipeline: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(f"gst:{pipeline}")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_error_in_the_middle_of_a_file_is_told_after_its_frames() -> None:
    source = GstSource(
        source_uri(
            "gst:videotestsrc ! video/x-raw,width=32,height=32 ! identity error-after=5 ! queue"
        )
    )
    source.open()
    seen = 0
    with pytest.raises(InputError, match="Failed after iterations"):
        for _ in source.items():
            seen += 1
    source.close()
    assert seen >= 3


def test_a_camera_that_fails_or_ends_is_lost_not_wrong() -> None:
    for element, words in (("error-after=6", "Failed after"), ("eos-after=6", "stream ended")):
        source = GstSource(source_uri(f"{LIVE} ! identity {element}"))
        source.open()
        with pytest.raises(SourceLost, match=words):
            for _ in source.items():
                pass
        source.close()


def test_a_camera_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    source = GstSource(source_uri(f"{LIVE} ! valve name=v"))
    source.open()
    source._silence = 0.5
    source._session._pipeline.get_by_name("v").set_property("drop", True)  # type: ignore[union-attr]
    with pytest.raises(SourceLost, match="no frame for"):
        for _ in source.items():
            pass
    source.close()


def test_a_camera_that_is_not_there_is_wrong_at_first() -> None:
    need_gstreamer("v4l2src")
    source = GstSource(source_uri("v4l2:///dev/video987?backend=gst"))
    with pytest.raises(InputError, match="/dev/video987"):
        source.open()
    source.close()


def test_time_goes_on_when_a_source_is_opened_again() -> None:
    source = GstSource(source_uri(LIVE))
    times: list[Fraction] = []
    for _ in range(3):
        source.open()
        for number, frame in enumerate(source.items()):
            assert isinstance(frame, Frame)
            times.append(frame.seconds)
            if number == 3:
                break
        source.close()
        time.sleep(0.1)
    assert times == sorted(set(times))
    assert 0.25 < times[-1] - times[0] < 5


def test_close_ends_a_reader_that_waits() -> None:
    source = GstSource(source_uri(f"{LIVE} ! valve name=v"))
    source.open()
    source._session._pipeline.get_by_name("v").set_property("drop", True)  # type: ignore[union-attr]
    over = threading.Event()

    def wait() -> None:
        for _ in source.items():
            pass
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.2)
    source.close()
    assert over.wait(3)


def test_opening_and_closing_leaves_nothing_behind() -> None:
    def round_trip() -> None:
        source = GstSource(source_uri(LIVE))
        source.open()
        next(source.items())
        source.close()

    for _ in range(5):
        round_trip()
    gc.collect()
    before = descriptors(), threads()
    for _ in range(20):
        round_trip()
    gc.collect()
    after = descriptors(), threads()
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 1
