"""A piece of the enhanced film: coded pictures between two key frames, as one small file.

The file is a header of JSON, the packets, and a SHA-256 over both, so that one
that a power cut left half written is known for what it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image

# How many of a segment's last source frames are marked: the next segment's
# reader must meet exactly these before it goes on.
MARKS = 8

_MAGIC = b"ACFSEG1\n"
_LENGTH = 8
_DIGEST = 32


class SegmentError(ValueError):
    """The bytes are no whole segment."""


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a frame of the source is known again.

    Attributes:
        pts: its time in units of the source's time base.
        crc: CRC-32 of its pixels.
    """

    pts: int
    crc: int

    @classmethod
    def of(cls, pts: int, pixels: Uint8Image) -> Mark:
        """The mark of a frame; ``pixels`` is C-contiguous."""
        return cls(pts, zlib.crc32(pixels.data))


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One packet of the encoder.

    Attributes:
        data: the packet.
        pts: when it is shown, in units of the source's time base.
        duration: how long; 0 where unknown.
        key: decoding may start here.
    """

    data: bytes
    pts: int
    duration: int
    key: bool

    def packet(self, dts: int, time_base: Fraction) -> Packet[Stream]:
        """As a packet for a muxer."""
        packet = Packet(self.data)
        packet.pts, packet.dts, packet.time_base = self.pts, dts, time_base
        packet.duration = self.duration
        packet.is_keyframe = self.key
        return packet


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the enhanced film.

    Attributes:
        job: digest of the manifest of the work it belongs to.
        number: 0-based.
        first: number of its first frame in the film.
        pictures: in coding order; the first is a key frame and none refers to
            another segment.
        extradata: the encoder's parameter sets; the same for all segments.
        end: when its last frame ends, in units of the source's time base.
        tail: marks of its last :data:`MARKS` source frames, in display order.
        head: marks of the source frames right before its first, if it was read from
            somewhere else than the end of the segment before; they are the tail of that.
        clean: so far, the source was without fault: every frame came whole and
            with a time of its own, so reading may start at any key frame.
    """

    job: str
    number: int
    first: int
    pictures: tuple[CodedPicture, ...]
    extradata: bytes
    end: int
    tail: tuple[Mark, ...]
    clean: bool
    head: tuple[Mark, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return len(self.pictures)

    def dumps(self) -> bytes:
        """As the bytes of a file."""
        header = {
            "job": self.job,
            "number": self.number,
            "first": self.first,
            "extradata": base64.b64encode(self.extradata).decode(),
            "end": self.end,
            "tail": [[mark.pts, mark.crc] for mark in self.tail],
            "head": [[mark.pts, mark.crc] for mark in self.head],
            "clean": self.clean,
            "pictures": [[len(p.data), p.pts, p.duration, int(p.key)] for p in self.pictures],
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        parts = [_MAGIC, len(text).to_bytes(_LENGTH, "big"), text]
        content = b"".join([*parts, *(picture.data for picture in self.pictures)])
        return content + hashlib.sha256(content).digest()

    @classmethod
    def loads(cls, content: bytes) -> Segment:
        """Read what :meth:`dumps` gave.

        Raises:
            SegmentError: cut off or changed.
        """
        body = memoryview(content)[:-_DIGEST]
        start = len(_MAGIC) + _LENGTH
        if len(body) < start or body[: len(_MAGIC)] != _MAGIC:
            raise SegmentError("it is no segment")
        if hashlib.sha256(body).digest() != content[-_DIGEST:]:
            raise SegmentError("it is cut off or damaged")
        # From here on the bytes are those that were written.
        at = start + int.from_bytes(body[len(_MAGIC) : start], "big")
        header = json.loads(bytes(body[start:at]))
        pictures = []
        for size, pts, duration, key in header["pictures"]:
            pictures.append(CodedPicture(bytes(body[at : at + size]), pts, duration, bool(key)))
            at += size
        return cls(
            job=header["job"],
            number=header["number"],
            first=header["first"],
            pictures=tuple(pictures),
            extradata=base64.b64decode(header["extradata"]),
            end=header["end"],
            tail=tuple(Mark(pts, crc) for pts, crc in header["tail"]),
            clean=header["clean"],
            head=tuple(Mark(pts, crc) for pts, crc in header["head"]),
        )


def decoding_times(shown: Sequence[int]) -> list[int]:
    """Decoding times for pictures in coding order.

    They are the times of display in order, late by as many pictures as the
    coding order runs ahead; before the first, they run back by that delay. So
    they increase strictly, and none is after its picture's display.

    Args:
        shown: presentation times in coding order, all different.
    """
    order = sorted(shown)
    rank = {pts: index for index, pts in enumerate(order)}
    delay = max((index - rank[pts] for index, pts in enumerate(shown)), default=0)
    if not delay:
        return list(shown)
    lead = order[delay] - order[0]
    return [pts - lead for pts in order[:delay]] + order[: len(order) - delay]
