"""Pictures for the browser: H.264 made for low latency, JPEG, PNG."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import Colour, YuvWriter
from acf_edge.stream.protocols import SinkFailed

# A browser takes untagged pictures for BT.601 or BT.709 by their size, so both say what
# they are. BT.601 it is because Chromium without a GPU has no room for a coefficient of
# BT.709 and loses up to 8 code values of a saturated blue; BT.601 comes out right everywhere.
BROWSER = Colour(matrix=6, range=1, primaries=1, transfer=1)

# Bits per pixel that bound a noisy picture at crf 20, and the time over which they are
# counted; what a calm one needs lies far below. Six steps of crf are a factor of two.
_MOST_BITS_PER_PIXEL = 0.5
_BUFFER_SECONDS, _BUFFER_FRAMES = 0.25, 8


class H264Encoder:
    """Turns pictures of one size into H.264 without delay: one in, one out.

    Only the first picture, and those asked for, are key frames (IDR with SPS and PPS);
    all others refer to the one before. Tagged BT.601, limited range.

    Args:
        width, height: pixels, any size; an odd one is coded with the last column or
            row repeated.
        rate: expected frames per second; bounds the bit rate.
        crf: quality, 0 best to 51.
        preset: x264's.

    Raises:
        SinkFailed: libx264 does not take this size.
    """

    def __init__(
        self, width: int, height: int, rate: float, crf: int = 20, preset: str = "ultrafast"
    ) -> None:
        self.size = (width, height)
        self._coded = (width + width % 2, height + height % 2)
        self._writer = YuvWriter(*self._coded, BROWSER, "yuv420p")
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = self._coded
        context.pix_fmt = "yuv420p"
        # One tick a frame: x264 shares out its bits by frames, whenever they come.
        context.framerate = Fraction(round(min(max(rate, 1.0), 240.0) * 1000), 1000)
        context.time_base = 1 / context.framerate
        context.colorspace = BROWSER.matrix
        context.color_range = BROWSER.range
        context.color_primaries = BROWSER.primaries
        context.color_trc = BROWSER.transfer
        bits = _MOST_BITS_PER_PIXEL * 2 ** ((20 - crf) / 6)
        rate = float(context.framerate)
        most = max(500, round(width * height * rate * bits / 1000))
        buffer = max(250, round(most * max(_BUFFER_SECONDS, _BUFFER_FRAMES / rate)))
        context.options = {
            "preset": preset,
            "tune": "zerolatency",
            "crf": str(crf),
            "forced-idr": "1",
            "threads": str(max(1, min(4, (os.cpu_count() or 1) // 2))),
            # The page asks for key frames when it needs one.
            "x264-params": (
                f"keyint=infinite:scenecut=0:ref=1:vbv-maxrate={most}:vbv-bufsize={buffer}"
            ),
        }
        try:
            context.open()
        except (FFmpegError, ValueError) as error:
            raise SinkFailed(f"H.264 cannot hold {width}x{height}: {error}") from error
        self._context = context
        self._time_base = context.time_base
        self._count = 0

    def encode(self, pixels: Uint8Image, key: bool) -> bytes:
        """Code one picture.

        Args:
            pixels: ``(height, width, 3)`` uint8 RGB.
            key: make it stand on its own.

        Returns:
            one access unit, Annex B.
        """
        width, height = self.size
        if self._coded != self.size:
            extra = ((0, height % 2), (0, width % 2), (0, 0))
            pixels = np.pad(pixels, extra, mode="edge")
        frame = self._writer.convert(pixels)
        frame.pict_type = 1 if key else 0
        frame.pts = self._count
        frame.time_base = self._time_base
        self._count += 1
        try:
            packets = self._context.encode(frame)
        except FFmpegError as error:
            raise SinkFailed(f"the H.264 encoder stopped: {error.strerror}") from error
        return b"".join(bytes(packet) for packet in packets)


def encode_jpeg(pixels: Uint8Image, quality: int = 85) -> bytes:
    """Code ``(H, W, 3)`` uint8 RGB as JPEG.

    Raises:
        SinkFailed: a side is longer than 65535 pixels.
    """
    return _imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(pixels: Uint8Image) -> bytes:
    """Code ``(H, W, 3)`` uint8 RGB as PNG, without loss."""
    return _imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def _imencode(suffix: str, pixels: Uint8Image, parameters: list[int]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    try:
        good, data = cv2.imencode(suffix, bgr, parameters)
    except cv2.error as error:
        raise SinkFailed(f"a picture could not be coded: {error}") from error
    if not good:
        raise SinkFailed(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} could not be coded")
    return bytes(data)
