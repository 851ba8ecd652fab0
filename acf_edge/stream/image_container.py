"""The outside of PNG, JPEG and WebP files: are they whole, which way up, which ICC profile.

OpenCV decodes pixels and nothing else: it fills the missing half of a cut-off
JPEG with grey and says nothing, and it drops colour profiles.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from acf_edge.stream.colour import UPRIGHT, Orientation

_PNG = b"\x89PNG\r\n\x1a\n"
_ICC_JPEG = b"ICC_PROFILE\x00"
_ICC_PER_SEGMENT = 65519
# EXIF orientation -> transpose, flip columns, flip rows.
_EXIF = {
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}


@dataclass(frozen=True, slots=True)
class ImageContainer:
    """What surrounds the pixels.

    Attributes:
        format: ``"png"``, ``"jpeg"`` or ``"webp"``.
        whole: the end mark is there.
        animated: more than one picture is inside.
        orientation: how to lay the pixels for display.
        icc: the RGB ICC profile; empty where there is none or it is of another space.
        has_exif: EXIF data is inside.
    """

    format: str
    whole: bool
    animated: bool = False
    orientation: Orientation = UPRIGHT
    icc: bytes = b""
    has_exif: bool = False


def sniff(head: bytes) -> str | None:
    """``"png"``, ``"jpeg"``, ``"webp"`` or None, from a file's first 12 bytes or more."""
    if head.startswith(_PNG):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def inspect(data: bytes) -> ImageContainer:
    """Look around the pixels of a PNG, JPEG or WebP file.

    Raises:
        ValueError: it is none of these.
    """
    kind = sniff(data)
    if kind == "png":
        return _inspect_png(data)
    if kind == "jpeg":
        return _inspect_jpeg(data)
    if kind == "webp":
        return _inspect_webp(data)
    raise ValueError("neither PNG nor JPEG nor WebP")


def embed_icc(data: bytes, icc: bytes) -> bytes:
    """Return the encoded PNG, JPEG or WebP ``data`` with an ICC profile put in."""
    kind = sniff(data)
    if kind == "png":
        body = b"icc\x00\x00" + zlib.compress(icc)
        chunk = struct.pack(">I", len(body)) + b"iCCP" + body
        chunk += struct.pack(">I", zlib.crc32(b"iCCP" + body))
        return data[:33] + chunk + data[33:]  # signature and IHDR are 33 bytes
    if kind == "jpeg":
        parts = [icc[i : i + _ICC_PER_SEGMENT] for i in range(0, len(icc), _ICC_PER_SEGMENT)]
        segments = b""
        for number, part in enumerate(parts, 1):
            body = _ICC_JPEG + bytes((number, len(parts))) + part
            segments += b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
        end = 2
        if data[2:4] == b"\xff\xe0":  # JFIF insists on being first
            end += 2 + int(struct.unpack(">H", data[4:6])[0])
        return data[:end] + segments + data[end:]
    if kind == "webp":
        return _embed_icc_webp(data, icc)
    raise ValueError("neither PNG nor JPEG nor WebP")


def _usable(icc: bytes) -> bytes:
    """An RGB profile, or nothing: pixels leave here as RGB, whatever they were."""
    return icc if icc[16:20] == b"RGB " else b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = len(_PNG)
    while offset + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[offset : offset + 8])
        end = offset + 12 + size
        if end > len(data):
            return
        body = data[offset + 8 : end - 4]
        if struct.unpack(">I", data[end - 4 : end])[0] != zlib.crc32(kind + body):
            return
        yield kind, body
        offset = end


def _inspect_png(data: bytes) -> ImageContainer:
    found: dict[bytes, bytes] = {}
    for kind, body in _png_chunks(data):
        found.setdefault(kind, body)
        if kind == b"IEND":
            break
    icc = b""
    if b"iCCP" in found:
        packed = found[b"iCCP"].partition(b"\x00")[2][1:]
        try:
            icc = zlib.decompress(packed)
        except zlib.error:
            icc = b""
    exif = found.get(b"eXIf", b"")
    return ImageContainer(
        "png",
        whole=b"IEND" in found,
        animated=b"acTL" in found,
        orientation=_exif_orientation(exif),
        icc=_usable(icc),
        has_exif=bool(exif),
    )


def _inspect_jpeg(data: bytes) -> ImageContainer:
    offset, exif = 2, b""
    profile: dict[int, bytes] = {}
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            offset += 1 if marker == 0xFF else 2
            continue
        size = struct.unpack(">H", data[offset + 2 : offset + 4])[0]
        body = data[offset + 4 : offset + 2 + size]
        if marker == 0xDA:
            # In scan data 0xFF is always stuffed, so this is the true end and no thumbnail's.
            return ImageContainer(
                "jpeg",
                whole=data.find(b"\xff\xd9", offset) >= 0,
                orientation=_exif_orientation(exif),
                icc=_usable(b"".join(profile[k] for k in sorted(profile))),
                has_exif=bool(exif),
            )
        if marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
            exif = body[6:]
        elif marker == 0xE2 and body.startswith(_ICC_JPEG):
            profile[body[12]] = body[14:]
        offset += 2 + size
    return ImageContainer("jpeg", whole=False)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 12
    while offset + 8 <= len(data):
        kind, size = struct.unpack("<4sI", data[offset : offset + 8])
        yield kind, data[offset + 8 : offset + 8 + size]
        offset += 8 + size + (size & 1)


def _inspect_webp(data: bytes) -> ImageContainer:
    chunks = dict(reversed(list(_webp_chunks(data))))
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\x00\x00")
    return ImageContainer(
        "webp",
        whole=len(data) >= 8 + int(struct.unpack("<I", data[4:8])[0]),
        animated=b"ANIM" in chunks,
        orientation=_exif_orientation(exif),
        icc=_usable(chunks.get(b"ICCP", b"")),
        has_exif=bool(exif),
    )


def _embed_icc_webp(data: bytes, icc: bytes) -> bytes:
    """Rebuild the file around an extended header, which alone may carry a profile."""
    chunks = list(_webp_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if b"VP8X" in kinds:
        header = bytearray(chunks[kinds.index(b"VP8X")][1])
        header[0] |= 0x20
    else:
        kind, body = next((k, b) for k, b in chunks if k in (b"VP8 ", b"VP8L"))
        if kind == b"VP8L":
            bits = struct.unpack("<I", body[1:5])[0]
            width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
            alpha = bool(bits >> 28 & 1)
        else:
            columns, rows = struct.unpack("<HH", body[6:10])
            width, height, alpha = (columns & 0x3FFF) - 1, (rows & 0x3FFF) - 1, False
        header = bytearray((0x20 | (0x10 if alpha else 0), 0, 0, 0))
        header += width.to_bytes(3, "little") + height.to_bytes(3, "little")
    parts = [(b"VP8X", bytes(header)), (b"ICCP", icc)]
    parts += [(k, b) for k, b in chunks if k not in (b"VP8X", b"ICCP")]
    payload = b"WEBP"
    for kind, body in parts:
        payload += kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def _exif_orientation(exif: bytes) -> Orientation:
    """Read tag 0x0112 of the first directory of a TIFF block."""
    if len(exif) < 8 or exif[:2] not in (b"II", b"MM"):
        return UPRIGHT
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * index)
            if tag == 0x0112 and kind == 3:
                return _EXIF.get(value, UPRIGHT)
    except struct.error:
        pass
    return UPRIGHT
