"""Test pictures: colour bars, a clock, noise."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np
from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.stream.colour import (
    MATRIX_601_525,
    MATRIX_709,
    RANGE_FULL,
    RANGE_LIMITED,
    Colour,
    resolve,
)
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import StreamInfo
from acf_edge.stream.sources.door import Door, Shut
from acf_edge.stream.sources.pacer import Pacer
from acf_edge.stream.uri_types import Uri, nearest

PATTERNS = ("bars", "clock", "noise")
_HIGH = 191  # three quarters of white, gamma-encoded
_GREY, _WHITE, _BLACK = (_HIGH, _HIGH, _HIGH), (255, 255, 255), (0, 0, 0)
# SMPTE EG 1: grey, yellow, cyan, green, magenta, red, blue; below them in reverse with
# black between; below that -I, white, +Q, black, and the PLUGE.
_TOP = [
    _GREY,
    (_HIGH, _HIGH, 0),
    (0, _HIGH, _HIGH),
    (0, _HIGH, 0),
    (_HIGH, 0, _HIGH),
    (_HIGH, 0, 0),
    (0, 0, _HIGH),
]
_MIDDLE = [_TOP[6], _BLACK, _TOP[4], _BLACK, _TOP[2], _BLACK, _TOP[0]]
_MINUS_I, _PLUS_Q = (0, 33, 76), (50, 0, 106)
# Blacker than black lies outside of RGB: that bar of the PLUGE is black here.
_ABOVE_BLACK = (10, 10, 10)
_NOISE_PICTURES = 4
_MOST_LATE = 1.0


def bars(width: int, height: int) -> Uint8Image:
    """SMPTE colour bars at 75 %.

    Returns:
        ``(height, width, 3)`` uint8 RGB, full range: seven bars on the upper two thirds,
        the reverse on a twelfth, -I, white, +Q and the PLUGE on the rest.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    upper, lower = height * 2 // 3, height * 3 // 4
    sevenths = [width * i // 7 for i in range(8)]
    for row, colours in (((0, upper), _TOP), ((upper, lower), _MIDDLE)):
        for i, colour in enumerate(colours):
            picture[row[0] : row[1], sevenths[i] : sevenths[i + 1]] = colour
    wide = [width * 5 * i // 28 for i in range(4)]
    for i, colour in enumerate((_MINUS_I, _WHITE, _PLUS_Q)):
        picture[lower:, wide[i] : wide[i + 1]] = colour
    third = [sevenths[5] + (sevenths[6] - sevenths[5]) * i // 3 for i in range(4)]
    picture[lower:, third[2] : third[3]] = _ABOVE_BLACK
    return picture


class TestSource:
    """A picture made here, paced like a camera or as fast as it goes.

    Frame n stands at exactly ``n / fps``. Paced, it comes at that time, too; whoever
    is a second late misses frames, as with a camera.

    Args:
        uri: ``test://bars``, ``test://clock`` or ``test://noise``, with its options.

    Raises:
        InputError: no such pattern, or a picture too small for a clock.
    """

    # Not a test class, whatever its name makes pytest think.
    __test__ = False

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._options = uri.options
        self._pattern = uri.rest.strip("/") or "bars"
        if self._pattern not in PATTERNS:
            raise InputError(
                f"There is no test picture '{self._pattern}'.",
                f"{nearest(self._pattern, PATTERNS)}There are: {', '.join(PATTERNS)}.",
            )
        self._size = (int(uri.options["width"]), int(uri.options["height"]))
        if self._pattern == "clock":
            from acf_edge.stream.clock.code import SMALLEST

            if self._size[0] < SMALLEST[0] or self._size[1] < SMALLEST[1]:
                raise InputError(
                    f"A clock of {self._size[0]}x{self._size[1]} cannot be read.",
                    f"Make it at least {SMALLEST[0]}x{SMALLEST[1]}.",
                )
        self._door: Door | None = None

    @property
    def uri(self) -> str:
        """As the user gave it."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """Paced like a camera (``realtime=1``, the default)."""
        return bool(self._options["realtime"])

    @property
    def expected_frames(self) -> int | None:
        """How many frames there will be; None = it has no end."""
        frames = self._options["frames"]
        return None if frames is None else int(frames)

    def open(self) -> StreamInfo:
        """Never fails."""
        self._door = Door(lambda: None)
        width, height = self._size
        tags = self._tags()
        return StreamInfo(
            title=self.uri,
            width=width,
            height=height,
            rate=self._options["fps"],
            time_base=self._time_base,
            tags=tags,
            colour=resolve(tags, width, height),
            live=self.live,
        )

    @property
    def _time_base(self) -> Fraction:
        rate = Fraction(self._options["fps"])
        return Fraction(1, rate.numerator)

    def _tags(self) -> Colour:
        matrix = {"auto": None, "601": MATRIX_601_525, "709": MATRIX_709}[self._options["matrix"]]
        code_range = RANGE_FULL if self._options["range"] == "full" else RANGE_LIMITED
        if matrix is None:
            return resolve(Colour(range=code_range), *self._size)
        # Primaries and transfer have the numbers of their matrix.
        return Colour(matrix, code_range, matrix, matrix)

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames, without end unless ``frames`` says so."""
        door = self._door
        if door is None:
            return
        rate, unit = Fraction(self._options["fps"]), self._time_base
        step = rate.denominator
        colour = resolve(self._tags(), *self._size)
        pictures = self._pictures()
        pacer = Pacer(door.wait) if self.live else None
        number = 0
        try:
            for _ in range(self.expected_frames) if self.expected_frames else itertools.count():
                if pacer is not None:
                    late = pacer.late(number / rate)
                    number += int(late * rate) if late > _MOST_LATE else 0
                    pacer.wait(number / rate)
                with door.inside():
                    pixels = next(pictures)
                yield Frame(pixels, number * step, unit, step, colour, key=True)
                number += 1
        except Shut:
            return

    def _pictures(self) -> Iterator[Uint8Image]:
        width, height = self._size
        if self._pattern == "noise":
            yield from self._noise()
        still = bars(width, height)
        while True:
            picture = still.copy()
            if self._pattern == "clock":
                _paint_clock(picture)
            yield picture

    def _noise(self) -> Iterator[Uint8Image]:
        """Different every frame; cut at random places from a few pictures, since it is dear."""
        width, height = self._size
        random = np.random.default_rng(self._options["seed"])
        shape = (height, width, 3)
        pool = random.integers(0, 256, (_NOISE_PICTURES, *shape), dtype=np.uint8)
        while True:
            picture = pool[random.integers(_NOISE_PICTURES)]
            shift = random.integers(0, height), random.integers(0, width)
            yield np.roll(picture, shift, axis=(0, 1))

    def copyable(self) -> Sequence[Stream]:
        """Nothing: there is no sound."""
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """There is nothing to pass along."""

    def close(self) -> None:
        """End :meth:`items`, from any thread."""
        if self._door is not None:
            self._door.shut()


def _paint_clock(picture: Uint8Image) -> None:
    """The time of day for eyes, and for machines in the strip at the top."""
    from acf_edge.stream.clock.code import now, paint

    height, width = picture.shape[:2]
    microseconds = now()
    moment = datetime.datetime.fromtimestamp(microseconds / 1e6, tz=datetime.timezone.utc)
    text = f"{moment:%H:%M:%S}.{microseconds // 1000 % 1000:03d}"
    size, thickness = width / 320, max(1, width // 200)
    (long, tall), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    left, bottom = (width - long) // 2, (height + tall) // 2
    picture[bottom - tall - below : bottom + below, max(0, left - below) : left + long + below] = 0
    cv2.putText(picture, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, size, _WHITE, thickness)
    paint(picture, microseconds)
