"""What a camera's H.264 encoder does to pictures, in memory and as a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from acf_edge.degrade.blur import FloatArray, apply_kernel, motion_trajectory, trajectory_kernel
from acf_edge.degrade.chain import add_noise, jpeg_roundtrip, mod_crop
from acf_edge.degrade.recipe import Recipe
from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error
from acf_edge.imaging.resize import resize, to_uint8

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

CLIP_SUFFIXES = (".mp4", ".mkv", ".mov")
"""What :func:`degrade_clip` can write."""

# libswscale's BICUBIC | FULL_CHR_H_INT | FULL_CHR_H_INP | ACCURATE_RND | BITEXACT, as a
# number: older PyAV has no names for the flags. The default loses 10 dB on saturated colours.
_SWS_FLAGS = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
# H.273 code points of BT.709.
_BT709 = 1
# Where the recipe's codec is not H.264 the stream only carries its result.
_CARRIER_CRF = 8


@dataclass(frozen=True)
class DegradedClip:
    """What was drawn for a clip and what it became.

    Attributes:
        frames: how many were written.
        width: of the written pictures, even.
        height: of the written pictures, even.
        crf: the rate factor x264 was given.
        jpeg_quality: what each frame went through before; ``None`` without JPEG.
    """

    frames: int
    width: int
    height: int
    crf: int
    jpeg_quality: int | None


@dataclass(frozen=True)
class CameraShake:
    """Motion blur that changes smoothly from frame to frame.

    Length, turn and direction are each driven by two slow sine waves, so that
    neighbouring frames are blurred alike, as with a camera in a hand.

    Attributes:
        length: bounds of the arc length in full-resolution pixels.
        curvature: bound of the total turn in radians.
        frequency: ``(3, 2)`` hertz, for length, turn and direction.
        phase: ``(3, 2)`` radians.
    """

    length: tuple[float, float]
    curvature: float
    frequency: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]

    def at(self, seconds: float) -> tuple[float, float, float]:
        """Arc length in pixels, total turn and direction in radians at a time."""
        waves = np.sin(2.0 * math.pi * self.frequency * seconds + self.phase).mean(axis=1)
        low, high = self.length
        along = low + (high - low) * (0.5 + 0.5 * float(waves[0]))
        return along, self.curvature * float(waves[1]), math.pi * float(waves[2])

    def kernel(self, seconds: float) -> FloatArray:
        """The normalised ``(k, k)`` float32 kernel at a time; ``(1, 1)`` at rest."""
        along, turn, angle = self.at(seconds)
        return trajectory_kernel(motion_trajectory(along, turn, angle))


def draw_shake(
    rng: np.random.Generator, length: tuple[float, float], curvature: float
) -> CameraShake:
    """Draw a :class:`CameraShake` whose waves take 1.5 to 10 seconds."""
    frequency = rng.uniform(0.1, 0.65, size=(3, 2))
    phase = rng.uniform(0.0, 2.0 * math.pi, size=(3, 2))
    return CameraShake(length, curvature, frequency, phase)


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
    _check(crf, preset)
    if not images:
        raise InputError("There are no pictures to encode.", "Give at least one.")
    height, width = images[0].shape[:2]
    encoder: Any = av.CodecContext.create("libx264", "w")
    _configure(encoder, width + width % 2, height + height % 2, Fraction(fps), crf, preset)
    packets = []
    for index, image in enumerate(images):
        packets += encoder.encode(_to_yuv(_even(image, height, width), index, Fraction(1, fps)))
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return [np.ascontiguousarray(_to_rgb(frame)[:height, :width]) for frame in frames]


def degrade_clip(
    frames: Iterable[Uint8Image],
    recipe: Recipe,
    scale: int,
    seed: int,
    fps: float | Fraction,
    output_path: Path | str,
) -> DegradedClip:
    """Write what a poor camera would have sent of a sharp clip.

    Each frame: motion blur that varies smoothly over time, down-sampling,
    noise, JPEG where the recipe says so; then H.264 (8 bit 4:2:0, BT.709,
    limited range, tagged so) with the recipe's rate factor and preset. A
    recipe without H.264 is carried by H.264 at a rate factor near to
    transparent. Timestamps are regular. The file appears whole or not at all,
    and the same arguments give the same file.

    Args:
        frames: ``(H, W, 3)`` uint8 RGB of the same size, one or more; each is cut at
            the bottom and the right so that both sides are multiples of ``2 * scale``.
        recipe: what is done and how strongly; its ranges are drawn once per clip.
        scale: factor of the down-sampling.
        seed: of every chance in it.
        fps: frames per second.
        output_path: ends in one of :data:`CLIP_SUFFIXES`.

    Raises:
        InputError: no frames, sizes that differ or are too small, an unknown suffix,
            a place that cannot be written.
    """
    output_path = Path(output_path)
    if output_path.suffix.lower() not in CLIP_SUFFIXES:
        raise InputError(
            f"'{output_path}' is no name for a clip.", f"Known are: {', '.join(CLIP_SUFFIXES)}."
        )
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise InputError(f"{fps} frames per second are none.", "Give a number above 0.")
    _check(recipe.h264_crf[0], recipe.h264_preset)
    camera = _Camera(recipe, scale, np.random.default_rng(seed))
    try:
        with atomic_path(output_path) as temporary, av.open(str(temporary), "w") as container:
            count, width, height = _write(container, frames, camera, rate)
    except av.FFmpegError as error:
        known = OSError(error.errno, error.strerror)
        raise explain_os_error(known, output_path) from error
    return DegradedClip(count, width, height, camera.crf, camera.jpeg_quality)


class _Camera:
    """The draws of one clip, and the state of its noise."""

    def __init__(self, recipe: Recipe, scale: int, rng: np.random.Generator) -> None:
        self.scale = scale
        self.preset = recipe.h264_preset
        self._rng = rng
        self._shake = draw_shake(rng, recipe.blur_length, recipe.blur_curvature)
        mixed_down = "bicubic" if rng.random() < 0.5 else "area"
        self._down = mixed_down if recipe.down == "mixed" else recipe.down
        self._shot = float(rng.uniform(*recipe.noise_shot))
        self._read = float(rng.uniform(*recipe.noise_read))
        mixed_codec = "jpeg" if rng.random() < 0.5 else "h264"
        codec = mixed_codec if recipe.codec == "mixed" else recipe.codec
        crf = int(rng.integers(recipe.h264_crf[0], recipe.h264_crf[1] + 1))
        quality = int(rng.integers(recipe.jpeg_quality[0], recipe.jpeg_quality[1] + 1))
        self._full_chroma = bool(rng.random() < recipe.jpeg_444)
        self.crf = crf if codec == "h264" else _CARRIER_CRF
        self.jpeg_quality = quality if codec == "jpeg" else None

    def take(self, image: Uint8Image, seconds: float) -> Uint8Image:
        image = mod_crop(image, 2 * self.scale)
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        small = resize(apply_kernel(image, self._shake.kernel(seconds)), height, width, self._down)
        seen = to_uint8(add_noise(small, self._rng, self._shot, self._read))
        if self.jpeg_quality is not None:
            return jpeg_roundtrip(seen, self.jpeg_quality, self._full_chroma)
        return seen


def _write(
    container: Any, frames: Iterable[Uint8Image], camera: _Camera, rate: Fraction
) -> tuple[int, int, int]:
    stream: Any = None
    count, height, width = 0, 0, 0
    for image in frames:
        small = camera.take(image, float(count / rate))
        if stream is None:
            height, width = small.shape[:2]
            stream = container.add_stream("libx264", rate=rate)
            # Cameras' encoders look neither back nor ahead, and start anew every 2 seconds.
            stream.options = {"bf": "0", "g": str(max(1, round(2 * rate)))}
            _configure(stream.codec_context, width, height, rate, camera.crf, camera.preset)
        if small.shape[:2] != (height, width):
            raise InputError(
                f"Frame {count} has another size than the first.", "Give frames of one size."
            )
        container.mux(stream.encode(_to_yuv(small, count, 1 / rate)))
        count += 1
    if stream is None:
        raise InputError("The clip has no frames.", "Give at least one.")
    container.mux(stream.encode(None))
    return count, width, height


def _configure(
    context: Any, width: int, height: int, rate: Fraction, crf: int, preset: str
) -> None:
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


def _to_yuv(image: Uint8Image, pts: int, time_base: Fraction) -> av.VideoFrame:
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


def _check(crf: int, preset: str) -> None:
    if not 0 <= crf <= 51:
        raise InputError(f"A crf of {crf} is none of x264's.", "Give 0 to 51.")
    if preset not in PRESETS:
        raise InputError(f"x264 has no preset '{preset}'.", f"There are: {', '.join(PRESETS)}.")
