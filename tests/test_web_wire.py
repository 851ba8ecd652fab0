"""What travels to the browser: H.264 and JPEG that say what they are, in one message."""

from __future__ import annotations

import struct

import av
import cv2
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from web_rig import flat, moment

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import decode_rgb
from acf_edge.stream.web.encoders import BROWSER, H264Encoder, encode_jpeg, encode_png
from acf_edge.stream.web.hub import KEY_SECONDS, Hub
from acf_edge.stream.web.settings import Settings
from acf_edge.stream.web.wire import AFTER, BEFORE, H264, JPEG, Encoded, Picture, Times, pack

EVERYTHING = frozenset({H264, JPEG})


def decode(units: list[bytes]) -> list[av.VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, VideoCodecContext)
    frames = []
    for unit in units:
        frames += context.decode(av.Packet(unit))
    return frames + context.decode(None)


def picture(width: int, height: int, shift: int = 0) -> Uint8Image:
    rows, columns = np.mgrid[0:height, 0:width]
    red = 128 + 90 * np.sin((columns + shift) / 9)
    green = 128 + 90 * np.cos(rows / 7)
    return np.stack([red, green, np.full_like(red, 90)], axis=-1).astype(np.uint8)


def is_key(unit: bytes) -> bool:
    """An access unit with SPS, PPS and an IDR slice."""
    kinds = {unit[i + 3] & 31 for i in range(len(unit) - 3) if unit[i : i + 3] == b"\0\0\1"}
    return {7, 8, 5} <= kinds


@pytest.mark.parametrize("size", [(64, 36), (65, 37), (33, 18), (2, 2), (1, 1)])
def test_each_picture_comes_out_at_once_and_looks_like_it_went_in(size: tuple[int, int]) -> None:
    encoder = H264Encoder(*size, rate=30, crf=10)
    pictures = [picture(*size, shift) for shift in range(4)]
    units = [encoder.encode(pixels, key=False) for pixels in pictures]
    assert all(units)
    frames = decode(units)
    assert len(frames) == 4
    width, height = size
    for pixels, frame in zip(pictures, frames, strict=True):
        rgb = decode_rgb(av.video.reformatter.VideoReformatter(), frame, BROWSER)
        assert np.abs(rgb[:height, :width].astype(int) - pixels).mean() < 6


def test_the_stream_says_which_colours_it_has() -> None:
    (frame,) = decode([H264Encoder(64, 36, rate=30).encode(picture(64, 36), key=True)])
    assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)


def test_a_key_frame_comes_first_and_when_asked_for_and_never_else() -> None:
    encoder = H264Encoder(64, 36, rate=30)
    cut = [picture(64, 36), 255 - picture(64, 36)]  # a scene cut is no reason
    units = [encoder.encode(cut[n // 10 % 2], key=n == 25) for n in range(40)]
    assert [n for n, unit in enumerate(units) if is_key(unit)] == [0, 25]


def test_noise_cannot_flood_the_network() -> None:
    rng = np.random.default_rng(0)
    encoder = H264Encoder(320, 180, rate=30, crf=20)
    frames = [rng.integers(0, 256, (180, 320, 3), dtype=np.uint8) for _ in range(60)]
    sizes = [len(encoder.encode(pixels, key=False)) for pixels in frames]
    bits_per_second = 8 * sum(sizes[30:])
    assert bits_per_second < 2 * 0.5 * 320 * 180 * 30


def test_jpeg_and_png_keep_the_order_of_colours() -> None:
    pixels = np.full((16, 24, 3), (200, 30, 90), np.uint8)
    for data, worst in ((encode_jpeg(pixels, 95), 3), (encode_png(pixels), 0)):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(bgr[..., ::-1].astype(int) - pixels).max() <= worst


def test_the_message_is_laid_out_as_its_table_says() -> None:
    parts = (Picture(BEFORE, 3, 5, b"abc"), Picture(AFTER, 12, 20, b"defgh"))
    times = Times(pts=1.5, captured=10.0, inferred=11.0, encoded=12.0)
    made = pack(
        H264, 7, parts, times, key=True, held=True, sequence=99, rung="acf-t ×4"
    )  # fmt: skip
    data = made.data
    assert data[:4] == bytes([1, 3, 1, 2])
    assert struct.unpack_from("<I4dI", data, 4) == (7, 1.5, 10.0, 11.0, 12.0, 99)
    name = "acf-t ×4".encode()
    assert data[44] == len(name)
    assert data[45 : 45 + len(name)] == name
    at = (45 + len(name) + 3) // 4 * 4
    assert struct.unpack_from("<B3xHHI", data, at) == (0, 3, 5, 3)
    assert data[at + 12 : at + 15] == b"abc"
    assert struct.unpack_from("<B3xHHI", data, at + 16) == (1, 12, 20, 5)
    assert data[at + 28 : at + 33] == b"defgh"
    assert len(data) % 4 == 0


def hub() -> tuple[Hub, list[Encoded]]:
    made: list[Encoded] = []
    return Hub(Settings(), made.append), made


def test_nothing_is_coded_while_nobody_watches() -> None:
    test, made = hub()
    for number in range(3):
        test.publish(moment(number, flat((9, 9, 9))))
    assert made == []
    assert test.counters.moments == 3
    assert sum(test.counters.pictures.values()) == 0


def test_each_codec_is_coded_once_for_all_who_watch() -> None:
    test, made = hub()
    test.want(EVERYTHING)
    for number in range(3):
        test.publish(moment(number, flat((9, 9, 9))))
    assert [(each.codec, each.number) for each in made] == [
        (codec, number) for number in (1, 2, 3) for codec in (H264, JPEG)
    ]
    assert set(test.counters.pictures.values()) == {3}


def test_both_pictures_of_a_moment_are_key_frames_together() -> None:
    test, made = hub()
    test.want(frozenset({H264}))
    for number in range(6):
        if number == 3:
            test.ask_key(at_once=True)
        test.publish(moment(number, flat((9, 9, 9))))
    assert [each.key for each in made] == [True, False, False, True, False, False]
    for each in made:
        assert {is_key(part.data) for part in each.pictures} == {each.key}


def test_one_slow_viewer_does_not_make_every_frame_a_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("acf_edge.stream.web.hub.time.monotonic", lambda: now)
    test, made = hub()
    test.want(frozenset({H264}))
    for _ in range(90):
        test.ask_key(at_once=False)
        test.publish(moment(1, flat((9, 9, 9))))
        now += 1 / 30
    assert sum(each.key for each in made) <= 1 + 3 / KEY_SECONDS


def test_another_size_begins_with_a_key_frame() -> None:
    test, made = hub()
    test.want(frozenset({H264}))
    for size in ((64, 36), (64, 36), (32, 18)):
        test.publish(moment(1, flat((9, 9, 9), *size)))
    assert [each.key for each in made] == [True, False, True]
    assert [(part.width, part.height) for part in made[2].pictures] == [(32, 18), (128, 72)]


def test_a_moment_without_the_captured_picture_is_shown_alone() -> None:
    test, made = hub()
    test.want(frozenset({H264}))
    item = moment(1, flat((9, 9, 9)))
    item.original = None
    test.publish(item)
    assert [part.kind for part in made[0].pictures] == [AFTER]


def test_moments_at_hand_are_few() -> None:
    test, _ = hub()
    for number in range(100):
        test.publish(moment(number, flat((9, 9, 9))))
    newest = test.find()
    assert newest is not None and newest.number == 100
    recent = test.find(95)
    assert recent is not None and recent.number == 95
    gone = test.find(5)
    assert gone is not None and gone.number == 100
