"""Films whose pixels are made from the definitions of the matrices, and their judges.

Nothing here uses the package's own colour conversion: a mistake in it cannot hide.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from video_clips import WEIGHTS, Image, psnr

Planes = list[npt.NDArray[np.float64]]

MOST_MEAN, LEAST_PSNR = 1.0, 45.0


def to_planes(rgb: npt.NDArray[np.float64] | Image, matrix: int, full: bool, bits: int) -> Planes:
    """``(H, W, 3)`` in 0..255 to Y, U, V of full size in code values of ``bits``, unrounded."""
    kr, kb = WEIGHTS[matrix]
    r, g, b = (rgb[..., i].astype(np.float64) / 255 for i in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if full:
        white, zero = (1 << bits) - 1, 1 << (bits - 1)
        return [y * white, u * white + zero, v * white + zero]
    unit = 1 << (bits - 8)
    return [(219 * y + 16) * unit, (224 * u + 128) * unit, (224 * v + 128) * unit]


def to_rgb(planes: Planes, matrix: int, full: bool, bits: int = 8) -> Image:
    """The inverse of :func:`to_planes`, rounded."""
    if full:
        white, zero = (1 << bits) - 1, 1 << (bits - 1)
        y, u, v = planes[0] / white, (planes[1] - zero) / white, (planes[2] - zero) / white
    else:
        y, u, v = (p / (1 << (bits - 8)) for p in planes)
        y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    kr, kb = WEIGHTS[matrix]
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.rint(255 * np.stack([r, g, b], axis=-1)), 0, 255).astype(np.uint8)


def thinned(chroma: npt.NDArray[np.float64], across: int, down: int) -> npt.NDArray[np.float64]:
    """Sub-sampled chroma, sited as in H.264: on the even columns, between the rows."""
    if down == 2:
        chroma = (chroma[0::2] + chroma[1::2]) / 2
    if across == 2:
        wide = np.pad(chroma, ((0, 0), (1, 1)), mode="edge")
        chroma = (wide[:, 0:-2:2] + 2 * wide[:, 1:-1:2] + wide[:, 2::2]) / 4
    return chroma


def widened(chroma: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """The inverse of :func:`thinned`, by linear interpolation; sizes may be odd."""
    rows, columns = chroma.shape
    down, across = -(-height // rows), -(-width // columns)
    if down == 2:
        chroma = cv2.resize(chroma, (columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    if across == 2:
        wide = np.repeat(chroma, 2, axis=1)
        wide[:, 1:-1:2] = (chroma[:, :-1] + chroma[:, 1:]) / 2
        chroma = wide
    return np.asarray(chroma[:height, :width], np.float64)


def coded(
    rgb: npt.NDArray[np.float64] | Image, pixel_format: str, matrix: int, full: bool
) -> av.VideoFrame:
    """A frame to encode: ``yuv420p``, ``yuv422p`` or ``yuv444p``, with ``10le`` if deep."""
    bits = 10 if pixel_format.endswith("10le") else 8
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[pixel_format[3:6]]
    y, u, v = to_planes(rgb, matrix, full, bits)
    frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], pixel_format)
    kind = np.uint8 if bits == 8 else np.uint16
    for plane, values in zip(
        frame.planes, (y, thinned(u, across, down), thinned(v, across, down)), strict=True
    ):
        rows, columns = values.shape
        store = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind().itemsize)
        store[:rows, :columns] = np.clip(np.rint(values), 0, (1 << bits) - 1)
    return frame


def decoded(frame: av.VideoFrame, matrix: int, full: bool) -> Image:
    """A planar 8- or 10-bit YUV frame to RGB, read as told."""
    name = frame.format.name
    bits = 10 if name.endswith("10le") else 8
    assert name.startswith(("yuv4", "yuvj4")), name
    kind = np.uint8 if bits == 8 else np.uint16
    planes = []
    for i, plane in enumerate(frame.planes):
        component = frame.format.components[i]
        store = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind().itemsize)
        values = store[: component.height, : component.width].astype(np.float64)
        planes.append(values if i == 0 else widened(values, frame.height, frame.width))
    return to_rgb(planes, matrix, full, bits)


def write_film(
    path: Path,
    picture: npt.NDArray[np.float64] | Image,
    *,
    matrix: int,
    full: bool,
    pixel_format: str = "yuv420p",
    tagged: tuple[int, bool] | None = None,
    count: int = 8,
    rate: int = 25,
) -> None:
    """The same picture ``count`` times, coded without loss.

    ``tagged`` is what the file says of itself, where that is not the truth.
    """
    said_matrix, said_full = tagged or (matrix, full)
    frame = coded(picture, pixel_format, matrix, full)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "qp": "0"})
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixel_format
        context = stream.codec_context
        context.colorspace, context.color_range = said_matrix, 2 if said_full else 1
        context.color_primaries = context.color_trc = said_matrix
        for i in range(count):
            frame.pts, frame.time_base, frame.pict_type = i, Fraction(1, rate), 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def as_tagged(frame: av.VideoFrame) -> Image:
    """A frame to RGB by what it says of itself; it must say something."""
    matrix, code_range = int(frame.colorspace), int(frame.color_range)
    assert matrix in WEIGHTS, f"the matrix is tagged as {matrix}"
    assert code_range in (1, 2), f"the range is tagged as {code_range}"
    return decoded(frame, matrix, code_range == 2)


def judge(got: Image, wanted: Image) -> None:
    """Within one code value in the mean of every channel, and 45 dB."""
    assert got.shape == wanted.shape
    means = np.abs((got.astype(np.float64) - wanted).mean(axis=(0, 1)))
    assert means.max() <= MOST_MEAN, f"the mean of a channel is off by {means.max():.2f}"
    assert psnr(got, wanted) >= LEAST_PSNR, f"{psnr(got, wanted):.1f} dB"
