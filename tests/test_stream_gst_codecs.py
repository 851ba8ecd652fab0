"""What cameras send over RTSP: other codecs, sound beside the pictures, fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gst_tools import free_port, need_gstreamer
from rtsp_tools import frames_of, watching

from acf_edge.errors import InputError
from acf_edge.stream.gst.rtsp_hub import Place, give_back, take_server

need_gstreamer("rtspsrc", "rtph264pay", "x264enc", "avdec_h264", "h264parse", rtsp=True)

PICTURES = (
    "videotestsrc is-live=true pattern=smpte75 ! "
    "video/x-raw,format=I420,width=160,height=120,framerate=25/1"
)
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 ! rtph264pay name=pay0 pt=96"


@contextmanager
def camera(*branches: str) -> Iterator[str]:
    """An RTSP server of GStreamer's own making; yields its address."""
    from acf_edge.stream.gst.load import load_rtsp_server

    place = Place("127.0.0.1", free_port())
    server = take_server(place)
    try:
        factory = load_rtsp_server().RTSPMediaFactory.new()
        factory.set_launch(f"( {' '.join(branches)} )")
        factory.set_shared(True)
        server.mount("/camera", factory, lambda: None)
        yield f"rtsp://127.0.0.1:{place.port}/camera"
        server.unmount("/camera")
    finally:
        give_back(server)


@pytest.mark.parametrize(
    ("encoder", "payloader", "needed"),
    [
        ("x265enc tune=zerolatency speed-preset=ultrafast key-int-max=5 log-level=none",
         "rtph265pay", ("x265enc", "avdec_h265", "h265parse")),
        ("jpegenc quality=95", "rtpjpegpay", ("jpegenc", "jpegdec", "jpegparse")),
        ("vp8enc deadline=1 keyframe-max-dist=5", "rtpvp8pay", ("vp8enc", "vp8dec")),
    ],
    ids=["H265", "JPEG", "VP8"],
)  # fmt: skip
def test_other_codecs_are_read(encoder: str, payloader: str, needed: tuple[str, ...]) -> None:
    need_gstreamer(*needed)
    with (
        camera(f"{PICTURES} ! {encoder} ! {payloader} name=pay0 pt=96") as address,
        watching(address, "&timeout=5") as source,
    ):
        info = source.open()
        assert (info.width, info.height) == (160, 120)
        pixels = frames_of(source, 5)[-1].pixels
    # Three quarters of white, yellow, ..., blue stand side by side.
    left, right = pixels[20, 10].astype(int), pixels[20, 150].astype(int)
    assert left.min() > 150 and right[2] > 150 and right[:2].max() < 60


def test_sound_beside_the_pictures_is_left_alone() -> None:
    need_gstreamer("alawenc", "rtppcmapay")
    sound = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 pt=8"
    with (
        camera(f"{PICTURES} ! {H264}", sound) as address,
        watching(address, "&timeout=5") as source,
    ):
        info = source.open()
        assert any("audio" in note for note in info.notes)
        assert source.copyable() == ()
        assert len(frames_of(source, 5)) == 5


def test_sound_without_pictures_is_no_source() -> None:
    need_gstreamer("alawenc", "rtppcmapay")
    from acf_edge.stream.protocols import SourceLost

    with (
        camera("audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8") as address,
        watching(address, "&timeout=0.5") as source,
        pytest.raises((InputError, SourceLost)) as caught,
    ):
        source.open()
    assert "\n" not in str(caught.value)


def test_a_codec_that_is_not_read_is_named() -> None:
    need_gstreamer("theoraenc", "rtptheorapay")
    with (
        camera(f"{PICTURES} ! theoraenc ! rtptheorapay name=pay0 pt=96") as address,
        watching(address, "&timeout=5") as source,
        pytest.raises(InputError, match="sends 'THEORA'"),
    ):
        source.open()


@pytest.mark.parametrize("asked", [False, True])
def test_fields_are_said_and_made_whole_on_request(asked: bool) -> None:
    need_gstreamer("interlace", "deinterlace")
    fields = (
        PICTURES.replace("25/1", "50/1") + " ! interlace field-pattern=1:1 top-field-first=true"
    )
    query = "&timeout=5&deinterlace=on" if asked else "&timeout=5"
    encoder = H264.replace("x264enc ", "x264enc interlaced=true ")
    with (
        camera(f"{fields} ! {encoder}") as address,
        watching(address, query) as source,
    ):
        info = source.open()
        frames = frames_of(source, 8)
    said = any("interlaced" in note for note in info.notes)
    assert said is not asked
    # The rate stays that of the frames.
    step = float(frames[-1].seconds - frames[2].seconds) / 5
    assert 0.03 < step < 0.055
