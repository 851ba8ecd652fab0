"""Is a container file as long as it says it is?

Demuxers read a file that was cut off as a shorter one and say nothing, so the
promise is read from the outermost boxes, in microseconds and before any work.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MP4_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide udta meta sidx styp uuid pdin emsg prft pnot".split()
)
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
# The last KiB of an AVI is its index; recorders also miscount it by a few bytes.
_RIFF_SLACK = 1024


@dataclass(frozen=True, slots=True)
class Promise:
    """What a container's outermost structure says.

    Attributes:
        size: bytes the file should have; 0 where it does not say.
        actual: bytes it has.
        lacks_index: an MP4 without its ``moov`` box: nothing in it can be found.
    """

    size: int
    actual: int
    lacks_index: bool = False

    @property
    def missing(self) -> int:
        """Bytes that are promised and not there."""
        return max(0, self.size - self.actual)


def read_promise(path: Path) -> Promise:
    """Read the promise of an MP4/MOV, Matroska/WebM or AVI file.

    Any other file, and one whose structure cannot be followed, promises nothing.

    Raises:
        OSError: the file cannot be read.
    """
    actual = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[4:8] in _MP4_BOXES:
            return _mp4(file, actual)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return Promise(_riff(file, actual), actual)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return Promise(_matroska(file), actual)
    return Promise(0, actual)


def _mp4(file: BinaryIO, actual: int) -> Promise:
    offset, seen = 0, set()
    while offset + 8 <= actual:
        file.seek(offset)
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind not in _MP4_BOXES:
            break
        if size == 1:
            wide = file.read(8)
            if len(wide) < 8:
                break
            (size,) = struct.unpack(">Q", wide)
        elif size == 0:
            size = actual - offset
        if size < 8:
            break
        seen.add(kind)
        offset += size
    return Promise(offset if offset > actual else 0, actual, b"moov" not in seen)


def _riff(file: BinaryIO, actual: int) -> int:
    offset = 0
    while offset + 8 <= actual:
        file.seek(offset)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or size in (0, 0xFFFFFFFF):
            return 0
        offset += 8 + size + (size & 1)
    return offset if offset > actual + _RIFF_SLACK else 0


def _vint(file: BinaryIO, keep_marker: bool) -> int | None:
    """An EBML number; None for "unknown size" and at the end of the file."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    value &= (1 << (7 * length)) - 1
    return None if value == (1 << (7 * length)) - 1 else value


def _matroska(file: BinaryIO) -> int:
    while True:
        kind, size = _vint(file, True), _vint(file, False)
        if kind is None or size is None:
            return 0
        if kind == _SEGMENT:
            return file.tell() + size
        if kind != _EBML:
            return 0
        file.seek(size, 1)
