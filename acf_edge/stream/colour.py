"""Colour truth between coded YUV and RGB: which matrix, which range, said aloud.

The numbers are the code points of ITU-T H.273, which FFmpeg, H.264, Matroska
and MP4 share. swscale must be told both sides of every conversion: left alone
it reads BT.709 as BT.601 and writes BT.601 without a tag.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from acf_edge.engine.protocol import Uint8Image

UNSPECIFIED = 2
MATRIX_RGB, MATRIX_709, MATRIX_601_625, MATRIX_601_525 = 0, 1, 5, 6
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2
TRANSFER_PQ, TRANSFER_HLG = 16, 18
_BT709 = 1

# swscale numbers its matrices SWS_CS_*; only these six differ for it.
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_LIMITED_UNLESS_TAGGED = frozenset({"h264", "hevc", "vvc", "av1", "libdav1d", "vp9", "mpeg2video"})
# SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, as a number because PyAV 16
# names only the first. Rounding and full chroma together are worth 12 dB.
_QUALITY = 0x4 | 0x40000 | 0x2000


@dataclass(frozen=True, slots=True)
class Colour:
    """H.273 code points of a picture.

    Attributes:
        matrix: YUV matrix: 1 BT.709, 5/6 BT.601, 7 SMPTE 240M, 9 BT.2020, 0 RGB, 2 untagged.
        range: 1 limited (16..235), 2 full (0..255), 0 untagged.
        primaries: 1 BT.709, 5/6 BT.601, 9 BT.2020, 2 untagged.
        transfer: 1 BT.709, 16 PQ, 18 HLG, 2 untagged.
    """

    matrix: int = UNSPECIFIED
    range: int = RANGE_UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def hdr(self) -> bool:
        """The transfer curve is that of a high dynamic range."""
        return self.transfer in (TRANSFER_PQ, TRANSFER_HLG)


def is_hd(width: int, height: int) -> bool:
    """Whether players take an untagged picture of this size for BT.709."""
    return width >= 1280 or height >= 720


def _primaries_by_size(width: int, height: int) -> int:
    if is_hd(width, height):
        return _BT709
    if height == 576:
        return MATRIX_601_625
    if height in (480, 486):
        return MATRIX_601_525
    return _BT709


def tags_of(frame: VideoFrame, context: VideoCodecContext) -> Colour:
    """What the decoder says about a frame, and what its format says unasked.

    PyAV 16 tells primaries and transfer of the codec context only.
    """
    full = frame.format.name.startswith("yuvj")
    if _is_grey(frame) and not int(frame.color_range):
        full = context.name not in _LIMITED_UNLESS_TAGGED  # raw grey cameras, picture codecs
    return Colour(
        matrix=int(frame.colorspace),
        range=RANGE_FULL if full else int(frame.color_range),
        primaries=int(getattr(frame, "color_primaries", context.color_primaries)),
        transfer=int(getattr(frame, "color_trc", context.color_trc)),
    )


def resolve(tags: Colour, width: int, height: int, rgb: bool = False) -> Colour:
    """Fill in what is untagged, as players do.

    Args:
        tags: as the decoder gave them.
        width: coded width in pixels.
        height: coded height in pixels.
        rgb: the coded picture is RGB; it has no matrix and is full range.

    Returns:
        A colour with nothing unspecified. An untagged matrix is BT.709 from 1280
        columns or 720 rows on, BT.601 below; an untagged range is limited.
    """
    matrix = tags.matrix
    if rgb:
        matrix = MATRIX_RGB
    elif matrix not in _SWSCALE:
        matrix = MATRIX_709 if is_hd(width, height) else MATRIX_601_525
        if height == 576 and matrix != MATRIX_709:
            matrix = MATRIX_601_625
    code_range = RANGE_FULL if rgb else (tags.range or RANGE_LIMITED)
    primaries = tags.primaries
    if primaries in (0, UNSPECIFIED, 3):
        primaries = 9 if matrix in (9, 10) else _primaries_by_size(width, height)
    transfer = tags.transfer if tags.transfer not in (0, UNSPECIFIED, 3) else _BT709
    return Colour(matrix, code_range, primaries, transfer)


def output_colour(tags: Colour, read: Colour, width: int, height: int) -> Colour:
    """How to write a picture that was read as ``read`` and is now ``width`` x ``height``.

    A tagged matrix is kept. An untagged one (and RGB) follows the new size, since
    players that ignore tags go by the size. Range, primaries and transfer stay;
    RGB becomes limited range, which every player expects of YUV.
    """
    matrix = read.matrix
    if tags.matrix not in _SWSCALE:
        matrix = MATRIX_709 if is_hd(width, height) else MATRIX_601_525
        if matrix != MATRIX_709 and read.matrix == MATRIX_601_625:
            matrix = MATRIX_601_625
    if matrix == 10:  # constant luminance is beyond swscale: say what was written
        matrix = 9
    code_range = RANGE_LIMITED if read.matrix == MATRIX_RGB else read.range
    return replace(read, matrix=matrix, range=code_range)


def _rgb_side(matrix: int) -> int:
    # RGB has no matrix, but PyAV 16 skips its set-up where both sides agree and
    # then falls back to BT.601 limited; so the RGB side names another one.
    return 5 if matrix != 5 else 1


def decode_rgb(
    reformatter: VideoReformatter,
    frame: VideoFrame,
    colour: Colour,
    size: tuple[int, int] | None = None,
) -> Uint8Image:
    """Turn a decoded frame into RGB.

    More than 8 bits are dithered (:func:`bits_of`): what lies between two code
    values comes out as a mixture of them whose mean is right, not as a band.

    Args:
        reformatter: one per stream and thread; it keeps swscale's tables.
        frame: any pixel format that swscale reads.
        colour: how to read it (:func:`resolve`).
        size: ``(width, height)`` to scale to; None keeps the frame's own.

    Returns:
        ``(H, W, 3)`` uint8 RGB, full range, C-contiguous.
    """
    matrix = _SWSCALE.get(colour.matrix, 1)
    width, height = size or (frame.width, frame.height)
    bits = bits_of(frame)
    rgb = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgb48le" if bits > 8 else "rgb24",
        src_colorspace=matrix,
        dst_colorspace=_rgb_side(matrix),
        src_color_range=colour.range,
        dst_color_range=RANGE_FULL,
        interpolation=_QUALITY,
    )
    full = colour.range == RANGE_FULL
    if bits > 8:
        deep = np.asarray(rgb.to_ndarray(), np.uint16)
        return _dithered(deep, *_deep_levels(frame, bits, full))
    pixels = np.ascontiguousarray(rgb.to_ndarray(), dtype=np.uint8)
    return pixels if full or not _is_grey(frame) else _stretched(pixels)


def bits_of(frame: VideoFrame) -> int:
    """Bits of a frame's deepest component; more than 8 are brought down to 8."""
    return max((component.bits for component in frame.format.components), default=8)


def _is_grey(frame: VideoFrame) -> bool:
    return len(frame.format.components) == 1 and not frame.format.is_rgb


def _deep_levels(frame: VideoFrame, bits: int, full: bool) -> tuple[int, int]:
    """What swscale writes for black and for white when it makes 16-bit RGB of a frame."""
    if frame.format.is_rgb:
        return 0, 65535
    if full:
        return 0, ((1 << bits) - 1) << (16 - bits)  # shifted up, not stretched
    # Limited range is stretched as if it had 8 bits; of grey, it takes all for full range.
    return (16 << 8, 235 << 8) if _is_grey(frame) else (0, 255 << 8)


def _thresholds() -> npt.NDArray[np.uint16]:
    """Bayer's 8x8 order as offsets in 1/256 of a code value, ``(8, 8, 3)``, mean 1/2."""
    order = np.zeros((1, 1), np.int64)
    for _ in range(3):
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return (4 * order + 2).astype(np.uint16)[:, :, None].repeat(3, 2)


_THRESHOLDS = _thresholds()


def _dithered(deep: npt.NDArray[np.uint16], black: int, white: int) -> Uint8Image:
    """Ordered dithering of ``(H, W, 3)`` uint16 to 8 bits, so that black is 0 and white 255."""
    height, width = deep.shape[:2]
    tiles = (height + 7) // 8, (width + 7) // 8, 1
    offsets = np.tile(_THRESHOLDS, tiles)[:height, :width]
    factor = (255 << 8) / (white - black)
    # Both saturate, and take a fraction of NumPy's time.
    if factor == 1 and not black:
        raised = cv2.add(deep, offsets)
    else:
        raised = cv2.addWeighted(deep, factor, offsets, 1, -black * factor)
    # The high byte is the code value.
    return np.ascontiguousarray(np.asarray(raised, np.uint16).view(np.uint8)[:, :, 1::2])


def _stretched(grey: Uint8Image) -> Uint8Image:
    """Limited range to full, for grey pictures: swscale takes all of them for full range."""
    table = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(grey, table), np.uint8)


class YuvWriter:
    """Turns RGB pictures of one size into frames for an encoder.

    Args:
        width: pixels.
        height: pixels.
        colour: matrix and range to write.
        pixel_format: of the frames, e.g. ``"yuv420p"``.
    """

    def __init__(self, width: int, height: int, colour: Colour, pixel_format: str) -> None:
        self._colour = colour
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()
        self._canvas = _left_sited().reformat(width=width, height=height, format="rgb24")

    def convert(self, pixels: Uint8Image) -> VideoFrame:
        """Return ``(H, W, 3)`` uint8 RGB as a new frame without times."""
        plane = self._canvas.planes[0]
        whole = np.frombuffer(memoryview(plane), np.uint8)
        rows = whole[: plane.line_size * self._canvas.height]
        rows = rows.reshape(self._canvas.height, plane.line_size)
        rows[:, : 3 * self._canvas.width] = pixels.reshape(self._canvas.height, -1)
        matrix = _SWSCALE[self._colour.matrix]
        deep = _DEEP.get(self._pixel_format) if self._colour.range == RANGE_FULL else None
        frame = self._reformatter.reformat(
            self._canvas,
            format=deep or self._pixel_format,
            src_colorspace=_rgb_side(matrix),
            dst_colorspace=matrix,
            src_color_range=RANGE_FULL,
            dst_color_range=RANGE_LIMITED if deep else self._colour.range,
            interpolation=_QUALITY,
        )
        if deep:
            frame = _full_range(frame, self._pixel_format)
        frame.pict_type = 0  # the canvas was a key frame once; the encoder decides anew
        return frame


# swscale writes full-range chroma half a code value too low (it maps 16..240 to 0..255,
# which has no middle). In 16 bits and limited range it is exact.
_DEEP = {
    "yuv420p": "yuv420p16le",
    "yuv422p": "yuv422p16le",
    "yuv444p": "yuv444p16le",
    "nv12": "p016le",
}


def _full_range(deep: VideoFrame, pixel_format: str) -> VideoFrame:
    """Limited range in 16 bits to full range in 8."""
    frame = VideoFrame(deep.width, deep.height, pixel_format)
    for index, (source, target) in enumerate(zip(deep.planes, frame.planes, strict=True)):
        wide = np.frombuffer(memoryview(source), np.uint16).reshape(-1, source.line_size // 2)
        store = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
        rows, columns = min(len(wide), len(store)), min(wide.shape[1], store.shape[1])
        gain = 255 / (224 if index else 219)
        offset = 128 - 128 * gain if index else -16 * gain
        wide = wide[:rows, :columns]
        store[:rows, :columns] = cv2.convertScaleAbs(wide, alpha=gain / 256, beta=offset)
    return frame


def _left_sited() -> VideoFrame:
    """A frame that says its chroma lies on the even columns, as H.264 and VP9 mean it.

    Left alone, swscale writes chroma between the columns, half a pixel off. The
    property cannot be set from Python, but it is handed down from frame to frame
    and MPEG-4 decoders set it: so one tiny frame takes that way.
    """
    encoder = CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    blank = VideoFrame(16, 16, "yuv420p")
    blank.pts = 0
    decoder = CodecContext.create("mpeg4", "r")
    frames: list[VideoFrame] = []
    for packet in [*encoder.encode(blank), *encoder.encode(None), None]:
        frames += decoder.decode(packet)
    return frames[0]


def blank_left_sited(width: int, height: int, pixel_format: str) -> VideoFrame:
    """A frame to fill whose chroma lies on the even columns; :func:`decode_rgb` minds that."""
    return _left_sited().reformat(width=width, height=height, format=pixel_format)


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: transpose first, then mirror."""

    transpose: bool = False
    flip_columns: bool = False
    flip_rows: bool = False

    @property
    def upright(self) -> bool:
        """Nothing is to be done."""
        return not (self.transpose or self.flip_columns or self.flip_rows)

    def apply(self, pixels: Uint8Image) -> Uint8Image:
        """Return ``(H, W, ...)`` turned for display, C-contiguous."""
        if self.upright:
            return pixels
        if self.transpose:
            pixels = pixels.swapaxes(0, 1)
        if self.flip_columns:
            pixels = pixels[:, ::-1]
        if self.flip_rows:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


UPRIGHT = Orientation()


def orientation_of_matrix(matrix: bytes) -> Orientation | None:
    """Read a 3x3 display matrix (nine native int32, 16.16 fixed point).

    A pixel at column p, row q is shown at column ``a p + c q``, row ``b p + d q``.

    Returns:
        None where the matrix is not a multiple of a right angle (with or without
        mirroring): no player turns those, so the pixels stay as they are.
    """
    a, b, _, c, d = struct.unpack("=9i", matrix[:36])[:5]
    if a and d and not b and not c:
        return Orientation(False, a < 0, d < 0)
    if b and c and not a and not d:
        return Orientation(True, c < 0, b < 0)
    return None
