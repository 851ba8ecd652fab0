"""Where each frame of a film is coded: found without decoding, for those that start anywhere."""

from __future__ import annotations

import bisect
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.batch.reader import SeekableSource
from acf_edge.stream.batch.segment import decoding_times
from acf_edge.stream.frame import Frame

_MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded picture of the source.

    Attributes:
        pts: its time in units of the source's time base.
        duration: 0 where unknown.
        key: decoding may start here.
    """

    pts: int
    duration: int
    key: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which packets must be decoded for some frames.

    Attributes:
        start: number of the first packet in coding order, a key picture.
        stop: one more than that of the last.
        entry: time of the first packet.
        shown: times of the wanted frames, in display order.
        durations: theirs.
    """

    start: int
    stop: int
    entry: int
    shown: tuple[int, ...]
    durations: tuple[int, ...]


class FilmIndex:
    """A film whose every packet is one frame with a time of its own.

    Args:
        coded: all pictures in coding order.
    """

    def __init__(self, coded: Sequence[Coded]) -> None:
        self._coded = coded
        self._order = sorted(range(len(coded)), key=lambda place: coded[place].pts)
        self._keys = [place for place, picture in enumerate(coded) if picture.key]

    @property
    def frames(self) -> int:
        """How many frames the film has."""
        return len(self._coded)

    def shown(self, first: int, stop: int) -> tuple[int, ...]:
        """Times of frames in display order."""
        return tuple(self._coded[place].pts for place in self._order[first:stop])

    def stretch(self, first: int, stop: int) -> Stretch:
        """What must be decoded for the frames ``first`` to ``stop`` - 1 (at least one)."""
        places = self._order[first:stop]
        shown = self.shown(first, stop)
        at = bisect.bisect_right(self._keys, min(places)) - 1
        # Pictures shown before a key picture and coded after it may need what was before it.
        while at > 0 and self._coded[self._keys[at]].pts > shown[0]:
            at -= 1
        start = self._keys[max(at, 0)]
        return Stretch(
            start=start,
            stop=max(places) + 1,
            entry=self._coded[start].pts,
            shown=shown,
            durations=tuple(self._coded[place].duration for place in places),
        )


class _PacketSource(SeekableSource):
    """Hands out the packets of the video, from the first one on, undecoded."""

    def __init__(self, path: Path) -> None:
        self._collected: deque[Packet[Stream]] = deque()
        super().__init__(path, keep_damaged=True)

    def _decode(self, packet: Packet[Stream] | None) -> Iterator[Frame]:
        if packet is not None and packet.size:
            self._collected.append(packet)
        yield from super()._decode(packet)

    def __enter__(self) -> _PacketSource:
        return self

    def coded(self) -> Iterator[Packet[Stream]]:
        for _ in self._everything():
            while self._collected:
                yield self._collected.popleft()
        yield from self._collected

    def _everything(self) -> Iterator[None]:
        # Passing the other streams along keeps what is collected between two of them small.
        self.pass_along(list(self.container.streams))
        for _ in self.copies():
            yield


def index_of(path: Path) -> FilmIndex | None:
    """Index a film; None where its packets do not tell what its frames will be.

    That is so where one is damaged or has no time, or where the clock leaps.
    All of the file is read, nothing decoded.

    Raises:
        InputError: see :class:`acf_edge.stream.source_file.FileSource`.
    """
    coded: list[Coded] = []
    with _PacketSource(path) as source:
        for packet in source.coded():
            if packet.pts is None or packet.is_corrupt or packet.is_discard:
                return None
            coded.append(Coded(packet.pts, packet.duration or 0, packet.is_keyframe))
        if not source.clean:
            return None
    if not coded or not coded[0].key or len({picture.pts for picture in coded}) != len(coded):
        return None
    return FilmIndex(coded)


@dataclass(frozen=True, slots=True)
class Cut:
    """Packets of a film as a small file of their own.

    Attributes:
        content: a Matroska file with the packets of a :class:`Stretch`.
        shown: times of the wanted frames in it, in its own units.
    """

    content: bytes
    shown: tuple[int, ...]


class Cutter:
    """Cuts stretches out of a film; quick where they come one after another.

    Args:
        path: of the film, one that has a :class:`FilmIndex`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source: _PacketSource | None = None

    def _rewind(self) -> None:
        self.close()
        self._source = _PacketSource(self._path)
        self._packets = self._source.coded()
        self._held: deque[Packet[Stream]] = deque()
        self._first = 0

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def cut(self, stretch: Stretch) -> Cut:
        """Make a file of the packets of a stretch. Times in it are ranks, a millisecond each."""
        if self._source is None or stretch.start < self._first:
            self._rewind()
        assert self._source is not None
        while self._first + len(self._held) < stretch.stop:
            self._held.append(next(self._packets))
            while self._held and self._first < stretch.start:
                self._held.popleft()
                self._first += 1
        packets = [self._held[i] for i in range(stretch.stop - stretch.start)]
        return _matroska(self._source, packets, stretch.shown)


def _matroska(source: _PacketSource, packets: list[Packet[Stream]], wanted: tuple[int, ...]) -> Cut:
    times = [packet.pts or 0 for packet in packets]
    rank = {pts: number for number, pts in enumerate(sorted(times))}
    decoded = decoding_times([rank[pts] for pts in times])
    lift = max(0, -decoded[0])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream_from_template(source.video, opaque=True)
        for packet, pts, dts in zip(packets, times, decoded, strict=True):
            copy = Packet(bytes(packet))
            copy.pts, copy.dts, copy.time_base = rank[pts] + lift, dts + lift, _MILLISECOND
            copy.is_keyframe = packet.is_keyframe
            copy.stream = stream
            out.mux(copy)
    return Cut(buffer.getvalue(), tuple(rank[pts] + lift for pts in wanted))
