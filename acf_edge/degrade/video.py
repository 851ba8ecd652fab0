"""What a camera's H.264 encoder does to pictures, in memory and as a file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from acf_edge.degrade.blur import FloatArray, apply_kernel, motion_trajectory, trajectory_kernel
from acf_edge.degrade.chain import add_noise, mod_crop
from acf_edge.degrade.codec import check_h264, configure_h264, jpeg_roundtrip, to_yuv420
from acf_edge.degrade.recipe import Recipe
from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error
from acf_edge.imaging.resize import resize, to_uint8

Uint8Image = npt.NDArray[np.uint8]

CLIP_SUFFIXES = (".mp4", ".mkv", ".mov")
"""What :func:`degrade_clip` can write."""

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
    check_h264(recipe.h264_crf[0], recipe.h264_preset)
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
            configure_h264(stream.codec_context, width, height, rate, camera.crf, camera.preset)
        if small.shape[:2] != (height, width):
            raise InputError(
                f"Frame {count} has another size than the first.", "Give frames of one size."
            )
        container.mux(stream.encode(to_yuv420(small, count, 1 / rate)))
        count += 1
    if stream is None:
        raise InputError("The clip has no frames.", "Give at least one.")
    container.mux(stream.encode(None))
    return count, width, height
