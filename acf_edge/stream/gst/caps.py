"""GStreamer's words for pixels and colours, and ours.

GStreamer numbers matrices, ranges and curves in its own way and writes them into
one string, ``colorimetry``; here they become code points of H.273 and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from acf_edge.stream.colour import MATRIX_601_525, MATRIX_601_625, UNSPECIFIED, Colour

# Names of GstVideoColorimetry -> (range, matrix, transfer, primaries) in GStreamer's numbers.
_NAMED = {
    "bt601": (2, 4, 16, 4),
    "bt709": (2, 3, 5, 1),
    "smpte240m": (2, 5, 6, 5),
    "sRGB": (1, 1, 7, 1),
    "bt2020": (2, 6, 11, 7),
    "bt2020-10": (2, 6, 13, 7),
    "bt2100-pq": (2, 6, 14, 7),
    "bt2100-hlg": (2, 6, 15, 7),
}
# GStreamer's number -> H.273.
_RANGES = {1: 2, 2: 1}
_MATRICES = {1: 0, 2: 4, 3: 1, 4: 6, 5: 7, 6: 9}
_TRANSFERS = {1: 8, 4: 4, 5: 1, 6: 7, 7: 13, 8: 5, 9: 9, 10: 10, 11: 15, 13: 14, 14: 16, 15: 18,
              16: 6}  # fmt: skip
_PRIMARIES = {1: 1, 2: 4, 3: 5, 4: 6, 5: 7, 6: 8, 7: 9, 9: 10, 10: 11, 11: 12, 12: 22}
_BT470BG = 5


def read_colorimetry(text: str | None) -> Colour:
    """The colour that caps speak of.

    Args:
        text: the value of ``colorimetry``, e.g. ``"bt709"`` or ``"2:3:5:1"``; None where
            the caps have none.

    Returns:
        Code points of H.273; what is not said is untagged.
    """
    if not text:
        return Colour()
    numbers = _NAMED.get(text)
    if numbers is None:
        parts = text.split(":")
        if len(parts) != 4 or not all(part.isdigit() for part in parts):
            return Colour()
        numbers = (int(parts[0]), int(parts[1]), int(parts[2]), int(parts[3]))
    code_range, matrix, transfer, primaries = numbers
    colour = Colour(
        matrix=_MATRICES.get(matrix, UNSPECIFIED),
        range=_RANGES.get(code_range, 0),
        primaries=_PRIMARIES.get(primaries, UNSPECIFIED),
        transfer=_TRANSFERS.get(transfer, UNSPECIFIED),
    )
    if colour.matrix == MATRIX_601_525 and colour.primaries == _BT470BG:
        return Colour(MATRIX_601_625, colour.range, colour.primaries, colour.transfer)
    return colour


def _back(table: Mapping[int, int], code: int) -> int:
    return next((number for number, known in table.items() if known == code), 0)


def write_colorimetry(colour: Colour) -> str:
    """The value of ``colorimetry`` that says ``colour``; the inverse of :func:`read_colorimetry`.

    A name where GStreamer has one, because elements compare the strings.
    """
    matrix = MATRIX_601_525 if colour.matrix == MATRIX_601_625 else colour.matrix
    matrix = 9 if matrix == 10 else matrix
    numbers = (
        _back(_RANGES, colour.range),
        _back(_MATRICES, matrix),
        _back(_TRANSFERS, colour.transfer),
        _back(_PRIMARIES, colour.primaries),
    )
    for name, known in _NAMED.items():
        if known == numbers:
            return name
    return ":".join(str(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class PlaneShape:
    """How much of a picture one plane holds.

    Attributes:
        across: columns of the picture that share a sample.
        down: rows that do.
        size: bytes of a sample (of all that is interleaved in the plane).
    """

    across: int
    down: int
    size: int

    def extent(self, width: int, height: int) -> tuple[int, int]:
        """``(bytes in a row, rows)`` of the plane of a picture of that size."""
        return -(-width // self.across) * self.size, -(-height // self.down)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A raw format that both sides know.

    Attributes:
        gst: GStreamer's name.
        av: FFmpeg's name of the same bytes.
        planes: in the order of both.
        bits: of one sample.
        rgb: it has no matrix.
    """

    gst: str
    av: str
    planes: tuple[PlaneShape, ...]
    bits: int = 8
    rgb: bool = False

    @property
    def subsampled(self) -> bool:
        """Columns share chroma, so it matters where its samples lie."""
        return not self.rgb and any(plane.across > 1 for plane in self.planes)


def _planar(gst: str, av: str, across: int, down: int, bits: int = 8) -> PixelFormat:
    size = 1 if bits == 8 else 2
    chroma = PlaneShape(across, down, size)
    return PixelFormat(gst, av, (PlaneShape(1, 1, size), chroma, chroma), bits)


def _half_planar(gst: str, av: str, across: int, down: int, bits: int = 8) -> PixelFormat:
    size = 1 if bits == 8 else 2
    return PixelFormat(gst, av, (PlaneShape(1, 1, size), PlaneShape(across, down, 2 * size)), bits)


def _packed(gst: str, av: str, size: int, across: int = 1, rgb: bool = True) -> PixelFormat:
    return PixelFormat(gst, av, (PlaneShape(across, 1, size),), 8, rgb)


# First what decoders and cameras give, so that nothing is converted on the way here.
_FORMATS = (
    _planar("I420", "yuv420p", 2, 2),
    _half_planar("NV12", "nv12", 2, 2),
    _half_planar("NV21", "nv21", 2, 2),
    _planar("Y42B", "yuv422p", 2, 1),
    _planar("Y444", "yuv444p", 1, 1),
    _planar("Y41B", "yuv411p", 4, 1),
    _half_planar("NV16", "nv16", 2, 1),
    _half_planar("NV24", "nv24", 1, 1),
    _packed("YUY2", "yuyv422", 4, 2, rgb=False),
    _packed("UYVY", "uyvy422", 4, 2, rgb=False),
    _packed("YVYU", "yvyu422", 4, 2, rgb=False),
    _planar("I420_10LE", "yuv420p10le", 2, 2, 10),
    _planar("I422_10LE", "yuv422p10le", 2, 1, 10),
    _planar("Y444_10LE", "yuv444p10le", 1, 1, 10),
    _half_planar("P010_10LE", "p010le", 2, 2, 10),
    _planar("I420_12LE", "yuv420p12le", 2, 2, 12),
    _planar("I422_12LE", "yuv422p12le", 2, 1, 12),
    _planar("Y444_12LE", "yuv444p12le", 1, 1, 12),
    _packed("GRAY8", "gray", 1, rgb=False),
    PixelFormat("GRAY16_LE", "gray16le", (PlaneShape(1, 1, 2),), 16),
    _packed("RGB", "rgb24", 3),
    _packed("BGR", "bgr24", 3),
    _packed("RGBA", "rgba", 4),
    _packed("BGRA", "bgra", 4),
    _packed("ARGB", "argb", 4),
    _packed("ABGR", "abgr", 4),
    _packed("RGBx", "rgb0", 4),
    _packed("BGRx", "bgr0", 4),
    _packed("xRGB", "0rgb", 4),
    _packed("xBGR", "0bgr", 4),
)
FORMATS = {pixel_format.gst: pixel_format for pixel_format in _FORMATS}


def accepted_caps() -> str:
    """Caps of everything that can be read, in system memory."""
    return f"video/x-raw, format=(string){{ {', '.join(FORMATS)} }}"


def raw_caps(
    pixel_format: str,
    size: tuple[int, int],
    rate: Fraction,
    colour: Colour,
    aspect: Fraction | None,
) -> str:
    """Caps of raw pictures that say how they are to be read.

    Args:
        pixel_format: GStreamer's name.
        size: ``(width, height)``.
        rate: nominal frames per second.
        colour: matrix and range that the pixels were written with.
        aspect: of a pixel; None = square.
    """
    par = aspect or Fraction(1)
    site = ", chroma-site=(string)mpeg2" if FORMATS[pixel_format].subsampled else ""
    return (
        f"video/x-raw, format=(string){pixel_format}, width=(int){size[0]}, height=(int){size[1]}, "
        f"framerate=(fraction){rate.numerator}/{rate.denominator}, "
        f"pixel-aspect-ratio=(fraction){par.numerator}/{par.denominator}, "
        f"interlace-mode=(string)progressive, "
        f"colorimetry=(string){write_colorimetry(colour)}{site}"
    )
