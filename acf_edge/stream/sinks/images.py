"""Numbered pictures in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.imaging.files import write_image
from acf_edge.stream.protocols import Moment, SinkFailed, Source, StreamInfo
from acf_edge.stream.sinks.fit import letterbox
from acf_edge.stream.sinks.options import FOLDER_OPTIONS, with_defaults

if TYPE_CHECKING:
    from acf_edge.stream.uri_types import Uri

_NUMBERED = re.compile(r"frame-\d{6,}\.(png|jpg|webp)")


class ImageFolderSink:
    """Write pictures as ``frame-000000.png``, ``frame-000001.png``, ...

    Each appears when it is whole. A folder with numbered pictures in it is refused,
    unless ``overwrite=1``: they are then replaced one by one.

    Args:
        uri: the path of a folder, with the options of
            :data:`~acf_edge.stream.sinks.options.FOLDER_OPTIONS`.

    Attributes:
        frames: pictures written.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        options = with_defaults(FOLDER_OPTIONS, uri.options)
        self._folder = Path(uri.rest)
        self._suffix = f".{options['format']}"
        self._every = int(options["every"])
        self._overwrite = bool(options["overwrite"])
        self._keep_held = options["held"] == "keep"
        self._size = (0, 0)
        self._came = self._resized = 0
        self._older: frozenset[str] = frozenset()
        self._notes: list[str] = []
        self.frames = 0

    @property
    def uri(self) -> str:
        """As the user gave it."""
        return self._uri.shown

    @property
    def wants_original(self) -> bool:
        """Never."""
        return False

    @property
    def lossless(self) -> bool:
        """A recording: of a file, nothing may be dropped."""
        return True

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be made, or holds numbered pictures already.
        """
        self._size = size
        source.pass_along(())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            there = [path.name for path in self._folder.iterdir()]
        except FileExistsError as error:
            raise InputError(f"'{self._folder}' is a file.", "Give a folder.") from error
        except OSError as error:
            raise explain_os_error(error, self._folder) from error
        self._older = frozenset(name for name in there if _NUMBERED.fullmatch(name))
        if self._older and not self._overwrite:
            raise InputError(
                f"There are numbered pictures in '{self._folder}' already.",
                "Choose another folder, or add '?overwrite=1' to replace them.",
            )
        if info.aspect is not None:
            self._notes.append(
                f"the pixels are {info.aspect} as wide as high; pictures cannot say so"
            )
        if info.colour.hdr:
            self._notes.append("the HDR transfer curve was kept; pictures cannot say so")

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Write a picture.

        Raises:
            SinkFailed: the disk is full, or the folder gone.
        """
        if not isinstance(item, Moment) or (item.held and not self._keep_held):
            return
        number, self._came = self._came, self._came + 1
        if number % self._every:
            return
        pixels = item.frame.pixels
        if item.frame.rotation % 360:
            pixels = np.ascontiguousarray(np.rot90(pixels, -item.frame.rotation // 90))
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            self._resized += 1
            pixels = letterbox(pixels, *self._size)
        # Writing would make the folder anew, and nobody would find the rest.
        if not self._folder.is_dir():
            raise SinkFailed(f"'{self._folder}' was removed")
        try:
            write_image(self._folder / self._name(self.frames), pixels)
        except InputError as error:
            raise SinkFailed(error.problem.rstrip(".")) from error
        self.frames += 1

    def _name(self, number: int) -> str:
        return f"frame-{number:06d}{self._suffix}"

    def close(self) -> Sequence[str]:
        """Nothing to finish; says what was special."""
        notes = list(self._notes)
        if self._resized:
            notes.append(
                f"{self._resized} {'picture' if self._resized == 1 else 'pictures'} of another "
                "size, scaled to fit with black around them"
            )
        stale = self._older - {self._name(number) for number in range(self.frames)}
        if stale:
            notes.append(f"{len(stale)} older numbered pictures are still in '{self._folder}'")
        return tuple(notes)
