"""Small clips and pictures made on the spot, and readers that share no code with the package.

Colours are converted here in NumPy from the definitions of the matrices, so a
mistake in the package's own conversion cannot hide.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

# H.273 matrix -> (Kr, Kb)
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


class FakeEngine:
    """Nearest-neighbour up-sampling; scale 1 is the identity."""

    def __init__(self, scale: int = 2) -> None:
        self.scale = scale
        self.name = f"nearest x{scale}"
        self.calls = 0

    def run(self, frame: Image) -> Image:
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        assert frame.flags.c_contiguous
        self.calls += 1
        return np.ascontiguousarray(frame.repeat(self.scale, 0).repeat(self.scale, 1))

    def close(self) -> None:
        pass


def smooth_picture(height: int, width: int, seed: int = 0) -> Image:
    """Colours of every hue that change slowly, so that 4:2:0 loses nothing that matters."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def numbered_picture(height: int, width: int, number: int) -> Image:
    """A picture that carries ``number`` (0..255) as an 8-bit code of black and white blocks."""
    picture = np.full((height, width, 3), 90, np.uint8)
    block = width // 8
    for bit in range(8):
        value = 235 if number >> bit & 1 else 20
        picture[: height // 2, bit * block : (bit + 1) * block] = value
    return picture


def read_number(picture: Image) -> int:
    """The inverse of :func:`numbered_picture`, at any scale, after any codec."""
    height, width = picture.shape[:2]
    block = width // 8
    row = picture[: height // 2].mean(axis=(0, 2))
    return sum(
        1 << bit
        for bit in range(8)
        if row[bit * block + block // 4 : (bit + 1) * block - block // 4].mean() > 128
    )


def rgb_to_i420(rgb: Image, matrix: int, full: bool) -> Image:
    """``(H, W, 3)`` to ``(H * 3 / 2, W)`` planar 4:2:0, from the definition of the matrix."""
    kr, kb = WEIGHTS[matrix]
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if not full:
        y, u, v = y * 219 / 255 + 16, u * 224 / 255, v * 224 / 255
    width = y.shape[1]
    planes = [y] + [_halve(c).reshape(-1, width) + 128 for c in (u, v)]
    return np.clip(np.rint(np.concatenate(planes)), 0, 255).astype(np.uint8)


def _halve(chroma: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """4:4:4 to 4:2:0, sited as in H.264: on even columns, between two rows."""
    rows = (chroma[0::2] + chroma[1::2]) / 2
    wide = np.pad(rows, ((0, 0), (1, 1)), mode="edge")
    return (wide[:, 0:-2:2] + 2 * wide[:, 1:-1:2] + wide[:, 2::2]) / 4


def _double(chroma: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse of :func:`_halve`, by linear interpolation."""
    rows, columns = chroma.shape
    tall = cv2.resize(chroma, (columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    wide = np.repeat(tall, 2, axis=1)
    wide[:, 1:-1:2] = (tall[:, :-1] + tall[:, 1:]) / 2
    return wide


def yuv_to_rgb(frame: av.VideoFrame, matrix: int, full: bool) -> Image:
    """A decoded ``yuv420p`` or ``yuvj420p`` frame to RGB, read as told, not as tagged."""
    height, width = frame.height, frame.width
    planes = []
    for plane, (rows, columns) in zip(
        frame.planes, [(height, width)] + [(height // 2, width // 2)] * 2, strict=True
    ):
        data = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        planes.append(data[:rows, :columns].astype(np.float64))
    y, u, v = planes[0], planes[1] - 128, planes[2] - 128
    u, v = _double(u), _double(v)
    if not full:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    kr, kb = WEIGHTS[matrix]
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255).astype(np.uint8)


def psnr(a: Image, b: Image) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


@dataclass
class Tags:
    """Colour tags of a clip; 2 and 0 are "untagged"."""

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


def write_clip(
    path: Path,
    pictures: Sequence[Image],
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    rate: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    matrix: int = 6,
    tags: Tags | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    audio: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    durations: Sequence[int] | None = None,
) -> None:
    """Encode pictures; ``matrix`` is what the pixels are written with, ``tags`` what is said.

    ``audio`` names encoders, one stream each, as long as the pictures last.
    """
    tags = tags or Tags()
    full = tags.range == 2 or pixel_format.startswith("yuvj")
    height, width = pictures[0].shape[:2]
    if pts is None:
        step = round(1 / (rate * time_base))
        pts = [i * step for i in range(len(pictures))]
    with av.open(str(path), "w", container_options=container or {}) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(
            codec, rate=rate, options={"preset": "ultrafast"} if options is None else options
        )
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        sounds = [_add_sound(out, name, i) for i, name in enumerate(audio)]
        end = Fraction(pts[-1]) * time_base + Fraction(1, rate)
        packets = []
        lengths = dict(zip(pts, durations or [0] * len(pts), strict=True))
        for when, picture in zip(pts, pictures, strict=True):
            if pixel_format in ("yuv420p", "yuvj420p"):
                planes = rgb_to_i420(picture, matrix, full)
                frame = av.VideoFrame.from_ndarray(planes, format=pixel_format)
            else:
                frame = av.VideoFrame.from_ndarray(picture).reformat(format=pixel_format)
            frame.pts, frame.time_base = when, time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets:
            if lengths.get(packet.pts or 0):
                packet.duration = lengths[packet.pts or 0]
        for sound, seed in sounds:
            packets += _sound_packets(sound, end, seed)
        packets.sort(key=lambda p: Fraction(p.dts or 0) * p.time_base)
        for packet in packets:
            out.mux(packet)


def _add_sound(
    out: av.container.OutputContainer, codec: str, seed: int
) -> tuple[av.AudioStream, int]:
    stream = out.add_stream(codec, rate=48000)
    assert isinstance(stream, av.AudioStream)
    stream.layout = "mono"
    return stream, seed


def _sound_packets(stream: av.AudioStream, seconds: Fraction, seed: int) -> list[av.Packet]:
    packets, size = [], 960
    for start in range(0, int(seconds * 48000), size):
        t = (start + np.arange(size)) / 48000
        wave = 0.3 * np.sin(2 * np.pi * (220 + 110 * seed) * t)
        kind = stream.format.name.rstrip("p")
        if kind in ("s16", "s32"):
            dtype = np.dtype(np.int16 if kind == "s16" else np.int32)
            data = (wave * np.iinfo(dtype).max).astype(dtype)[None]
        else:
            data = wave.astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(data, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def turn(path: Path, degrees: int, mirror: bool = False) -> None:
    """Write a display matrix into the video track of an MP4, as phones do.

    ``degrees`` clockwise: what a player has to turn the coded picture by.
    """
    one = 1 << 16
    cos = {0: one, 90: 0, 180: -one, 270: 0}[degrees]
    sin = {0: 0, 90: one, 180: 0, 270: -one}[degrees]
    a, b, c, d = cos, sin, -sin, cos
    if mirror:  # columns first, then the turn
        a, b = -a, -b
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd")
    start = at + 4 + (40 if data[at + 4] == 0 else 52)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


@dataclass
class Contents:
    """What is in a video file."""

    seconds: list[Fraction] = field(default_factory=list)
    frames: list[av.VideoFrame] = field(default_factory=list)
    audio: list[list[bytes]] = field(default_factory=list)
    audio_seconds: list[list[Fraction]] = field(default_factory=list)
    duration: Fraction = Fraction(0)

    def rgb(self, index: int = 0, matrix: int = 6, full: bool = False) -> Image:
        return yuv_to_rgb(self.frames[index], matrix, full)

    @property
    def numbers(self) -> list[int]:
        return [read_number(self.rgb(i)) for i in range(len(self.frames))]


def read_clip(path: Path) -> Contents:
    """Decode the video and collect the audio packets, unaltered."""
    contents = Contents()
    with av.open(str(path)) as container:
        sound = {s.index: i for i, s in enumerate(container.streams.audio)}
        contents.audio = [[] for _ in sound]
        contents.audio_seconds = [[] for _ in sound]
        for packet in container.demux():
            if packet.stream_index in sound and packet.size:
                contents.audio[sound[packet.stream_index]].append(bytes(packet))
                contents.audio_seconds[sound[packet.stream_index]].append(
                    packet.pts * packet.time_base
                )
            elif packet.stream.type == "video":
                for frame in packet.decode():
                    contents.frames.append(frame)
                    contents.seconds.append(frame.pts * packet.stream.time_base)
        contents.duration = Fraction(container.duration or 0, av.time_base)
    return contents
