"""The frames of a file by number, with jumps only where they are exact."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.stream.batch.segment import Mark
from acf_edge.stream.colour import Colour, Orientation
from acf_edge.stream.fields import OFF
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource

# How many seconds before the wanted frame a jump aims at. Where an index leads
# too far, or decoding needs more than one key frame, the next one is tried.
_RUN_UPS = (0, 2, 10)
# Seconds; lest rounding leaves the wanted frame out.
_HAIR = 1e-4


@dataclass(slots=True)
class Numbered:
    """A frame and its place in the film.

    Attributes:
        frame: as read.
        number: 0-based, in display order.
        mark: by what it is known again, where one was wanted.
        clean: nothing was wrong with the source up to here.
    """

    frame: Frame
    number: int
    mark: Mark | None
    clean: bool

    def enhanced(self, pixels: Uint8Image) -> Numbered:
        """The same place with the enhanced picture."""
        self.frame = self.frame.enhanced(pixels)
        return self


class SeekableSource(FileSource):
    """A :class:`FileSource` that says where it entered, and can hand out copies alone.

    Attributes:
        entry: time of the first key picture that was read; None before it was.
    """

    _deaf = False
    entry: int | None = None

    def __enter__(self) -> SeekableSource:
        return self

    def forgive(self, frames: int, notes: list[str]) -> None:
        """Count from here: ``frames`` are behind us, and nothing but ``notes`` is to be said."""
        report = self.report
        report.frames, report.notes = frames, list(notes)
        report.corrupt = report.untimed = report.retimed = report.resized = report.skipped = 0

    @property
    def faults(self) -> tuple[int, ...]:
        """Counts of everything that can be wrong with a frame."""
        report = self.report
        return (report.corrupt, report.untimed, report.retimed, report.resized, report.skipped)

    @property
    def clean(self) -> bool:
        """Nothing was wrong so far, and every frame had a time of its own."""
        return not (any(self.faults) or self.report.damage or self._timeline.jumps)

    @property
    def look(self) -> tuple[tuple[int, ...], Colour, Orientation]:
        """By what a copy of the file must be read the same: size, colour tags, orientation."""
        return self.first.pixels.shape, self.tags, self._pictures.orientation

    def copies(self) -> Iterator[Packet[Stream]]:
        """The packets of the wanted streams to the end of the file; no frame is decoded."""
        self._deaf = True
        for item in self.items():
            if not isinstance(item, Frame):
                yield item

    def _decode(self, packet: Packet[Stream] | None) -> Iterator[Frame]:
        if self.entry is None and packet is not None and packet.is_keyframe:
            self.entry = packet.pts
        if not self._deaf:
            yield from super()._decode(packet)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a film is read.

    Attributes:
        keep_damaged: see :class:`FileSource`.
        deinterlace: see :class:`FileSource`.
    """

    keep_damaged: bool = False
    deinterlace: str = OFF

    def open(self, path: Path, start: float = 0.0) -> SeekableSource:
        """Open a film, ``start`` seconds after its beginning.

        Raises:
            InputError: see :class:`FileSource`.
        """
        return SeekableSource(
            path, keep_damaged=self.keep_damaged, deinterlace=self.deinterlace, start=start
        )


def near(path: Path, film: SeekableSource, pts: int, reading: Reading) -> Iterator[SeekableSource]:
    """Open a film anew so that its frame at ``pts`` is among the next ones.

    Yields:
        Sources that start at key frames, the nearest first. Whether the frame is
        among what they give, and decoded from where it can be, is for the caller
        to judge; so is closing them.
    """
    begin = pts * film.time_base - Fraction(film.container.start_time or 0, av.time_base)
    for seconds in _RUN_UPS:
        with contextlib.suppress(FFmpegError, InputError):
            start = max(0.0, float(begin) - _HAIR - seconds)
            yield reading.open(path, start)


class Reader:
    """Read a film's frames by number, forward.

    Args:
        path: of the video.
        reading: how it is read.
        cancel: once set, :meth:`go` gives up.

    Attributes:
        source: the open file; another one after some calls of :meth:`go`.
        position: number of the frame that comes next.

    Raises:
        InputError: see :class:`FileSource`.
    """

    def __init__(self, path: Path, reading: Reading, cancel: threading.Event | None = None) -> None:
        self._path = path
        self._cancel = cancel
        self._reading = reading
        self._open()

    def _open(self) -> None:
        self.source = self._reading.open(self._path)
        self._frames = self.source.items()
        self.position = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    @property
    def ended(self) -> bool:
        """The end of the file has been reached."""
        return self.source.exhausted

    def go(self, first: int, tail: Sequence[Mark] = (), clean: bool = False) -> bool:
        """Make frame ``first`` the next one.

        Args:
            first: its number.
            tail: marks of the frames right before it. If the source was
                ``clean``, the reader jumps to a key frame before them, and goes
                on only if it then meets exactly these frames. Otherwise, and if
                it does not, it decodes all frames from the start.
            clean: see :attr:`SeekableSource.clean`.

        Returns:
            False if it was cancelled on the way.

        Raises:
            InputError: the file is damaged, or gives other frames than before.
        """
        if first == self.position or (clean and tail and self._jump(first, tail)):
            return True
        self.close()
        self._open()
        before: list[Mark] = []
        for item in self.read(first, lambda number: number >= first - len(tail)):
            if item.mark is not None:
                before.append(item.mark)
            if self._cancel is not None and self._cancel.is_set():
                return False
        if self.position != first or (tail and before != list(tail)):
            raise InputError(
                f"'{self._path}' does not give the frames that it gave before.",
                "Run with --restart to begin anew.",
            )
        return True

    def advance(self, first: int) -> bool:
        """Make frame ``first`` the next one by decoding all before it.

        Returns:
            False if the film has ended before it.
        """
        if first < self.position:
            self.close()
            self._open()
        for _ in self.read(first, lambda number: False):
            pass
        return self.position == first

    def _jump(self, first: int, tail: Sequence[Mark]) -> bool:
        notes = self.source.report.notes
        for source in near(self._path, self.source, tail[0].pts, self._reading):
            self.close()
            self.source, self._frames = source, source.items()
            # A picture that lacks what it refers to may be an error; we only come from afar.
            with contextlib.suppress(InputError):
                if self._meet(tail):
                    source.forgive(first, notes)
                    self.position = first
                    return True
        return False

    def _meet(self, tail: Sequence[Mark]) -> bool:
        awaited = iter(tail)
        wanted = next(awaited)
        for frame in self._frames:
            if not isinstance(frame, Frame) or frame.pts < wanted.pts:
                continue
            if Mark.of(frame.pts, frame.pixels) != wanted:
                return False
            following = next(awaited, None)
            if following is None:
                return True
            wanted = following
        return False

    def read(self, stop: int | None, marked: Callable[[int], bool]) -> Iterator[Numbered]:
        """Frames from :attr:`position` up to frame ``stop`` (None: the end of the file).

        Args:
            stop: number of the first frame that is not wanted.
            marked: whether the frame of this number gets a mark.

        Raises:
            InputError: the file is damaged (unless ``keep_damaged``).
        """
        while stop is None or self.position < stop:
            frame = next(self._frames, None)
            if frame is None:
                return
            if not isinstance(frame, Frame):
                continue
            number = self.position
            mark = Mark.of(frame.pts, frame.pixels) if marked(number) else None
            self.position += 1
            yield Numbered(frame, number, mark, self.source.clean)
