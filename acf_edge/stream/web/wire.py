"""How a moment travels to the browser: one binary message with both pictures.

All numbers are little-endian. The page reads this in ``static/wire.js``.

======  ====  =======================================================
offset  type  what
======  ====  =======================================================
0       u8    version, 1
1       u8    flags: 1 = stands on its own (key), 2 = held
2       u8    codec: 1 = H.264 Annex B, 2 = JPEG
3       u8    number of pictures: 1 or 2
4       u32   number of the message, counts from 1; both pictures' timestamp
8       f64   presentation time, seconds
16      f64   captured, seconds of the server's clock
24      f64   enhanced, the same clock
32      f64   encoded, the same clock
40      u32   sequence of the source
44      u8    length of the rung's name
45      ..    the rung's name, UTF-8, padded with zeros to a multiple of 4
then, for each picture:
0       u8    kind: 0 = as captured, 1 = enhanced
1       u8    3 bytes, zero
4       u16   width, pixels to show (the coded picture may be one larger)
6       u16   height
8       u32   length of the data
12      ..    the data, padded with zeros to a multiple of 4
======  ====  =======================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

VERSION = 1
H264, JPEG = "h264", "jpeg"
CODECS = {H264: 1, JPEG: 2}
BEFORE, AFTER = 0, 1
KINDS = {"before": BEFORE, "after": AFTER}

_HEAD = struct.Struct("<BBBBI4dIB")
_PICTURE = struct.Struct("<B3xHHI")


@dataclass(frozen=True, slots=True)
class Picture:
    """One coded picture.

    Attributes:
        kind: :data:`BEFORE` or :data:`AFTER`.
        width, height: pixels to show.
        data: one access unit of Annex B, or a JPEG.
    """

    kind: int
    width: int
    height: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One moment, coded; shared by all viewers of its codec.

    Attributes:
        codec: :data:`H264` or :data:`JPEG`.
        number: counts moments.
        key: needs nothing before it.
        captured: ``time.monotonic()`` of the capture.
        pictures: one or two.
        data: the message.
    """

    codec: str
    number: int
    key: bool
    captured: float
    pictures: tuple[Picture, ...] = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Times:
    """When a moment was what. Seconds; all but ``pts`` of ``time.monotonic()``."""

    pts: float
    captured: float
    inferred: float
    encoded: float


def pack(
    codec: str,
    number: int,
    pictures: tuple[Picture, ...],
    times: Times,
    *,
    key: bool,
    held: bool,
    sequence: int,
    rung: str,
) -> Encoded:
    """Make the message of a moment; see the table above."""
    name = rung.encode("utf-8")[:255]
    head = _HEAD.pack(
        VERSION,
        (1 if key else 0) | (2 if held else 0),
        CODECS[codec],
        len(pictures),
        number & 0xFFFFFFFF,
        times.pts,
        times.captured,
        times.inferred,
        times.encoded,
        sequence & 0xFFFFFFFF,
        len(name),
    )
    parts = [_padded(head + name)]
    for picture in pictures:
        parts.append(_PICTURE.pack(picture.kind, picture.width, picture.height, len(picture.data)))
        parts.append(_padded(picture.data))
    return Encoded(codec, number, key, times.captured, pictures, b"".join(parts))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
