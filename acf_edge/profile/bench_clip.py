"""A clip like a camera's, made from nothing: a textured scene that drifts, with noise, in H.264."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.imaging.scenes import dead_leaves

RATE: Final = 30
_NOISE: Final = 3.0  # standard deviation in code values
# H.273's numbers for what the clip is tagged with, and swscale's for the same matrix.
_BT601, _LIMITED, _BT601_SWSCALE = 6, 1, 5
_SMALLEST: Final = 16
_LARGEST: Final = 2048
_MARGIN: Final = 64  # pixels that the view wanders
_PERIOD: Final = 4.0  # seconds for one way there and back


def check_clip_size(width: int, height: int) -> None:
    """Refuse sizes that an H.264 camera does not have.

    Raises:
        InputError: an odd side, or one outside 16..2048.
    """
    if width % 2 or height % 2:
        raise InputError(
            f"A camera's H.264 has even sides; {width}x{height} has an odd one.",
            "Choose an even size, or leave the file part out with --what engine.",
        )
    if min(width, height) < _SMALLEST or max(width, height) > _LARGEST:
        raise InputError(
            f"A clip of {width}x{height} is out of range.",
            f"Give sides of {_SMALLEST} to {_LARGEST}, or leave the file part out with "
            "--what engine.",
        )


def camera_pictures(width: int, height: int, count: int) -> Iterator[Uint8Image]:
    """Views of a scene, something else moving before it, in steps that are no whole pixels.

    Args:
        width: of each view in pixels. ``height``: likewise.
        count: how many.

    Yields:
        ``(height, width, 3)`` uint8 RGB; the same ones every time.
    """
    far, near = (_fine_scene(width + _MARGIN + 2, height + _MARGIN + 2, seed) for seed in (1, 2))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    rng = np.random.default_rng(1)
    for index in range(count):
        angle = 2 * math.pi * index / (RATE * _PERIOD)
        view = _view(far, width, height, angle)
        # What is near moves against the rest: one motion for all would be easy to encode.
        across = (columns - width * (0.5 + 0.3 * math.sin(angle))) / (0.25 * width)
        down = (rows - height * (0.5 + 0.2 * math.sin(1.7 * angle))) / (0.35 * height)
        inside = (across * across + down * down < 1)[:, :, None]
        view = np.where(inside, _view(near, width, height, -1.3 * angle), view)
        noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(_NOISE)
        yield np.clip(np.rint(view + noise), 0, 255).astype(np.uint8)


def _fine_scene(width: int, height: int, seed: int) -> Uint8Image:
    """A scene drawn at twice its size: its texture is as fine as a camera's."""
    scene = dead_leaves(2 * height, 2 * width, seed)
    return np.asarray(cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _view(scene: Uint8Image, width: int, height: int, angle: float) -> Uint8Image:
    left = _MARGIN / 2 * (1 - math.cos(angle))
    # The way down takes another time than the way across: the path does not repeat soon.
    top = _MARGIN / 2 * (1 - math.cos(angle / math.sqrt(2)))
    centre = (left + (width - 1) / 2, top + (height - 1) / 2)
    return np.asarray(cv2.getRectSubPix(scene, (width, height), centre), np.uint8)


def write_clip(path: Path, width: int, height: int, count: int) -> None:
    """Encode :func:`camera_pictures` as H.264 in MP4, 30 frames per second.

    Args:
        path: ``.mp4``, overwritten.
        width: even. ``height``: even.
        count: frames.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with av.open(f"file:{path}", "w", format="mp4") as container:
            stream = container.add_stream(
                "libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"}
            )
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            context.colorspace, context.color_range = _BT601, _LIMITED
            for index, picture in enumerate(camera_pictures(width, height, count)):
                frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=_BT601_SWSCALE, dst_color_range=_LIMITED
                )
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except FFmpegError as error:
        raise InputError(
            f"The clip for the benchmark cannot be written to '{path.parent}': {error.strerror}.",
            "Free some space there, or name another folder in TMPDIR.",
        ) from error
