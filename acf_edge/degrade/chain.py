"""From a sharp picture to what a camera would have delivered."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acf_edge.degrade.blur import FloatArray, apply_kernel, draw_motion_kernel
from acf_edge.degrade.codec import h264_roundtrip, jpeg_roundtrip
from acf_edge.degrade.recipe import Recipe
from acf_edge.errors import InputError
from acf_edge.imaging.resize import resize, to_uint8

Uint8Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DegradationStages:
    """One picture at every station of the chain; all ``(H / s, W / s, 3)`` uint8 RGB.

    Attributes:
        sharp: down-sampled only: what the deblur branch should see.
        blurred: blurred and down-sampled, neither noisy nor compressed: what the
            artefact branch should see.
        degraded: the whole chain: what the network is given.
    """

    sharp: Uint8Image
    blurred: Uint8Image
    degraded: Uint8Image


def seed_from_name(name: str) -> int:
    """A seed in 0..2**32-1 from a file's name, the same on every machine.

    CRC-32 of the name in UTF-8; bytes of a name that are no UTF-8 count as they are.
    """
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


def mod_crop(image: Uint8Image, scale: int) -> Uint8Image:
    """Cut the bottom and right edge so that both sides are multiples of ``scale``.

    Args:
        image: ``(H, W, 3)`` uint8.
        scale: >= 1.

    Returns:
        A view of ``(H // scale * scale, W // scale * scale, 3)``.

    Raises:
        InputError: nothing would be left, or a scale below 1.
    """
    if scale < 1:
        raise InputError(f"Nothing can be cut to multiples of {scale}.", "Scales start at 1.")
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    if height == 0 or width == 0:
        raise InputError(
            f"A picture of {image.shape[1]}x{image.shape[0]} is too small for x{scale}.",
            "Use larger pictures.",
        )
    return image[:height, :width]


def add_noise(image: FloatArray, rng: np.random.Generator, shot: float, read: float) -> FloatArray:
    """Add sensor noise of variance ``shot**2 * value / 255 + read**2``.

    Args:
        image: float32, code values 0..255, any shape.
        rng: the source of chance; nothing is drawn where there is no noise.
        shot: standard deviation at white of the part that grows with light, in code values.
        read: standard deviation of the constant part, in code values.

    Returns:
        float32 of the same shape, neither rounded nor clipped; ``image`` itself where both
        are 0.
    """
    if shot <= 0 and read <= 0:
        return image
    variance = shot * shot * np.clip(image, 0.0, 255.0) / 255.0 + read * read
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: FloatArray = (image + noise * np.sqrt(variance)).astype(np.float32)
    return noisy


def degrade_stages(image: Uint8Image, recipe: Recipe, scale: int, seed: int) -> DegradationStages:
    """Run the whole chain and keep what lies between.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, full resolution; cut to a multiple of ``scale``.
        recipe: what is done and how strongly.
        scale: the factor of the down-sampling, >= 1.
        seed: >= 0; the same seed, recipe and picture give the same result.

    Raises:
        InputError: the picture is too small for the scale.
    """
    image = mod_crop(image, scale)
    rng = np.random.default_rng(seed)
    height, width = image.shape[0] // scale, image.shape[1] // scale
    kernel = draw_motion_kernel(rng, recipe.blur_length, recipe.blur_curvature)
    down = recipe.down
    if down == "mixed":
        down = "bicubic" if rng.random() < 0.5 else "area"
    shot = float(rng.uniform(*recipe.noise_shot))
    read = float(rng.uniform(*recipe.noise_read))
    sharp = resize(image, height, width, down)
    blurred = (
        sharp if kernel.size == 1 else resize(apply_kernel(image, kernel), height, width, down)
    )
    noisy = to_uint8(add_noise(blurred, rng, shot, read))
    return DegradationStages(to_uint8(sharp), to_uint8(blurred), compress(noisy, recipe, rng))


def compress(image: Uint8Image, recipe: Recipe, rng: np.random.Generator) -> Uint8Image:
    """Put a picture through the recipe's codec, its strength drawn from ``rng``.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        recipe: gives the codec and its range.
        rng: the source of chance.

    Returns:
        ``(H, W, 3)`` uint8 RGB; ``image`` itself where the recipe has no codec.
    """
    codec = recipe.codec
    if codec == "mixed":
        codec = "jpeg" if rng.random() < 0.5 else "h264"
    if codec == "jpeg":
        low, high = recipe.jpeg_quality
        quality = int(rng.integers(low, high + 1))
        return jpeg_roundtrip(image, quality, bool(rng.random() < recipe.jpeg_444))
    if codec == "h264":
        crf = int(rng.integers(recipe.h264_crf[0], recipe.h264_crf[1] + 1))
        return h264_roundtrip([image], crf=crf, preset=recipe.h264_preset)[0]
    return image


def degrade_image(image: Uint8Image, recipe: Recipe, scale: int, seed: int) -> Uint8Image:
    """The degraded low-resolution picture alone; see :func:`degrade_stages`."""
    return degrade_stages(image, recipe, scale, seed).degraded
