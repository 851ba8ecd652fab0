"""Launch plans of the frame border: NV12 and RGB bytes to a network's input, and back.

The kernels are in ``kernels/frame_border.cu``. Three forms of a picture meet there:

* NV12: buffers ``luma`` and ``chroma`` (which may lie in one allocation).
* RGB: buffer ``rgb``, uint8 (n, height, width, 3).
* planar: buffer ``planes``, FP16 or FP32 (n, 3, height, width).

Every size from 1 x 1 on; an odd side rounds the chroma up. One pass over memory, no workspace.
Buffers on 16 bytes and pitches that are multiples of 16 are the fast case, no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acf_edge.cuda.plan import Arg, Launch, Plan, Pointer, Scalar

Siting = Literal["left", "center", "topleft"]
Planar = Literal["fp16", "fp32"]

_LANES, _BANDS, _COLUMNS = 32, 4, 8  # as in kernels/acf/border_tile.cuh
_GRID_YZ = 65535
_INT32 = 2**31 - 1
_BYTES: dict[str, int] = {"fp16": 2, "fp32": 4}
# Red's and blue's share of luma, by the code points of ITU-T H.273.
_SHARES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class Coding:
    """How NV12 is to be read or written.

    Attributes:
        matrix: H.273 code point: 1 BT.709, 5 and 6 BT.601, 9 BT.2020, 4 FCC, 7 SMPTE 240M.
            10 is taken for 9.
        full: full range (0..255); else limited (luma 16..235, chroma 16..240).
        siting: of chroma: ``"left"`` as H.264, HEVC and VP9 mean it unasked, ``"center"`` as
            JPEG, ``"topleft"`` as BT.2020 does.

    Raises:
        ValueError: a matrix or a siting that there is none of.
    """

    matrix: int = 1
    full: bool = False
    siting: Siting = "left"

    def __post_init__(self) -> None:
        if self.matrix not in _SHARES:
            raise ValueError(f"no YUV matrix has the code point {self.matrix}")
        if self.siting not in ("left", "center", "topleft"):
            raise ValueError(f"chroma is sited left, center or topleft, not '{self.siting}'")

    def to_rgb(self) -> tuple[float, ...]:
        """``(luma, lift, red_v, green_u, green_v, blue_u)`` on code values.

        ``grey = luma * Y + lift``; red is ``grey + red_v * (V - 128)``, green and blue likewise.
        """
        red, blue = _SHARES[self.matrix]
        green = 1.0 - red - blue
        luma, chroma = (1.0, 1.0) if self.full else (255 / 219, 255 / 224)
        red_v, blue_u = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        lift = 0.0 if self.full else -16 * luma
        return luma, lift, red_v, -blue / green * blue_u, -red / green * red_v, blue_u

    def to_yuv(self) -> tuple[float, ...]:
        """``(red, green, blue, luma, lift, u, v)`` on code values.

        ``grey = red * R + green * G + blue * B``; Y is ``luma * grey + lift``, U is
        ``u * (B - grey) + 128``, V is ``v * (R - grey) + 128``.
        """
        red, blue = _SHARES[self.matrix]
        luma, chroma = (1.0, 1.0) if self.full else (219 / 255, 224 / 255)
        lift = 0.0 if self.full else 16.0
        u, v = 0.5 / (1 - blue) * chroma, 0.5 / (1 - red) * chroma
        return red, 1.0 - red - blue, blue, luma, lift, u, v

    def reading(self) -> tuple[float, float, float, float]:
        """Weights of the neighbours when chroma is read.

        Of the sample before at the first of two columns, of the one after at the second; the
        same for rows.
        """
        return (*_read(self.siting == "center"), *_read(self.siting != "topleft"))

    def writing(self) -> tuple[float, float, float, float]:
        """Weights of the neighbours when chroma is written.

        Of the column before the two that a sample stands for, and of the second of these (the
        first has a half); the same for rows.
        """
        return (*_write(self.siting == "center"), *_write(self.siting != "topleft"))


def _read(between: bool) -> tuple[float, float]:
    return (0.25, 0.25) if between else (0.0, 0.5)


def _write(between: bool) -> tuple[float, float]:
    return (0.0, 0.5) if between else (0.25, 0.25)


@dataclass(frozen=True)
class Nv12Layout:
    """Where the samples of NV12 lie, in bytes.

    Attributes:
        luma_pitch: from row to row of luma; the width at least.
        chroma_pitch: from row to row of chroma; the width rounded up to 2 at least.
        luma_step: from picture to picture.
        chroma_step: from picture to picture.
    """

    luma_pitch: int
    chroma_pitch: int
    luma_step: int = 0
    chroma_step: int = 0

    @staticmethod
    def packed(height: int, width: int, pitch: int | None = None) -> Nv12Layout:
        """One picture after the other, chroma right behind luma, one pitch (None: none between).

        Chroma begins ``height * layout.luma_pitch`` bytes into the buffer.
        """
        pitch = pitch or width + width % 2
        size = pitch * (height + (height + 1) // 2)
        return Nv12Layout(pitch, pitch, size, size)


@dataclass(frozen=True)
class RgbLayout:
    """Where the pixels of RGB lie, in bytes.

    Attributes:
        pitch: from row to row; 3 * width at least.
        step: from picture to picture.
    """

    pitch: int
    step: int = 0


@dataclass(frozen=True)
class PlanesLayout:
    """Where the elements of planes lie, in bytes, and what they mean.

    Attributes:
        dtype: ``"fp16"`` or ``"fp32"``.
        pitch: from row to row; None: no gap.
        plane_step: from channel to channel; None: no gap.
        image_step: from picture to picture; None: no gap.
        unit: the element of code value 255 less that of code value 0: 1.0 or 255.0.
        zero: the element of code value 0.
    """

    dtype: Planar = "fp16"
    pitch: int | None = None
    plane_step: int | None = None
    image_step: int | None = None
    unit: float = 1.0
    zero: float = 0.0


def plan_nv12_to_rgb(
    n: int,
    height: int,
    width: int,
    coding: Coding | None = None,
    *,
    nv12: Nv12Layout | None = None,
    rgb: RgbLayout | None = None,
) -> Plan:
    """NV12 to RGB bytes (full range, nearest even). Buffers: ``luma``, ``chroma``, ``rgb``.

    Args:
        n: pictures.
        height: rows of luma.
        width: columns of luma.
        coding: matrix, range and siting of NV12; None is BT.709, limited, left.
        nv12: layout; None is :meth:`Nv12Layout.packed`.
        rgb: layout; None has no gaps.

    Raises:
        ValueError: a size below 1 or beyond a launch; a pitch or a step that is too small.
    """
    coding = coding or Coding()
    arguments = (*_nv12(n, height, width, nv12), *_rgb(n, height, width, rgb))
    numbers = (*coding.reading(), *coding.to_rgb())
    return _plan("nv12_to_rgb", ("luma", "chroma", "rgb"), n, height, width, arguments, numbers)


def plan_rgb_to_nv12(
    n: int,
    height: int,
    width: int,
    coding: Coding | None = None,
    *,
    rgb: RgbLayout | None = None,
    nv12: Nv12Layout | None = None,
) -> Plan:
    """RGB bytes to NV12. Buffers: ``rgb``, ``luma``, ``chroma``.

    Else as :func:`plan_nv12_to_rgb`.
    """
    coding = coding or Coding()
    arguments = (*_rgb(n, height, width, rgb), *_nv12(n, height, width, nv12))
    numbers = (*coding.writing(), *coding.to_yuv())
    return _plan("rgb_to_nv12", ("rgb", "luma", "chroma"), n, height, width, arguments, numbers)


def plan_nv12_to_planar(
    n: int,
    height: int,
    width: int,
    coding: Coding | None = None,
    *,
    nv12: Nv12Layout | None = None,
    planes: PlanesLayout | None = None,
) -> Plan:
    """NV12 to planes; clipped to what RGB bytes can hold, not rounded to them.

    Buffers: ``luma``, ``chroma``, ``planes``; else as :func:`plan_nv12_to_rgb`.
    """
    coding, planes = coding or Coding(), planes or PlanesLayout()
    arguments = (
        *_nv12(n, height, width, nv12),
        *_planes(n, height, width, planes, inwards=True),
    )
    numbers = (*coding.reading(), *coding.to_rgb())
    kernel = f"nv12_to_planar_{planes.dtype}"
    return _plan(kernel, ("luma", "chroma", "planes"), n, height, width, arguments, numbers)


def plan_planar_to_nv12(
    n: int,
    height: int,
    width: int,
    coding: Coding | None = None,
    *,
    planes: PlanesLayout | None = None,
    nv12: Nv12Layout | None = None,
) -> Plan:
    """Planes to NV12, clipped to what RGB bytes can hold.

    Buffers: ``planes``, ``luma``, ``chroma``; else as :func:`plan_nv12_to_rgb`.
    """
    coding, planes = coding or Coding(), planes or PlanesLayout()
    arguments = (
        *_planes(n, height, width, planes, inwards=False),
        *_nv12(n, height, width, nv12),
    )
    numbers = (*coding.writing(), *coding.to_yuv())
    kernel = f"planar_to_nv12_{planes.dtype}"
    return _plan(kernel, ("planes", "luma", "chroma"), n, height, width, arguments, numbers)


def plan_rgb_to_planar(
    n: int,
    height: int,
    width: int,
    *,
    rgb: RgbLayout | None = None,
    planes: PlanesLayout | None = None,
) -> Plan:
    """RGB bytes to planes. Buffers: ``rgb``, ``planes``; else as :func:`plan_nv12_to_rgb`."""
    planes = planes or PlanesLayout()
    arguments = (*_rgb(n, height, width, rgb), *_planes(n, height, width, planes, inwards=True))
    kernel = f"rgb_to_planar_{planes.dtype}"
    return _plan(kernel, ("rgb", "planes"), n, height, width, arguments, ())


def plan_planar_to_rgb(
    n: int,
    height: int,
    width: int,
    *,
    planes: PlanesLayout | None = None,
    rgb: RgbLayout | None = None,
) -> Plan:
    """Planes to RGB bytes, clipped, nearest even; NaN becomes 0. Buffers: ``planes``, ``rgb``.

    Else as :func:`plan_nv12_to_rgb`.
    """
    planes = planes or PlanesLayout()
    arguments = (*_planes(n, height, width, planes, inwards=False), *_rgb(n, height, width, rgb))
    kernel = f"planar_to_rgb_{planes.dtype}"
    return _plan(kernel, ("planes", "rgb"), n, height, width, arguments, ())


def _plan(
    kernel: str,
    buffers: tuple[str, ...],
    n: int,
    height: int,
    width: int,
    layouts: tuple[Scalar, ...],
    numbers: tuple[float, ...],
) -> Plan:
    columns, rows = _LANES * _COLUMNS, 2 * _BANDS
    grid = (-(-width // columns), -(-height // rows), n)
    if grid[1] > _GRID_YZ or n > _GRID_YZ:
        raise ValueError(f"{n} pictures of {width}x{height} do not fit one launch")
    arguments: tuple[Arg, ...] = (
        *(Pointer(name) for name in buffers),
        np.int32(height),
        np.int32(width),
        *layouts,
        *(np.float32(number) for number in numbers),
    )
    return Plan(0, (Launch(kernel, grid, (_LANES, _BANDS, 1), 0, arguments),))


def _nv12(n: int, height: int, width: int, layout: Nv12Layout | None) -> tuple[Scalar, ...]:
    _check_size(n, height, width)
    layout = layout or Nv12Layout.packed(height, width)
    luma_pitch, chroma_pitch = layout.luma_pitch, layout.chroma_pitch
    _check_plane("luma", n, height, width, luma_pitch, layout.luma_step)
    pair_bytes = width + width % 2
    _check_plane("chroma", n, (height + 1) // 2, pair_bytes, chroma_pitch, layout.chroma_step)
    steps = np.int64(layout.luma_step), np.int64(layout.chroma_step)
    return (*steps, np.int32(luma_pitch), np.int32(chroma_pitch))


def _rgb(n: int, height: int, width: int, layout: RgbLayout | None) -> tuple[Scalar, ...]:
    _check_size(n, height, width)
    layout = layout or RgbLayout(3 * width, 3 * width * height)
    _check_plane("RGB", n, height, 3 * width, layout.pitch, layout.step)
    return np.int64(layout.step), np.int32(layout.pitch)


def _planes(
    n: int, height: int, width: int, layout: PlanesLayout, inwards: bool
) -> tuple[Scalar, ...]:
    _check_size(n, height, width)
    if layout.dtype not in _BYTES:
        raise ValueError(f"planes are fp16 or fp32, not '{layout.dtype}'")
    element = _BYTES[layout.dtype]
    pitch = element * width if layout.pitch is None else layout.pitch
    plane = pitch * height if layout.plane_step is None else layout.plane_step
    image = 3 * plane if layout.image_step is None else layout.image_step
    _check_plane("the planes", 3, height, element * width, pitch, plane)
    _check_plane("the planes", n, 3, plane, plane, image)
    if any(number % element for number in (pitch, plane, image)):
        raise ValueError(f"planes of {layout.dtype} lie on multiples of {element} bytes")
    if not layout.unit or not (math.isfinite(layout.unit) and math.isfinite(layout.zero)):
        raise ValueError(f"code values cannot lie {layout.unit} apart from {layout.zero} on")
    gain, lift = layout.unit / 255, layout.zero
    if not inwards:
        gain, lift = 255 / layout.unit, -255 * layout.zero / layout.unit
    steps = np.int64(image), np.int64(plane)
    return (*steps, np.int32(pitch), np.float32(gain), np.float32(lift))


def _check_size(n: int, height: int, width: int) -> None:
    if min(n, height, width) < 1:
        raise ValueError(f"{n} pictures of {width}x{height}: each is 1 at least")


def _check_plane(name: str, n: int, rows: int, row_bytes: int, pitch: int, step: int) -> None:
    if pitch < row_bytes:
        raise ValueError(f"rows of {row_bytes} bytes overlap at a pitch of {pitch} ({name})")
    if pitch > _INT32:
        raise ValueError(f"a pitch of {pitch} bytes is beyond 32 bits ({name})")
    if n > 1 and step < pitch * (rows - 1) + row_bytes:
        raise ValueError(f"a step of {step} bytes lets pictures overlap ({name})")
