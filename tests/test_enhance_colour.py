"""Colour: read with the right matrix and range, written with one that is tagged."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import FakeEngine, Tags, psnr, read_clip, smooth_picture, write_clip

from acf_edge.stream import enhance_file
from acf_edge.stream.colour import Colour, output_colour, resolve

_LOSSLESS = {"preset": "ultrafast", "qp": "0"}


def _tags(path: Path) -> tuple[int, int, int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return (
            int(context.colorspace),
            int(context.color_range),
            int(context.color_primaries),
            int(context.color_trc),
        )


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_tagged_colours_survive_the_round_trip(
    tmp_path: Path, suffix: str, matrix: int, full: bool
) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    picture = smooth_picture(96, 128)
    tags = Tags(matrix, 2 if full else 1, matrix, 1)
    write_clip(source, [picture] * 2, matrix=matrix, tags=tags, options=_LOSSLESS)
    enhance_file(source, target, FakeEngine(1), crf=1)
    assert _tags(target) == (matrix, 2 if full else 1, matrix, 1)
    after = read_clip(target)
    assert psnr(after.rgb(1, matrix, full), picture) >= 45
    # The same pixels, read with what the tag does not say: this test can fail.
    wrong = 6 if matrix in (1, 9) else 1
    assert psnr(after.rgb(1, wrong, full), picture) < 35
    assert psnr(after.rgb(1, matrix, not full), picture) < 35


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_vp9_carries_its_tags_too(tmp_path: Path, full: bool) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.webm"
    picture = smooth_picture(96, 128)
    tags = Tags(1, 2 if full else 1, 1, 1)
    write_clip(source, [picture] * 2, matrix=1, tags=tags, options=_LOSSLESS)
    enhance_file(source, target, FakeEngine(1), crf=0)
    assert _tags(target)[:2] == (1, 2 if full else 1)
    assert psnr(read_clip(target).rgb(0, 1, full), picture) >= 40


def test_a_wrong_matrix_in_the_input_is_seen(tmp_path: Path) -> None:
    """Pixels written with BT.709 and tagged BT.601 must not come out right."""
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    picture = smooth_picture(96, 128)
    write_clip(source, [picture], matrix=1, tags=Tags(6, 1, 6, 6), options=_LOSSLESS)
    enhance_file(source, target, FakeEngine(1), crf=1)
    assert psnr(read_clip(target).rgb(0, 6), picture) < 35


@pytest.mark.parametrize(
    ("size", "scale", "read_as", "written_as"),
    [
        ((96, 128), 1, 6, 6),
        ((720, 64), 1, 1, 1),
        ((64, 1280), 1, 1, 1),
        ((96, 320), 4, 6, 1),  # SD becomes HD: a player that ignores tags goes by the size
        ((576, 64), 1, 5, 5),
    ],
)
def test_untagged_video_is_read_as_players_read_it(
    tmp_path: Path, size: tuple[int, int], scale: int, read_as: int, written_as: int
) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    picture = smooth_picture(*size)
    write_clip(source, [picture], matrix=read_as, options=_LOSSLESS)
    assert _tags(source)[0] == 2
    enhance_file(source, target, FakeEngine(scale), crf=1)
    matrix, code_range, primaries, transfer = _tags(target)
    assert (matrix, code_range) == (written_as, 1)
    assert primaries not in (0, 2) and transfer not in (0, 2)
    wanted = np.ascontiguousarray(picture.repeat(scale, 0).repeat(scale, 1))
    # Nearest-neighbour steps are not smooth chroma, so up-scaled ones lose a little.
    assert psnr(read_clip(target).rgb(0, written_as), wanted) >= (45 if scale == 1 else 38)
    assert psnr(read_clip(target).rgb(0, 1 if written_as != 1 else 6), wanted) < 35


def test_motion_jpeg_is_full_range(tmp_path: Path) -> None:
    source, target = tmp_path / "in.avi", tmp_path / "out.mp4"
    picture = smooth_picture(96, 128)
    write_clip(
        source,
        [picture] * 2,
        codec="mjpeg",
        pixel_format="yuvj420p",
        matrix=6,
        tags=Tags(range=2),
        options={"qmin": "1", "qmax": "1"},
    )
    enhance_file(source, target, FakeEngine(1), crf=1)
    assert _tags(target)[:2] in ((5, 2), (6, 2))
    assert psnr(read_clip(target).rgb(0, 6, full=True), picture) >= 40


def test_rgb_video_becomes_limited_range_yuv(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mp4"
    picture = smooth_picture(96, 128)
    write_clip(source, [picture] * 2, codec="ffv1", pixel_format="bgr0", options={"level": "3"})
    enhance_file(source, target, FakeEngine(1), crf=1)
    assert _tags(target)[:2] == (6, 1)
    assert psnr(read_clip(target).rgb(0, 6), picture) >= 42


def test_hdr_curve_is_kept_and_said(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source, [smooth_picture(48, 64)], matrix=9, tags=Tags(9, 1, 9, 16))
    summary = enhance_file(source, target, FakeEngine(2))
    assert _tags(target) == (9, 1, 9, 16)
    assert any("HDR" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("tags", "size", "rgb", "wanted"),
    [
        (Colour(), (320, 180), False, Colour(6, 1, 1, 1)),
        (Colour(), (720, 480), False, Colour(6, 1, 6, 1)),
        (Colour(), (720, 576), False, Colour(5, 1, 5, 1)),
        (Colour(), (1280, 720), False, Colour(1, 1, 1, 1)),
        (Colour(range=2), (640, 480), False, Colour(6, 2, 6, 1)),
        (Colour(1, 1, 1, 13), (320, 180), False, Colour(1, 1, 1, 13)),
        (Colour(9, 1, 2, 16), (320, 180), False, Colour(9, 1, 9, 16)),
        (Colour(8, 1, 1, 1), (320, 180), False, Colour(6, 1, 1, 1)),
        (Colour(0, 0, 2, 2), (320, 180), True, Colour(0, 2, 1, 1)),
    ],
)
def test_resolve(tags: Colour, size: tuple[int, int], rgb: bool, wanted: Colour) -> None:
    assert resolve(tags, *size, rgb=rgb) == wanted


@pytest.mark.parametrize(
    ("tags", "read", "size", "wanted"),
    [
        (Colour(6, 1), Colour(6, 1, 6, 6), (1920, 1080), Colour(6, 1, 6, 6)),  # tagged: kept
        (Colour(), Colour(6, 1, 1, 1), (1280, 720), Colour(1, 1, 1, 1)),
        (Colour(), Colour(5, 2, 5, 1), (640, 576), Colour(5, 2, 5, 1)),
        (Colour(10, 1), Colour(10, 1, 9, 14), (640, 360), Colour(9, 1, 9, 14)),
        (Colour(0), Colour(0, 2, 1, 1), (640, 360), Colour(6, 1, 1, 1)),
    ],
)
def test_output_colour(tags: Colour, read: Colour, size: tuple[int, int], wanted: Colour) -> None:
    assert output_colour(tags, read, *size) == wanted
