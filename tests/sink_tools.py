"""What the tests of sinks share: sources made of arrays or films, and URIs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.packet import Packet
from av.stream import Stream
from video_clips import Image

from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment, Sink, Source, StreamInfo
from acf_edge.stream.source_file import FileSource
from acf_edge.stream.uri_types import Uri

TICKS = Fraction(1, 90000)
BT601 = Colour(6, 1, 6, 6)


def place_uri(path: Path | str, scheme: str = "file", **options: object) -> Uri:
    """A plain path with options, as the grammar would make it."""
    return Uri(str(path), scheme, str(path), options, str(path))


def info(
    width: int,
    height: int,
    *,
    live: bool = False,
    colour: Colour = BT601,
    tags: Colour | None = None,
    time_base: Fraction = TICKS,
    aspect: Fraction | None = None,
) -> StreamInfo:
    return StreamInfo(
        "made", width, height, Fraction(25), time_base, tags or colour, colour, aspect, live
    )


def moment(
    pixels: Image, pts: int, *, held: bool = False, duration: int = 0, base: Fraction = TICKS
) -> Moment:
    frame = Frame(pixels, pts, base, duration, BT601)
    now = time.monotonic()
    return Moment(frame, None, 0, 0, now, now, "test", held)


class SilentSource:
    """A source of nothing: for sinks that are fed by hand."""

    uri = "made"
    live = False

    def open(self) -> StreamInfo:
        return info(64, 48)

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        return iter(())

    def copyable(self) -> Sequence[Stream]:
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        assert not streams

    def close(self) -> None:
        pass


class FilmSource:
    """A video file behind the protocol of sources."""

    def __init__(self, path: Path) -> None:
        self.uri = str(path)
        self.live = False
        self._path = path

    def open(self) -> StreamInfo:
        self._film = film = FileSource(self._path)
        height, width = film.first.pixels.shape[:2]
        return StreamInfo(
            str(self._path),
            width,
            height,
            film.rate,
            film.time_base,
            film.tags,
            film.first.colour,
            film.aspect,
        )

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        return self._film.items()

    def copyable(self) -> Sequence[Stream]:
        return [s for s in self._film.container.streams if s.index != self._film.video.index]

    def pass_along(self, streams: Sequence[Stream]) -> None:
        self._film.pass_along(list(streams))

    def close(self) -> None:
        self._film.close()


def carry(
    source: Source,
    *sinks: Sink,
    scale: int = 1,
    live: bool = False,
    change: Callable[[Image], Image] = lambda pixels: pixels,
) -> list[str]:
    """Source to sinks, one after the other, without threads. Returns the sinks' notes."""
    about = source.open()
    about = replace(about, live=live)
    for sink in sinks:
        sink.open(about, (about.width * scale, about.height * scale), source)
    notes: list[str] = []
    try:
        for item in source.items():
            if isinstance(item, Frame):
                pixels = change(np.ascontiguousarray(item.pixels.repeat(scale, 0).repeat(scale, 1)))
                now = time.monotonic()
                out = Moment(item.enhanced(pixels), None, 0, 0, now, now, "test")
                for sink in sinks:
                    sink.write(out)
            else:
                for sink in sinks:
                    sink.write(item)
        for sink in sinks:
            notes += sink.close()
    finally:
        source.close()
    return notes
