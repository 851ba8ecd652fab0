"""Which encoder a recording gets, and that hardware is only taken where it works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sink_tools import SilentSource, info, moment, place_uri
from truth_tools import decoded, judge
from video_clips import numbered_picture, read_clip, smooth_picture

from acf_edge.errors import InputError
from acf_edge.stream import hardware
from acf_edge.stream.colour import Colour, YuvWriter
from acf_edge.stream.sinks.encoding import Wish, choose_encoding
from acf_edge.stream.sinks.file import RecordingSink

WISH = Wish(".mp4", "auto", 18, "veryfast", (640, 360), Fraction(30), live=True)


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose hardware encoder works: x264 by another name, fed as hardware is."""
    encoder = hardware.Encoder("h264", "libx264", True, "nv12", {"bf": "0"}, "It encodes h264")
    monkeypatch.setattr(hardware, "best_encoder", lambda codec: encoder)
    yield


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It works with small pictures, and refuses what a recording asks for."""
    refused = {"preset": "no such preset"}
    encoder = hardware.Encoder("h264", "libx264", True, "nv12", refused, "It encodes h264")
    monkeypatch.setattr(hardware, "best_encoder", lambda codec: encoder)
    yield


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    encoder = hardware.Encoder("h264", "libx264", False, "yuv420p", note="no NVIDIA driver")
    monkeypatch.setattr(hardware, "best_encoder", lambda codec: encoder)
    yield


def test_hardware_is_taken_for_live_sources(working: None) -> None:
    assert choose_encoding(WISH).pixel_format == "nv12"
    assert "encoder=x264" in choose_encoding(WISH).note


@pytest.mark.parametrize(
    "wish",
    [
        replace(WISH, live=False),
        replace(WISH, encoder="x264"),
        replace(WISH, crf=0),
        replace(WISH, size=(641, 360)),
        replace(WISH, size=(64, 48)),
        replace(WISH, size=(8192, 4320)),
    ],
)
def test_where_it_does_not_fit_x264_is_taken(working: None, wish: Wish) -> None:
    encoding = choose_encoding(wish)
    assert encoding.codec == "libx264"
    assert encoding.pixel_format == ("yuv444p" if wish.size[0] % 2 else "yuv420p")


def test_hardware_that_does_not_open_is_left_alone(broken: None) -> None:
    assert choose_encoding(WISH).pixel_format == "yuv420p"


@pytest.mark.parametrize("encoder", ["nvenc", "qsv", "amf"])
def test_hardware_that_was_asked_for_and_is_not_there(without: None, encoder: str) -> None:
    assert choose_encoding(WISH).codec == "libx264"
    with pytest.raises(InputError, match="no NVIDIA driver"):
        choose_encoding(replace(WISH, encoder=encoder))


def test_webm_is_vp9() -> None:
    assert choose_encoding(replace(WISH, suffix=".webm")).codec == "libvpx-vp9"
    with pytest.raises(InputError, match="webm"):
        choose_encoding(replace(WISH, suffix=".webm", encoder="nvenc"))


def test_a_recording_fed_as_hardware_is(working: None, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = RecordingSink(place_uri(path))
    sink.open(info(320, 240, live=True), (320, 240), SilentSource())
    for i in range(5):
        sink.write(moment(numbered_picture(240, 320, i), 3600 * i))
    assert any("It encodes h264" in note for note in sink.close())
    assert read_clip(path).numbers == list(range(5))


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 6])
def test_what_hardware_is_fed_is_true(matrix: int, full: bool) -> None:
    picture = smooth_picture(96, 160)
    colour = Colour(matrix, 2 if full else 1, matrix, matrix)
    frame = YuvWriter(160, 96, colour, "nv12").convert(picture)
    chroma = np.frombuffer(frame.planes[1], np.uint8).reshape(48, -1)[:, :160]
    whole = YuvWriter(160, 96, colour, "yuv420p").convert(picture)
    for index, plane in enumerate(whole.planes[1:]):
        store = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        assert np.abs(store[:48, :80].astype(int) - chroma[:, index::2]).max() <= 1
    judge(decoded(whole, matrix, full), picture)
