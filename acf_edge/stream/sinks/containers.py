"""What each container can hold, and the flags that keep it playable after a crash."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from acf_edge.errors import InputError

# Seconds that a crash may cost, beside what the encoder holds.
_FLUSH_SECONDS = Fraction(1, 2)
_FINEST = 1_000_000
# Below this the MP4 muxer doubles the unit of time by itself.
_COARSEST = 10_000


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of recording.

    Attributes:
        format: FFmpeg's name of the muxer.
        options: the muxer's options.
        unit: seconds per unit of time that it keeps; None = that of the source.
        audio: names of the audio codecs that can be copied into it; empty = whatever
            the muxer takes.
        subtitles: the same for subtitles; None = none at all.
    """

    format: str
    options: Mapping[str, str]
    unit: Fraction | None
    audio: frozenset[str] = frozenset()
    subtitles: frozenset[str] | None = None

    def time_base(self, source: Fraction) -> Fraction:
        """The unit in which pictures are timed, so that what is written is what is meant."""
        if self.unit is not None:
            return self.unit
        ticks = source.denominator
        while ticks < _COARSEST:
            ticks *= 2
        return Fraction(1, min(ticks, _FINEST))


_MICROSECONDS = str(int(_FLUSH_SECONDS * 1_000_000))
# Fragments survive a crash if they are flushed; a file that is finished gets an
# index like any other. Without delay_moov the first samples lie outside the
# fragments, and FFmpeg's reader skips all of them but one after a crash. Times are
# shifted only where they would be negative.
_FRAGMENTED = {
    "movflags": "+hybrid_fragmented+delay_moov",
    "frag_duration": _MICROSECONDS,
    "flush_packets": "1",
    "avoid_negative_ts": "make_non_negative",
    "movie_timescale": str(_FINEST),
}
_CLUSTERED = {
    "cluster_time_limit": str(int(_FLUSH_SECONDS * 1000)),
    "flush_packets": "1",
    "avoid_negative_ts": "disabled",
}
_PACKETS = {"flush_packets": "1", "avoid_negative_ts": "make_non_negative"}

_WEBM = frozenset({"opus", "libopus", "vorbis", "libvorbis"})
_TS = frozenset(
    {"aac", "aac_latm", "ac3", "eac3", "dca", "mp1", "mp1float", "mp2", "mp2float", "mp3"}
) | {"mp3float", "libmp3lame", "opus", "libopus"}

_CONTAINERS = {
    ".mp4": Container("mp4", _FRAGMENTED, None),
    ".m4v": Container("mp4", _FRAGMENTED, None),
    ".mov": Container("mov", _FRAGMENTED, None),
    ".mkv": Container("matroska", _CLUSTERED, Fraction(1, 1000), subtitles=frozenset()),
    ".webm": Container("webm", _CLUSTERED, Fraction(1, 1000), _WEBM),
    ".ts": Container("mpegts", _PACKETS, Fraction(1, 90000), _TS),
}


def container_of(path: Path) -> Container:
    """The container that the suffix of ``path`` names.

    Raises:
        InputError: the suffix names none.
    """
    found = _CONTAINERS.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"'{path}': recordings cannot be written as "
            f"'{path.suffix or 'a file without suffix'}'.",
            f"Choose one of: {', '.join(sorted(_CONTAINERS))}.",
        )
    return found


def drop_torn_end(path: Path) -> bool:
    """Cut a fragmented MP4 after its last whole fragment.

    A full disk ends a file in the middle of one; some players then refuse all of
    it. Any other file, and one that cannot be changed, is left as it is.

    Returns:
        False if it is an MP4 without any whole pictures: there is nothing to be played in it.
    """
    kinds: list[bytes] = []  # of the whole boxes
    with contextlib.suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, 2)
        whole = offset = 0
        while offset + 8 <= size:
            file.seek(offset)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\xff"))
            if length < 8 or offset + length > size:
                break
            offset += length
            kinds.append(kind)
            if kind in (b"ftyp", b"moov", b"mdat", b"free"):
                whole = offset
        if 0 < whole < size:
            file.truncate(whole)
    return kinds[:1] != [b"ftyp"] or {b"moov", b"mdat"} <= set(kinds)
