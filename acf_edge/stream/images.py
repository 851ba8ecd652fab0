"""One still picture through an engine: PNG, JPEG or WebP in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.stream.image_container import ImageContainer, embed_icc, inspect, sniff

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
_LARGEST = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383, ".png": 2**31 - 1}
_JPEG_QUALITY = 95
_WEBP_QUALITY = 95


@dataclass(slots=True)
class Still:
    """A decoded picture.

    Attributes:
        rgb: ``(H, W, 3)`` uint8 RGB, upright, C-contiguous.
        alpha: ``(H, W)`` uint8, or None.
        grey: the file held one channel; ``rgb`` repeats it.
        icc: RGB ICC profile, or empty.
        notes: what was changed on the way, in words.
    """

    rgb: Uint8Image
    alpha: Uint8Image | None
    grey: bool
    icc: bytes
    notes: list[str]


def looks_like_image(path: Path) -> bool:
    """By its first bytes; a file that has none of the three marks by its suffix.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise explain_os_error(error, path) from error
    return sniff(head) is not None or path.suffix.lower() in IMAGE_SUFFIXES


def read_still(path: Path) -> Still:
    """Read a PNG, JPEG or WebP file.

    EXIF orientation is applied, 16 bits become 8, transparency is kept apart.

    Raises:
        InputError: empty, cut off, damaged, animated, or another kind of file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise explain_os_error(error, path) from error
    if not data:
        raise InputError(f"'{path}' is empty.", "Check how it was made.")
    try:
        around = inspect(data)
    except ValueError as error:
        raise InputError(f"'{path}' is {error}.", "Give an image of one of these kinds.") from error
    if not around.whole:
        raise InputError(f"'{path}' is cut off or damaged.", "Copy it again.")
    if around.animated:
        raise InputError(f"'{path}' is animated.", "Convert it to a video first.")
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(f"'{path}' is too large to be read as an image.") from error
    if raw is None:
        raise InputError(f"'{path}' cannot be decoded.", "Open it in a viewer and save it again.")
    return _still(raw, around)


def _still(raw: npt.NDArray[np.generic], around: ImageContainer) -> Still:
    notes = []
    if raw.dtype == np.uint16:
        wide = raw.astype(np.uint32)
        pixels: Uint8Image = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        notes.append("16-bit pixels were brought to 8 bits")
    else:
        pixels = raw.astype(np.uint8, copy=False)
    pixels = around.orientation.apply(pixels)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = np.ascontiguousarray(pixels[:, :, 3])
        pixels = pixels[:, :, :3]
    grey = pixels.ndim == 2
    if grey:
        rgb = np.repeat(pixels[:, :, None], 3, axis=2)
    else:
        rgb = np.ascontiguousarray(pixels[:, :, ::-1])
        grey = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all())
    if around.has_exif:
        notes.append("EXIF data was left out (its orientation was applied)")
    return Still(rgb, alpha, grey, around.icc, notes)


def enhance_still(still: Still, engine: Engine) -> Still:
    """Run one picture through ``engine``; transparency is up-sampled bicubically.

    A grey picture stays grey: what colour the engine adds is averaged away.
    """
    rgb = engine.run(still.rgb)
    if still.grey:
        mean = rgb.astype(np.uint16).sum(axis=2)
        rgb = np.repeat(((mean + 1) // 3).astype(np.uint8)[:, :, None], 3, axis=2)
    alpha = still.alpha
    if alpha is not None and engine.scale != 1:
        alpha = upscale_bicubic(alpha, engine.scale)
    return Still(rgb, alpha, still.grey, still.icc, list(still.notes))


def check_image_suffix(path: Path) -> None:
    """Raise :class:`InputError` unless ``path`` names an image format that can be written."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(
            f"'{path}': images cannot be written as '{path.suffix or 'a file without suffix'}'.",
            f"Choose one of: {', '.join(IMAGE_SUFFIXES)}.",
        )


def check_image_size(path: Path, width: int, height: int) -> None:
    """Raise :class:`InputError` if the format of ``path`` cannot hold so many pixels."""
    largest = _LARGEST[path.suffix.lower()]
    if max(width, height) > largest:
        raise InputError(
            f"'{path.suffix}' holds at most {largest} pixels a side, not {width}x{height}.",
            "Choose .png.",
        )


def write_still(path: Path, still: Still) -> list[str]:
    """Write a picture by the suffix of ``path``, whole or not at all.

    JPEG at quality 95 (transparency laid over white), WebP at 95, PNG lossless.

    Returns:
        What the format could not hold, in words.

    Raises:
        InputError: unknown suffix, or the file cannot be written.
    """
    check_image_suffix(path)
    suffix = path.suffix.lower()
    rgb, alpha, notes = still.rgb, still.alpha, []
    if alpha is not None and suffix in (".jpg", ".jpeg"):
        weight = alpha[:, :, None].astype(np.uint16)
        over = rgb.astype(np.uint16) * weight + 255 * (255 - weight)
        rgb, alpha = ((over + 127) // 255).astype(np.uint8), None
        notes.append("JPEG has no transparency: it was laid over white")
    planes = rgb[:, :, ::-1]
    if alpha is not None:
        planes = np.concatenate([planes, alpha[:, :, None]], axis=2)
    elif still.grey and suffix != ".webp":
        planes = rgb[:, :, 0]
    options = {
        ".png": [],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY],
    }.get(suffix, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    good, encoded = cv2.imencode(suffix, np.ascontiguousarray(planes), options)
    if not good:
        raise InputError(f"'{path}' could not be encoded.", "Choose another format.")
    data = encoded.tobytes()
    if still.icc and planes.ndim == 3:
        data = embed_icc(data, still.icc)
    elif still.icc:
        notes.append("the colour profile was left out: the picture is grey")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return notes
