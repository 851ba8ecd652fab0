"""Pictures on disk: read safely, write whole or not at all."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error

Uint8Image = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes, in lower case, of what can be read and written."""

_PARAMETERS: dict[str, list[int]] = {
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    ".jpg": [
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ],
    # Above 100 means lossless to OpenCV.
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
}
_PARAMETERS[".jpeg"] = _PARAMETERS[".jpg"]


def read_image(path: Path | str) -> Uint8Image:
    """Read PNG, JPEG, WebP, BMP or TIFF; the content decides, not the suffix.

    Grey becomes RGB, 16 bits become 8, an alpha channel is dropped as it is
    (colours are not blended over anything), the EXIF orientation is applied.

    Args:
        path: the file; any characters may stand in its name.

    Returns:
        ``(H, W, 3)`` uint8 RGB, C-contiguous.

    Raises:
        InputError: missing, empty, truncated, damaged, too large, or no picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise explain_os_error(error, path) from error
    if not data:
        raise InputError(f"'{path}' is empty.", "Copy the picture again.")
    kind = _kind(data)
    if kind is None:
        raise InputError(
            f"'{path}' is not a picture that can be read.", "Give PNG, JPEG, WebP, BMP or TIFF."
        )
    defect = _defect(data, kind)
    if defect:
        raise InputError(f"'{path}' is a {defect} {kind} file.", "Copy or make the picture again.")
    try:
        with _quiet_opencv():
            decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError):
        # OpenCV refuses more than 2**20 pixels a side and 2**30 in all.
        raise InputError(
            f"'{path}' cannot be decoded: it is damaged or larger than pictures may be.",
            "Sides may have up to 1048576 pixels, pictures up to 1073741824.",
        ) from None
    if decoded is None or decoded.size == 0:
        raise InputError(f"'{path}' is a damaged {kind} file.", "Copy or make the picture again.")
    return np.ascontiguousarray(decoded[:, :, ::-1]).astype(np.uint8, copy=False)


def write_image(path: Path | str, rgb: Uint8Image) -> None:
    """Write a picture in the format its suffix names; it appears whole or not at all.

    PNG, WebP, BMP and TIFF are lossless; JPEG has quality 95 and full chroma.

    Args:
        path: ends in one of :data:`IMAGE_SUFFIXES` (case does not matter); folders are made.
        rgb: ``(H, W, 3)`` uint8 RGB.

    Raises:
        InputError: an unknown suffix, a picture the format cannot hold, a place that
            cannot be written, a full disk.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise InputError(
            f"'{path}' does not end as a picture does.", f"Known are: {', '.join(IMAGE_SUFFIXES)}."
        )
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise InputError(
            f"An array of {rgb.shape} {rgb.dtype} is no picture for '{path}'.",
            "Give (H, W, 3) uint8.",
        )
    try:
        with _quiet_opencv():
            done, data = cv2.imencode(
                suffix, np.ascontiguousarray(rgb[:, :, ::-1]), _PARAMETERS.get(suffix, [])
            )
    except cv2.error:
        done = False
    if not done:
        raise InputError(
            f"A picture of {rgb.shape[1]}x{rgb.shape[0]} cannot be written as '{suffix}'.",
            "Sides are limited to 16383 pixels in WebP and 65500 in JPEG; use PNG.",
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def list_images(folder: Path | str) -> list[Path]:
    """The pictures directly in ``folder``, sorted by name; hidden files are passed over.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    folder = Path(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise explain_os_error(error, folder) from error
    images = [
        path
        for path in entries
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    if not images:
        raise InputError(
            f"There are no pictures in '{folder}'.", f"Known are: {', '.join(IMAGE_SUFFIXES)}."
        )
    return images


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's log off stderr: the user reads our one line instead."""
    # OpenCV 5 moved the two functions to cv2.utils.logging.
    log: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _kind(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    return None


def _defect(data: bytes, kind: str) -> str:
    """What the container says is wrong: decoders fill a missing rest with grey in silence."""
    if kind == "PNG":
        return _png_defect(data)
    if kind == "JPEG":
        return "" if _jpeg_is_whole(data) else "truncated"
    if kind == "WebP":
        return "truncated" if int.from_bytes(data[4:8], "little") + 8 > len(data) else ""
    return ""


def _png_defect(data: bytes) -> str:
    view = memoryview(data)
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4], "big")
        name = bytes(view[position + 4 : position + 8])
        end = position + 12 + length
        if end > len(data):
            break
        # Only what the pixels depend on: readers pass over damaged ancillary chunks.
        checksum = int.from_bytes(view[end - 4 : end], "big")
        if name[:1].isupper() and zlib.crc32(view[position + 4 : end - 4]) != checksum:
            return "damaged"
        if name == b"IEND":
            return ""
        position = end
    return "truncated"


def _jpeg_is_whole(data: bytes) -> bool:
    # Segments are walked up to the scan, since a thumbnail has an end marker of its own.
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return data.find(b"\xff\xd9", position) >= 0
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False
