"""Sources, sinks and engines for the streaming runtime that do as a test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment, SinkFailed, StreamInfo

Image = npt.NDArray[np.uint8]
COLOUR = Colour(1, 1, 1, 1)
UNIT = Fraction(1, 90000)
PATIENCE = 20.0


def picture(number: int, height: int = 16, width: int = 24) -> Image:
    """A picture that knows its number."""
    return np.full((height, width, 3), number % 256, np.uint8)


def frame(number: int, rate: Fraction = Fraction(30), size: tuple[int, int] = (24, 16)) -> Frame:
    step = int(1 / rate / UNIT)
    return Frame(picture(number, size[1], size[0]), number * step, UNIT, step, COLOUR)


def eventually(happened: Callable[[], Any], what: str = "it") -> None:
    """Wait until something is so; the bound is for a machine that is very busy."""
    limit = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < limit, f"{what} never happened"
        time.sleep(0.002)


def alive() -> list[str]:
    """Threads of the runtime that are still there."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("acf-")]


class ToySource:
    """Gives what is put into it: frames, packets, an exception to raise, None for the end."""

    def __init__(
        self,
        *,
        live: bool = False,
        frames: int = 0,
        rate: int = 30,
        uri: str = "toy://source",
        open_error: BaseException | None = None,
        streams: Sequence[Any] = (),
    ) -> None:
        self.uri = uri
        self.live = live
        self.rate = Fraction(rate)
        self.open_error = open_error
        self.streams = streams
        self.passed: list[Any] = []
        self.opened = self.closed = 0
        self.pulled = 0
        self._things: queue.Queue[Any] = queue.Queue()
        self._shut = object()
        for number in range(frames):
            self.put(frame(number, self.rate))
        if frames:
            self.put(None)

    def put(self, *things: Any) -> None:
        for thing in things:
            self._things.put(thing)

    def open(self) -> StreamInfo:
        self.opened += 1
        if self.open_error is not None:
            raise self.open_error
        return StreamInfo(
            self.uri, 24, 16, self.rate, UNIT, COLOUR, COLOUR, live=self.live, notes=("a toy",)
        )

    def items(self) -> Iterator[Any]:
        while True:
            thing = self._things.get()
            if thing is None or thing is self._shut:
                return
            if isinstance(thing, BaseException):
                raise thing
            self.pulled += 1
            yield thing

    def copyable(self) -> Sequence[Any]:
        return self.streams

    def pass_along(self, streams: Sequence[Any]) -> None:
        self.passed = list(streams)

    def close(self) -> None:
        self.closed += 1
        self._things.put(self._shut)


class DeafSource(ToySource):
    """Hangs for good: closing it does not end its reader."""

    def __init__(self) -> None:
        super().__init__(live=True)
        self.release = threading.Event()

    def items(self) -> Iterator[Any]:
        yield frame(0)
        self.release.wait(60)

    def close(self) -> None:
        self.closed += 1


class ToySink:
    """Keeps what it gets. ``gate`` closed: it takes one item and waits."""

    def __init__(
        self,
        *,
        lossless: bool = True,
        uri: str = "toy://sink",
        wants_original: bool = False,
        fail_at: int | None = None,
        open_error: BaseException | None = None,
        close_error: BaseException | None = None,
    ) -> None:
        self.uri = uri
        self.lossless = lossless
        self.wants_original = wants_original
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.got: list[Moment] = []
        self.packets: list[Any] = []
        self.closed = 0
        self.opened_with: tuple[Any, ...] = ()
        self._fail_at = fail_at
        self._open_error = open_error
        self._close_error = close_error

    def open(self, info: StreamInfo, size: tuple[int, int], source: Any) -> None:
        self.opened_with = (info, size, source)
        if self._open_error is not None:
            raise self._open_error

    def write(self, item: Any) -> None:
        self.entered.set()
        assert self.gate.wait(60)
        if not isinstance(item, Moment):
            self.packets.append(item)
            return
        if len(self.got) == self._fail_at:
            raise SinkFailed("the disk is full")
        self.got.append(item)

    def close(self) -> Sequence[str]:
        self.closed += 1
        if self._close_error is not None:
            raise self._close_error
        return ("written",)

    @property
    def numbers(self) -> list[int]:
        return [moment.sequence for moment in self.got]


class ToyEngine:
    """Doubles every pixel. ``gate`` closed: it waits inside of ``run``."""

    def __init__(self, name: str = "toy", *, fail_at: int | None = None) -> None:
        self.name = name
        self.scale = 2
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.seen: list[int] = []
        self.error: Exception = ValueError("a bad weight")
        self._fail_at = fail_at

    def run(self, pixels: Image) -> Image:
        self.entered.set()
        assert self.gate.wait(60)
        if len(self.seen) == self._fail_at:
            raise self.error
        self.seen.append(int(pixels[0, 0, 0]))
        return np.ascontiguousarray(pixels.repeat(2, 0).repeat(2, 1))

    def close(self) -> None:
        pass


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
