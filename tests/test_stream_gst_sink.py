"""GStreamer as sink: pipelines of the user's, and windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from gst_tools import (
    clip_reader,
    moment,
    need_gstreamer,
    read,
    sink_uri,
    stream_info,
)
from video_clips import (
    Image,
    numbered_picture,
    psnr,
    read_clip,
    read_number,
    smooth_picture,
)

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.gst.display import DisplaySink
from acf_edge.stream.gst.sink import GstSink
from acf_edge.stream.protocols import SinkFailed, StreamInfo

need_gstreamer("videotestsrc", "x264enc", "avdec_h264", "matroskamux", "h264parse")

# Sink


def write_all(
    sink: GstSink | DisplaySink,
    pictures: list[Image],
    info: StreamInfo,
    size: tuple[int, int] | None = None,
) -> list[str]:
    sink.open(info, size or (info.width, info.height), None)  # type: ignore[arg-type]
    try:
        for number, picture in enumerate(pictures):
            sink.write(moment(picture, number, info.colour))
    finally:
        notes = list(sink.close())
    return notes


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("code_range", [1, 2])
def test_colours_survive_the_way_through_a_sink_and_a_source(
    matrix: int, code_range: int, tmp_path: Path
) -> None:
    path = tmp_path / "out.mkv"
    picture = smooth_picture(96, 128, 3)
    colour = Colour(matrix, code_range, 1, 1)
    sink = GstSink(
        sink_uri(
            "gst:x264enc pass=quant quantizer=4 speed-preset=ultrafast bframes=0 ! h264parse ! "
            f"matroskamux ! filesink location={path}"
        )
    )
    write_all(sink, [picture] * 3, stream_info(128, 96, colour=colour))
    info, frames = read(clip_reader(path))
    assert (info.tags.matrix, info.tags.range) == (matrix, code_range)
    for frame in frames:
        assert psnr(frame.pixels, picture) >= 45
        difference = frame.pixels.astype(np.int16) - picture
        assert abs(float(difference.mean())) <= 1
    # A reader that shares no code with us sees the same.
    assert psnr(read_clip(path).rgb(0, matrix, code_range == 2), picture) >= 43
    # Read with the other matrix, the same stream fails: the test can.
    wrong = {1: "bt601", 6: "bt709"}[matrix]
    if code_range == 1:
        _, spoilt = read(f"{clip_reader(path)} ! capssetter caps=video/x-raw,colorimetry={wrong}")
        assert psnr(spoilt[0].pixels, picture) < 38


def test_a_pipeline_gets_every_picture_of_a_file_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    sink = GstSink(
        sink_uri(
            "gst:x264enc tune=zerolatency speed-preset=ultrafast ! h264parse ! matroskamux ! "
            f"filesink location={path}"
        )
    )
    pictures = [numbered_picture(48, 64, n) for n in range(20)]
    assert sink.lossless
    assert write_all(sink, pictures, stream_info()) == []
    contents = read_clip(path)
    assert contents.numbers == list(range(20))
    assert contents.seconds == [Fraction(n, 25) for n in range(20)]


def test_odd_sizes_and_other_sizes_are_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    sink = GstSink(
        sink_uri(f"gst:x264enc speed-preset=ultrafast ! matroskamux ! filesink location={path}")
    )
    pictures = [numbered_picture(45, 75, 85), numbered_picture(90, 150, 170)]
    write_all(sink, pictures, stream_info(75, 45))
    frames = read(clip_reader(path))[1]
    assert [frame.pixels.shape for frame in frames] == [(45, 75, 3)] * 2
    assert [read_number(frame.pixels) for frame in frames] == [85, 170]


def test_a_slow_pipeline_holds_a_file_back_and_drops_of_a_camera() -> None:
    slow = "gst:identity sleep-time=20000 ! fakesink sync=false"
    pictures = [numbered_picture(48, 64, n) for n in range(12)]
    begin = time.monotonic()
    assert write_all(GstSink(sink_uri(slow)), pictures, stream_info()) == []
    assert time.monotonic() - begin > 0.2  # every one of them went through
    notes = write_all(GstSink(sink_uri(slow)), pictures, stream_info(live=True))
    assert any("found the pipeline busy" in note for note in notes)


def test_a_pipeline_that_fails_fails_alone_and_says_why() -> None:
    sink = GstSink(sink_uri("gst:identity error-after=3 ! fakesink"))
    sink.open(stream_info(), (64, 48), None)  # type: ignore[arg-type]
    with pytest.raises(SinkFailed, match="Failed after iterations"):
        for number in range(500):
            sink.write(moment(numbered_picture(48, 64, 1), number, stream_info().colour))
            time.sleep(0.002)
    sink.close()
    assert sink.close() == ()


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("filesink location=/nonesuch/x", "/nonesuch/x"),
        ("nonesuch", "'nonesuch'"),
        ("videoconvert ! audioconvert ! fakesink", "could not link"),
    ],
)
def test_a_sink_pipeline_that_cannot_be_is_refused_at_once(pipeline: str, words: str) -> None:
    sink = GstSink(sink_uri(f"gst:{pipeline}"))
    with pytest.raises(InputError) as caught:
        sink.open(stream_info(), (64, 48), None)  # type: ignore[arg-type]
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_closing_a_sink_that_got_nothing_does_not_wait() -> None:
    sink = GstSink(sink_uri("gst:fakesink sync=true"))
    sink.open(stream_info(), (64, 48), None)  # type: ignore[arg-type]
    begin = time.monotonic()
    assert sink.close() == ()
    assert time.monotonic() - begin < 3


# Window


def test_a_machine_without_a_screen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    from acf_edge.stream.gst.elements import works

    if works("kmssink") or works("nvdrmvideosink"):
        pytest.skip("this machine has a screen")
    with pytest.raises(InputError, match="no screen"):
        DisplaySink(sink_uri("display://")).open(
            stream_info(),
            (64, 48),
            None,  # type: ignore[arg-type]
        )


def test_a_window_takes_pictures_and_a_file_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    from acf_edge.stream.gst import display

    # What draws is left out; everything before it runs.
    monkeypatch.setitem(display._BEFORE, "fakesink", "videoconvert ! ")
    monkeypatch.setattr(display, "choose_window", lambda *_: display.Window("fakesink"))
    pictures = [numbered_picture(48, 64, n) for n in range(10)]
    begin = time.monotonic()
    write_all(DisplaySink(sink_uri("display://")), pictures, stream_info())
    assert time.monotonic() - begin > 0.2
    write_all(DisplaySink(sink_uri("display://")), pictures, stream_info(live=True))


SHOW = """
import sys, time
sys.path[:0] = {paths!r}
from gst_tools import moment, sink_uri, stream_info
from video_clips import numbered_picture
from acf_edge.stream.gst.display import DisplaySink
sink, info = DisplaySink(sink_uri("display://")), stream_info(160, 120, live=True)
sink.open(info, (160, 120), None)
for number in range({frames}):
    sink.write(moment(numbered_picture(120, 160, 0xA5), number, info.colour))
    time.sleep(0.04)
sink.close()
"""


@pytest.mark.skipif(
    not shutil.which("xvfb-run") or not shutil.which("ffmpeg"), reason="needs xvfb-run and ffmpeg"
)
def test_a_window_shows_the_picture(tmp_path: Path) -> None:
    need_gstreamer("ximagesink")
    script, shot = tmp_path / "show.py", tmp_path / "shot.png"
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    script.write_text(SHOW.format(paths=paths, frames=100), encoding="utf-8")
    grab = f"ffmpeg -v error -y -f x11grab -video_size 320x240 -i $DISPLAY -frames:v 1 {shot}"
    command = f"{sys.executable} {script} & sleep 2.5; {grab}; kill %1"
    subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 320x240x24", "bash", "-c", command],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=60,
        check=False,
        capture_output=True,
    )
    from acf_edge.imaging.files import read_image

    assert read_number(read_image(shot)[:120, :160]) == 0xA5
