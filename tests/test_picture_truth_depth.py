"""Ten bits, grey, odd sizes, turned and changing pictures, interlacing, tags."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter
from truth_tools import as_tagged, coded, decoded, judge, to_planes, write_film
from truth_ways import recording, running, until_the_end
from video_clips import Tags, smooth_picture, turn, write_clip

from acf_edge.stream.colour import Colour, YuvWriter, decode_rgb
from acf_edge.stream.uri import open_source

DEEP = [
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "p010le",
    "yuv420p12le",
    "yuv444p16le",
    "gray10le",
    "gray16le",
]


def _fill(name: str, codes: np.ndarray, full: bool) -> tuple[av.VideoFrame, np.ndarray]:
    """A grey frame whose columns hold ``codes``, and what they stand for in 8 bits."""
    frame = av.VideoFrame(len(codes), 32, name)
    bits = max(component.bits for component in frame.format.components)
    codes = codes.astype(np.int64) << (bits - 10)
    shift = 6 if name == "p010le" else 0
    for index, plane in enumerate(frame.planes):
        store = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)
        store[:] = 1 << (bits - 1 + shift)
        if index == 0:
            store[:, : len(codes)] = codes << shift
    if full:
        return frame, codes * 255 / ((1 << bits) - 1)
    return frame, (codes / (1 << (bits - 8)) - 16) * 255 / 219


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name", DEEP)
def test_a_deep_ramp_keeps_its_mean_and_has_no_bands(name: str, full: bool) -> None:
    codes = np.arange(300, 556).repeat(8)  # every code on eight columns
    frame, wanted = _fill(name, codes, full)
    got = decode_rgb(VideoReformatter(), frame, Colour(1, 2 if full else 1, 1, 1))
    assert got.dtype == np.uint8
    means = got.reshape(32, -1, 8, 3).mean(axis=(0, 2))
    wanted = wanted.reshape(-1, 8).mean(axis=1)
    assert np.abs(means - wanted[:, None]).max() <= 0.1
    # Nothing is further away than the next code value: dithered, not noisy.
    assert np.abs(got - wanted.repeat(8)[None, :, None]).max() <= 1.01
    # Four codes of ten bits become four different mixtures, not one band.
    assert len(np.unique(means[:, 0].round(2))) > 3 * (wanted.max() - wanted.min())


def test_dithering_keeps_what_is_exact_and_does_not_flicker() -> None:
    picture = smooth_picture(64, 96)
    frame, wanted = _fill("yuv420p10le", np.full(64, 64 + 4 * 50), False)
    colour = Colour(1, 1, 1, 1)
    got = decode_rgb(VideoReformatter(), frame, colour)
    assert np.abs(got - wanted.mean()).max() < 1
    film = coded(picture, "yuv444p10le", 1, False)
    once, twice = (decode_rgb(VideoReformatter(), film, colour) for _ in range(2))
    np.testing.assert_array_equal(once, twice)
    judge(once, picture)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_grey_pictures_of_eight_bits(full: bool) -> None:
    frame = av.VideoFrame(256, 32, "gray")
    store = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
    codes = np.arange(256) if full else np.clip(np.arange(256), 16, 235)
    store[:, :256] = codes
    got = decode_rgb(VideoReformatter(), frame, Colour(1, 2 if full else 1, 1, 1))
    wanted = codes if full else (codes - 16) * 255 / 219
    assert np.abs(got - wanted[None, :, None]).max() <= 0.51


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_what_is_written_has_no_bias(matrix: int, name: str, full: bool) -> None:
    """In every plane, not only in the picture: small errors of opposite sign hide."""
    picture = smooth_picture(96, 160, seed=5)
    frame = YuvWriter(160, 96, Colour(matrix, 2 if full else 1, matrix, matrix), name).convert(
        picture
    )
    reference = coded(picture, name, matrix, full)
    for plane, wanted in zip(frame.planes, reference.planes, strict=True):
        width = min(plane.line_size, wanted.line_size)
        a, b = (
            np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : min(width, p.width)]
            for p in (plane, wanted)
        )
        assert abs((a.astype(float) - b).mean()) < 0.06
        assert np.abs(a.astype(int) - b).max() <= 2
    judge(decoded(frame, matrix, full), picture)


def test_greys_stay_grey() -> None:
    """Half a code value of chroma is a colour cast."""
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(32, 0).repeat(3, 2)
    for full in (False, True):
        for matrix in (1, 6):
            frame = YuvWriter(256, 32, Colour(matrix, 2 if full else 1, 1, 1), "yuv420p").convert(
                np.ascontiguousarray(ramp)
            )
            for plane in frame.planes[1:]:
                store = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                assert set(np.unique(store[:16, :128])) == {128}


def test_deep_pixels_are_said(tmp_path: Path) -> None:
    write_film(
        tmp_path / "in.mkv",
        smooth_picture(48, 64),
        matrix=1,
        full=False,
        pixel_format="yuv420p10le",
    )
    source = open_source(str(tmp_path / "in.mkv"))
    try:
        assert any("10-bit" in note and "dithered" in note for note in source.open().notes)
    finally:
        source.close()


def test_interlacing_is_said(tmp_path: Path) -> None:
    fields = {"preset": "ultrafast", "x264-params": "tff=1"}
    write_clip(tmp_path / "in.mp4", [smooth_picture(96, 128)] * 3, options=fields)
    source = open_source(str(tmp_path / "in.mp4"))
    try:
        assert any("interlaced" in note for note in source.open().notes)
    finally:
        source.close()


def _transfer(path: Path) -> tuple[int, int, int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        next(container.decode(video=0))
        return (
            int(context.colorspace),
            int(context.color_range),
            int(context.color_primaries),
            int(context.color_trc),
        )


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("tags", [(9, 1, 9, 16), (9, 1, 9, 18), (6, 2, 6, 6), (1, 1, 1, 13)])
def test_primaries_and_transfer_are_carried(
    tmp_path: Path, tags: tuple[int, int, int, int], suffix: str
) -> None:
    source = tmp_path / "in.mp4"
    write_clip(source, [smooth_picture(48, 64)] * 3, matrix=tags[0], tags=Tags(*tags))
    until_the_end(str(source), str(tmp_path / f"out{suffix}"))
    assert _transfer(tmp_path / f"out{suffix}") == tags


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_pictures_are_upright_in_the_recording(tmp_path: Path, degrees: int) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    picture = smooth_picture(96, 160)
    write_clip(
        source, [picture] * 3, tags=Tags(6, 1, 6, 6), options={"preset": "ultrafast", "qp": "0"}
    )
    turn(source, degrees)
    until_the_end(str(source), f"{target}?crf=1")
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
    judge(as_tagged(frame), np.ascontiguousarray(np.rot90(picture, -degrees // 90)))
    assert not any(data.type == SideDataType.DISPLAYMATRIX for data in frame.side_data)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm"])
@pytest.mark.parametrize("size", [(95, 160), (96, 159), (97, 161)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    picture = smooth_picture(*size)
    write_film(tmp_path / "in.mkv", picture, matrix=6, full=False, pixel_format="yuv444p")
    judge(recording(suffix)(tmp_path, str(tmp_path / "in.mkv")), picture)


def _two_sizes(path: Path) -> None:
    """A stream whose picture becomes larger half-way, as cameras do when they are set anew."""
    data = b""
    for height, width in ((96, 128), (144, 192)):
        part = path.with_name(f"{width}.h264")
        flat = np.full((height, width, 3), 180, np.uint8)
        write_clip(part, [flat] * 6, time_base=Fraction(1, 25), options={"bf": "0"})
        data += part.read_bytes()
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm"])
def test_another_size_half_way(tmp_path: Path, suffix: str) -> None:
    _two_sizes(tmp_path / "in.h264")
    target = tmp_path / f"out{suffix}"
    with running(str(tmp_path / "in.h264"), str(target)) as thread:
        thread.join(20)
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 12
    assert {(f.width, f.height) for f in frames} == {(128, 96)}
    assert as_tagged(frames[-1]).mean() == pytest.approx(180, abs=2)


def test_the_judges_own_conversion_is_its_own_inverse() -> None:
    from truth_tools import to_rgb

    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for matrix in (1, 6, 9):
        for full in (False, True):
            for bits in (8, 10):
                planes = to_planes(picture, matrix, full, bits)
                np.testing.assert_array_equal(to_rgb(planes, matrix, full, bits), picture)
