"""A folder of pictures as a stream of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.imaging.files import list_images, read_image
from acf_edge.stream.colour import MATRIX_RGB, RANGE_FULL, Colour, resolve
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import StreamInfo
from acf_edge.stream.sources.door import Door, Shut
from acf_edge.stream.sources.pacer import Pacer
from acf_edge.stream.uri_types import Uri

# Pictures say nothing of a matrix; a sink that writes YUV chooses one by the size.
_TAGS = Colour(matrix=MATRIX_RGB, range=RANGE_FULL)


class ImageFolderSource:
    """The pictures of a folder, by name; frame n stands at ``n / fps``.

    Args:
        uri: the path of a folder, with the options fps, sizes (``same``: a picture of
            another size than the first is an error; ``scale``: it is scaled to it),
            loop, realtime.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._options = uri.options
        self._door: Door | None = None
        self._paths: list[Path] = []
        self._first: Uint8Image | None = None
        self._scaled = 0

    @property
    def uri(self) -> str:
        """The path as the user gave it."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """Paced like a camera (``realtime=1``)."""
        return bool(self._options["realtime"])

    @property
    def expected_frames(self) -> int | None:
        """How many pictures there are; None in a loop."""
        return None if self._options["loop"] else len(self._paths)

    def open(self) -> StreamInfo:
        """List the folder and read the first picture.

        Raises:
            InputError: no such folder, no picture in it, or the first is damaged.
        """
        self._paths = list_images(Path(self._uri.rest))
        self._first = read_image(self._paths[0])
        self._door = Door(lambda: None)
        self._scaled = 0
        height, width = self._first.shape[:2]
        rate = Fraction(self._options["fps"])
        return StreamInfo(
            title=self.uri,
            width=width,
            height=height,
            rate=rate,
            time_base=Fraction(1, rate.numerator),
            tags=_TAGS,
            colour=resolve(_TAGS, width, height, rgb=True),
            live=self.live,
        )

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """One frame per picture.

        Raises:
            InputError: a picture is damaged, or of another size (``sizes=same``).
        """
        door, first = self._door, self._first
        if door is None or first is None:
            return
        rate = Fraction(self._options["fps"])
        unit, step = Fraction(1, rate.numerator), rate.denominator
        colour = resolve(_TAGS, first.shape[1], first.shape[0], rgb=True)
        pacer = Pacer(door.wait) if self.live else None
        try:
            for number, path in enumerate(self._order()):
                with door.inside():
                    pixels = self._read(path, first)
                if pacer is not None:
                    pacer.wait(number / rate)
                yield Frame(pixels, number * step, unit, step, colour, key=True)
        except Shut:
            return

    def _order(self) -> Iterator[Path]:
        yield from self._paths
        while self._options["loop"]:
            yield from self._paths

    def _read(self, path: Path, first: Uint8Image) -> Uint8Image:
        pixels = read_image(path)
        if pixels.shape == first.shape:
            return pixels
        height, width = first.shape[:2]
        if self._options["sizes"] == "same":
            raise InputError(
                f"'{path}' has {pixels.shape[1]}x{pixels.shape[0]} pixels, the first picture "
                f"{width}x{height}.",
                "Give pictures of one size, or add ?sizes=scale to scale them to the first.",
            )
        self._scaled += 1
        smaller = pixels.shape[0] * pixels.shape[1] > height * width
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return np.ascontiguousarray(cv2.resize(pixels, (width, height), interpolation=how))

    def notes(self) -> list[str]:
        """What was changed, in words."""
        if not self._scaled:
            return []
        what = "picture was" if self._scaled == 1 else "pictures were"
        return [f"{self._scaled} {what} scaled to the size of the first"]

    def copyable(self) -> Sequence[Stream]:
        """Nothing: there is no sound."""
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """There is nothing to pass along."""

    def close(self) -> None:
        """End :meth:`items`, from any thread."""
        if self._door is not None:
            self._door.shut()
