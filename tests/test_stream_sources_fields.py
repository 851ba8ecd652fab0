"""Interlaced and deep pictures: said when they come, rebuilt on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from video_clips import Tags, smooth_picture, write_clip

from acf_edge.stream.frame import Frame
from acf_edge.stream.uri import open_source


def frames_of(uri: str) -> list[Frame]:
    source = open_source(uri)
    source.open()
    found = [item for item in source.items() if isinstance(item, Frame)]
    source.close()
    return found


def comb_picture(number: int) -> npt.NDArray[np.uint8]:
    """A moving bar as an interlaced camera sees it: odd rows half a frame later."""
    picture = np.full((96, 128, 3), 40, np.uint8)
    for field in (0, 1):
        left = 4 * (2 * number + field)
        picture[field::2, left : left + 16] = 220
    return picture


def comb_of(pixels: npt.NDArray[np.uint8]) -> float:
    """How much neighbouring rows differ, beyond what rows two apart do."""
    grey = pixels.mean(axis=2)
    near = np.abs(grey[1:-1] - grey[:-2]).mean()
    far = np.abs(grey[2:] - grey[:-2]).mean()
    return float(near - far)


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "a.mkv"
    options = {"preset": "ultrafast", "crf": "5", "flags": "+ilme+ildct", "x264-params": "tff=1"}
    write_clip(
        path, [comb_picture(i) for i in range(12)], options=options, tags=Tags(1, 1, 1, 1), matrix=1
    )
    return path


def test_interlaced_input_is_said(interlaced: Path) -> None:
    source = open_source(str(interlaced))
    assert any("interlaced" in note for note in source.open().notes)
    source.close()


@pytest.mark.parametrize("mode", ["1", "auto"])
def test_deinterlacing_takes_the_comb_out(interlaced: Path, mode: str) -> None:
    combed = frames_of(str(interlaced))
    source = open_source(f"{interlaced}?deinterlace={mode}")
    info = source.open()
    whole = [item for item in source.items() if isinstance(item, Frame)]
    source.close()
    assert any("rebuilt" in note for note in info.notes)
    assert [frame.seconds for frame in whole] == [frame.seconds for frame in combed]
    assert [frame.colour for frame in whole] == [frame.colour for frame in combed]
    assert min(comb_of(frame.pixels) for frame in combed) > 5
    assert max(comb_of(frame.pixels) for frame in whole[1:-1]) < 1


def test_auto_leaves_whole_pictures_alone(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    write_clip(clip, [smooth_picture(48, 64, i) for i in range(4)])
    plain = frames_of(str(clip))
    auto = frames_of(f"{clip}?deinterlace=auto")
    assert all((a.pixels == b.pixels).all() for a, b in zip(plain, auto, strict=True))


def test_deep_colour_is_said(tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    write_clip(
        clip,
        [smooth_picture(48, 64)] * 3,
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
    )
    source = open_source(str(clip))
    assert any(note.startswith("10-bit") for note in source.open().notes)
    source.close()
