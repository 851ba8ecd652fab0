"""What still and video codecs do to pictures in memory: JPEG and H.264 there and back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from acf_edge.errors import InputError

Uint8Image = npt.NDArray[np.uint8]

PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
"""What x264 calls its trades of speed for size."""

# libswscale's BICUBIC | FULL_CHR_H_INT | FULL_CHR_H_INP | ACCURATE_RND | BITEXACT, as a
# number: older PyAV has no names for the flags. The default loses 10 dB on saturated colours.
_SWS_FLAGS = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
# H.273 code points of BT.709.
_BT709 = 1


def jpeg_roundtrip(image: Uint8Image, quality: int, full_chroma: bool = False) -> Uint8Image:
    """Encode and decode a picture with libjpeg.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, sides up to 65500.
        quality: 1..100.
        full_chroma: keep the colours' resolution (4:4:4); else it is halved (4:2:0).

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        InputError: another quality.
    """
    if not 1 <= quality <= 100:
        raise InputError(f"JPEG quality {quality} is none of libjpeg's.", "Give 1 to 100.")
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        if full_chroma
        else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    )
    parameters = [
        cv2.IMWRITE_JPEG_QUALITY,
        int(quality),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        sampling,
    ]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), parameters)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # just encoded
    return np.ascontiguousarray(decoded[:, :, ::-1]).astype(np.uint8, copy=False)


def h264_roundtrip(
    images: Sequence[Uint8Image],
    crf: int,
    preset: str = "veryfast",
    fps: int = 30,
) -> list[Uint8Image]:
    """Encode pictures as one H.264 stream in memory and decode it.

    8 bit 4:2:0, BT.709, one thread: the same input gives the same output. Odd
    sizes are padded by their edge for the encoder and cut back afterwards. A
    single picture is one intra frame, which x264 codes about 3 QP finer than
    the frames between.

    Args:
        images: one or more ``(H, W, 3)`` uint8 RGB of the same size.
        crf: 0 (best) to 51.
        preset: an x264 preset.
        fps: frames per second, which rate control takes into account.

    Returns:
        As many ``(H, W, 3)`` uint8 RGB.

    Raises:
        InputError: no picture, sizes that differ, no such preset, a crf out of range.
    """
    check_h264(crf, preset)
    if not images:
        raise InputError("There are no pictures to encode.", "Give at least one.")
    height, width = images[0].shape[:2]
    encoder: Any = av.CodecContext.create("libx264", "w")
    configure_h264(encoder, width + width % 2, height + height % 2, Fraction(fps), crf, preset)
    packets = []
    for index, image in enumerate(images):
        packets += encoder.encode(to_yuv420(_even(image, height, width), index, Fraction(1, fps)))
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return [np.ascontiguousarray(_to_rgb(frame)[:height, :width]) for frame in frames]


def configure_h264(
    context: Any, width: int, height: int, rate: Fraction, crf: int, preset: str
) -> None:
    """Set up an x264 codec context: 8 bit 4:2:0, BT.709, limited range, one thread."""
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = rate, 1 / rate
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = int(ColorRange.MPEG)
    context.thread_count = 1
    # libswscale puts chroma at the centre; a decoder told nothing takes it to lie at the
    # left, which costs 6 dB and more on coloured edges.
    own = {"crf": str(crf), "preset": preset, "chroma_sample_location": "center"}
    context.options = {**context.options, **own}


def _even(image: Uint8Image, height: int, width: int) -> Uint8Image:
    if image.shape != (height, width, 3):
        raise InputError(f"A picture of {image.shape} is among others.", "Give one size, RGB.")
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def to_yuv420(image: Uint8Image, pts: int, time_base: Fraction) -> av.VideoFrame:
    """``(H, W, 3)`` uint8 RGB with even sides as a BT.709, limited-range 4:2:0 frame."""
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = rgb.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_SWS_FLAGS,
    )
    frame.pts, frame.time_base = pts, time_base
    return frame


def _to_rgb(frame: av.VideoFrame) -> Uint8Image:
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_SWS_FLAGS,
    )
    return np.asarray(rgb.to_ndarray(), dtype=np.uint8)


def check_h264(crf: int, preset: str) -> None:
    """Raise :class:`InputError` for a rate factor or a preset that x264 does not know."""
    if not 0 <= crf <= 51:
        raise InputError(f"A crf of {crf} is none of x264's.", "Give 0 to 51.")
    if preset not in PRESETS:
        raise InputError(f"x264 has no preset '{preset}'.", f"There are: {', '.join(PRESETS)}.")
