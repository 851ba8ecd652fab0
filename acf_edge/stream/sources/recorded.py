"""A video file as a source: once, from somewhere on, in a loop, or paced like a camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import StreamInfo
from acf_edge.stream.source_file import FileSource
from acf_edge.stream.sources.door import Door, Shut
from acf_edge.stream.sources.pacer import Pacer
from acf_edge.stream.sources.shelf import Shelf
from acf_edge.stream.uri_types import Uri


class RecordedSource:
    """A video file; everything in it is handed out, unless ``realtime=1`` makes it live.

    Args:
        uri: the path, with the options loop, realtime, start, audio, deinterlace,
            keep-damaged.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._loop = bool(uri.options["loop"])
        self._door: Door | None = None
        self._file: FileSource | None = None
        # A file that is opened again and again hands out streams of none of its openings.
        self._shelf = Shelf() if self._loop else None
        self._end = Fraction(0)
        self._notes: list[str] = []

    @property
    def uri(self) -> str:
        """The path as the user gave it."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """Paced like a camera (``realtime=1``)."""
        return bool(self._uri.options["realtime"])

    @property
    def expected_frames(self) -> int | None:
        """How many frames the file announces; None where it does not, or has no end."""
        if self._file is None or self._loop or self._uri.options["start"]:
            return None
        return self._file.expected_frames

    def open(self) -> StreamInfo:
        """Read up to the first frame.

        Raises:
            InputError: no such file, not a video, damaged.
        """
        path = Path(self._uri.rest)
        if path.is_dir():
            raise InputError(f"'{path}' is a folder.", "End its name in '/' to read its pictures.")
        if not path.exists():
            raise InputError(f"There is no file '{path}'.", "Check the path.")
        file = self._open_file()
        self._file = file
        self._door = Door(self._release)
        height, width = file.first.pixels.shape[:2]
        return StreamInfo(
            title=self.uri,
            width=width,
            height=height,
            rate=file.rate,
            time_base=file.time_base,
            tags=file.tags,
            colour=file.first.colour,
            aspect=file.aspect,
            live=self.live,
            notes=tuple(file.notes()),
        )

    def _open_file(self) -> FileSource:
        options = self._uri.options
        file = FileSource(
            Path(self._uri.rest),
            keep_damaged=options["keep-damaged"],
            deinterlace=options["deinterlace"],
            start=options["start"],
            keep_word="'?keep-damaged=1' after the name",
        )
        if self._shelf is not None:
            self._shelf.fill(self._sound(file))
            file.pass_along(self._sound(file))
        return file

    def _sound(self, file: FileSource) -> list[Stream]:
        return list(file.container.streams.audio) if self._uri.options["audio"] else []

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._notes = file.notes()
            file.close()

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames, and packets of the streams named by :meth:`pass_along`, to the end.

        Raises:
            InputError: the file turned out to be damaged.
        """
        door = self._door
        if door is None:
            return
        pacer = Pacer(door.wait) if self.live else None
        shift = self._start_shift()
        try:
            while True:
                for item in self._pass(door, shift):
                    if pacer is not None and isinstance(item, Frame):
                        pacer.wait(item.seconds)
                    yield item
                if not self._loop:
                    return
                with door.inside():
                    self._open_again()
                    shift = self._end + self._start_shift()
        except Shut:
            return

    def _start_shift(self) -> Fraction:
        """Where a file is begun in its middle, or again, time begins at zero."""
        file = self._file
        if file is None or not (self._loop or self._uri.options["start"]):
            return Fraction(0)
        return -(file.start or file.first.seconds)

    def _open_again(self) -> None:
        old = self._file
        if old is not None:
            old.close()
        self._file = self._open_file()

    def _pass(self, door: Door, shift: Fraction) -> Iterator[Frame | Packet[Stream]]:
        """One way through the file."""
        file = self._file
        if file is None:
            return
        step = 1 / file.rate
        items = file.items()
        while True:
            with door.inside():
                item = next(items, None)
                if item is None:
                    return
                if not isinstance(item, Frame) and self._shelf and not self._shelf.label(item):
                    continue
            ticks = round(shift / item.time_base)
            if isinstance(item, Frame):
                item.pts += ticks
                length = item.duration * item.time_base
                self._end = item.seconds + (length or step)
            else:
                item.pts = None if item.pts is None else item.pts + ticks
                item.dts = None if item.dts is None else item.dts + ticks
            yield item

    def copyable(self) -> Sequence[Stream]:
        """Everything beside the pictures; in a loop the sound only."""
        if self._shelf is not None:
            return self._shelf.streams
        file = self._file
        if file is None:
            return ()
        sound = bool(self._uri.options["audio"])
        return [
            stream
            for stream in file.container.streams
            if stream.index != file.video.index and (sound or stream.type != "audio")
        ]

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        if self._shelf is not None:
            self._shelf.want(streams)
        elif self._file is not None:
            self._file.pass_along(list(streams))

    def notes(self) -> list[str]:
        """What is not handed out as it is in the file, in words."""
        return self._file.notes() if self._file is not None else list(self._notes)

    def close(self) -> None:
        """Close the file; from another thread, too: :meth:`items` ends then."""
        if self._door is not None:
            self._door.shut()
