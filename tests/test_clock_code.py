"""The painted clock: read after everything that happens to a picture, never misread."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from video_clips import Image

from acf_edge.engine import load_engine
from acf_edge.stream.clock.code import SMALLEST, now, paint, read

TIMES = [0, 1, 2**52 - 1, 1_795_000_000_000_000, 0b1010101 << 40, 0x5A5A5A5A5A5A5]


def _scene(height: int, width: int, seed: int = 0) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, (width, height)), np.uint8)


def _painted(microseconds: int, height: int = 180, width: int = 320) -> Image:
    picture = _scene(height, width)
    paint(picture, microseconds)
    return picture


@pytest.mark.parametrize("microseconds", TIMES)
@pytest.mark.parametrize("size", [(64, 128), (180, 320), (97, 131), (101, 333), (720, 1280)])
def test_what_is_painted_is_read(size: tuple[int, int], microseconds: int) -> None:
    assert read(_painted(microseconds, *size)) == microseconds


def test_grey_pictures_too() -> None:
    picture = np.zeros((90, 160), np.uint8)
    paint(picture, 123456789)
    assert read(picture) == 123456789


def test_only_the_top_is_painted() -> None:
    before = _scene(180, 320)
    after = before.copy()
    paint(after, 77)
    np.testing.assert_array_equal(after[180 * 3 // 16 + 1 :], before[180 * 3 // 16 + 1 :])


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.3, 2, 4])
@pytest.mark.parametrize("how", [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_scaling(factor: float, how: int) -> None:
    picture = _painted(TIMES[3])
    size = round(320 * factor), round(180 * factor)
    assert read(np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)) == TIMES[3]


def test_another_shape() -> None:
    picture = cv2.resize(_painted(TIMES[3]), (320, 240))
    assert read(np.asarray(picture, np.uint8)) == TIMES[3]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "options"),
    [
        ("libx264", "yuv420p", {"preset": "ultrafast", "crf": "40"}),
        ("libx264", "yuv420p", {"preset": "veryfast", "crf": "30", "tune": "zerolatency"}),
        ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "b": "200k"}),
        ("mpeg4", "yuv420p", {"b": "200k"}),
        ("mjpeg", "yuvj420p", {"qmin": "20", "qmax": "20"}),
    ],
)
def test_codecs(codec: str, pixel_format: str, options: dict[str, str]) -> None:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, pixel_format
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = options
    decoder = av.CodecContext.create(
        codec.removeprefix("lib").replace("x264", "h264").replace("vpx", "vp8"), "r"
    )
    found = []
    times = [TIMES[3] + 33_333 * i for i in range(12)]
    for i, microseconds in enumerate([*times, None]):
        frame = None
        if microseconds is not None:
            frame = av.VideoFrame.from_ndarray(_painted(microseconds)).reformat(format=pixel_format)
            frame.pts, frame.pict_type = i, 0
        for packet in encoder.encode(frame):
            found += [read(f.to_ndarray(format="rgb24")) for f in decoder.decode(packet)]
    found += [read(f.to_ndarray(format="rgb24")) for f in decoder.decode(None)]
    assert found == times


def test_jpeg_of_low_quality() -> None:
    good, data = cv2.imencode(".jpg", _painted(TIMES[3]), [cv2.IMWRITE_JPEG_QUALITY, 20])
    assert good
    assert read(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)) == TIMES[3]


def test_noise_and_low_contrast() -> None:
    picture = _painted(TIMES[3]).astype(np.float64)
    noisy = picture + np.random.default_rng(0).normal(0, 40, picture.shape)
    assert read(np.clip(noisy, 0, 255).astype(np.uint8)) == TIMES[3]
    assert read((picture * 0.4 + 60).astype(np.uint8)) == TIMES[3]
    assert read((picture * 0.1 + 60).astype(np.uint8)) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_picture_without_a_clock(seed: int) -> None:
    assert read(_scene(180, 320, seed)) is None
    assert read(np.random.default_rng(seed).integers(0, 256, (180, 320, 3), np.uint8)) is None


@pytest.mark.parametrize("value", [0, 16, 128, 235, 255])
def test_flat_and_tiny_pictures(value: int) -> None:
    assert read(np.full((180, 320, 3), value, np.uint8)) is None
    assert read(np.full((4, 4, 3), value, np.uint8)) is None
    assert read(np.full((1, 400, 3), value, np.uint8)) is None


def test_two_frames_blended_are_never_a_third() -> None:
    random = np.random.default_rng(0)
    unreadable = 0
    for _ in range(200):
        first = int(random.integers(0, 2**52 - 10**7))
        second = first + int(random.integers(1, 10**6))
        a, b = _painted(first), _painted(second)
        for share in (0.1, 0.35, 0.5, 0.65, 0.9):
            mixed = cv2.addWeighted(a, share, b, 1 - share, 0)
            found = read(np.asarray(mixed, np.uint8))
            assert found in (None, first, second)
            unreadable += found is None
    assert unreadable >= 500  # what lies in the middle is nobody's time


def test_a_torn_strip_is_never_a_third_time() -> None:
    """The upper rows of one frame, the lower ones of the next."""
    random = np.random.default_rng(1)
    for _ in range(100):
        first = int(random.integers(0, 2**52 - 10**7))
        second = first + int(random.integers(1, 10**6))
        a, b = _painted(first, 64, 128), _painted(second, 64, 128)
        for row in range(1, 12):
            torn = np.concatenate([a[:row], b[row:]])
            assert read(torn) in (None, first, second)
        for column in range(1, 128, 3):
            torn = np.concatenate([a[:, :column], b[:, column:]], axis=1)
            assert read(torn) in (None, first, second)


def test_one_flipped_block_is_noticed() -> None:
    picture = _painted(TIMES[3])
    for row in range(3):
        for column in range(32):
            broken = picture.copy()
            block = broken[row * 180 // 16 : (row + 1) * 180 // 16, column * 10 : column * 10 + 10]
            block[:] = 251 - block
            assert read(broken) is None


def test_too_small_or_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        paint(np.zeros((SMALLEST[1] - 1, 320, 3), np.uint8), 0)
    with pytest.raises(ValueError, match="52 bits"):
        paint(np.zeros((180, 320, 3), np.uint8), 2**52)


def test_now_is_the_wall_clock() -> None:
    assert abs(now() / 1e6 - time.time()) < 60
    assert now() < 2**52


def test_the_shipped_engine_keeps_it_readable() -> None:
    engine = load_engine(None, threads=1, spin=False)
    try:
        assert read(engine.run(_painted(TIMES[3], 90, 160))) == TIMES[3]
    finally:
        engine.close()
