"""The ladder of engines and the governor that chooses among them, as one thing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2

from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.board import BoardSensor, open_board
from acf_edge.stream.live.deadline import Deadline
from acf_edge.stream.live.governor import Governor
from acf_edge.stream.live.ladder import warm_up
from acf_edge.stream.live.words import reason_of
from acf_edge.stream.protocols import StreamInfo


class Pace:
    """Chooses an engine for every frame. Controls may be used from any thread.

    Args:
        engines: best first, of one scale.
        deadline: how old a frame may be when it is done; None = no limit.
        clock: seconds, monotonic.

    Attributes:
        engines: as given.
        scale: theirs.
        limit: the deadline in seconds; None before :meth:`begin`, and without one.

    Raises:
        InputError: no engine, or engines of different scales.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        deadline: Deadline | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not engines:
            raise InputError("There is no engine to run.", "Give at least one.")
        scales = sorted({engine.scale for engine in engines})
        if len(scales) > 1:
            raise InputError(
                f"The engines enlarge by {' and '.join(map(str, scales))}.",
                "All engines of a ladder have one scale.",
            )
        self.engines = tuple(engines)
        self.scale = scales[0]
        self.limit: float | None = None
        self._deadline = deadline
        self._clock = clock
        self._lock = threading.Lock()
        self._beginning = threading.Lock()
        self._held: int | None = None
        self._governor: Governor | None = None
        self._board: BoardSensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The engines' names, best first."""
        return tuple(engine.name for engine in self.engines)

    def begin(self, info: StreamInfo, *, live: bool) -> None:
        """Make the governor when the first source is known; later calls do nothing.

        Args:
            info: of the source: what a deadline in frames means, and the size at
                which the engines are tried before it matters.
            live: frames have an age. A first run allocates and is slow, so with a
                deadline every engine runs once beforehand.

        Raises:
            InputError: see :func:`run_engine`.
        """
        with self._beginning:
            if self._governor is not None:
                return
            seconds = None if self._deadline is None else self._deadline.seconds(info.rate)
            self.limit = seconds
            if seconds is not None:
                self._board = open_board()
            governor = Governor(seconds, self.names, self._clock, self._board)
            if live and seconds is not None:
                for rung, service in enumerate(self._try_out(info.width, info.height)):
                    governor.expect(rung, service)
            with self._lock:
                if self._held is not None:
                    governor.hold(self._held)
                self._governor = governor

    def _try_out(self, width: int, height: int) -> list[float]:
        try:
            return warm_up(self.engines, width, height)
        except Exception as error:
            raise explained(
                error, " or ".join(self.names), (width, height), "the first try"
            ) from error

    def close(self) -> None:
        """Stop watching the board; the engines stay open."""
        if self._board is not None:
            self._board.close()

    def choose(self, age: float) -> int:
        """The rung for a frame of this age, seconds."""
        with self._lock:
            assert self._governor is not None
            return self._governor.choose(age)

    def report(self, rung: int, service: float, latency: float) -> None:
        """What became of a frame, seconds."""
        with self._lock:
            assert self._governor is not None
            self._governor.report(rung, service, latency)

    def hold(self, name: str | None) -> None:
        """Use this engine from now on; None = choose again.

        Raises:
            InputError: there is no engine of this name.
        """
        if name is not None and name not in self.names:
            raise InputError(
                f"There is no engine '{name}' on the ladder.",
                f"There are: {', '.join(self.names)}.",
            )
        with self._lock:
            self._held = None if name is None else self.names.index(name)
            if self._governor is not None:
                self._governor.hold(self._held)

    def to_json(self) -> dict[str, Any] | None:
        """The governor's state; None before the first frame."""
        with self._lock:
            return None if self._governor is None else self._governor.snapshot().to_json()


def run_engine(engine: Engine, pixels: Uint8Image, what: str) -> Uint8Image:
    """Enhance one picture; whatever goes wrong comes out in words.

    Args:
        engine: to run.
        pixels: ``(H, W, 3)`` uint8 RGB.
        what: names the picture in messages.

    Raises:
        InputError: there is too little memory, or the engine says so itself.
        AcfError: the engine failed in a way of its own.
    """
    try:
        return engine.run(pixels)
    except Exception as error:
        height, width = pixels.shape[:2]
        raise explained(error, engine.name, (width, height), what) from error


def explained(error: Exception, engine: str, size: tuple[int, int], what: str) -> AcfError:
    """What an engine raised, in words; an error that is in words already is itself.

    Args:
        error: what it raised.
        engine: its name.
        size: ``(width, height)`` of the picture.
        what: names the picture.
    """
    if isinstance(error, AcfError):
        return error
    no_memory = isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem
    if no_memory or isinstance(error, MemoryError):
        return InputError(
            f"There is not enough memory for {engine} to enhance a {size[0]}x{size[1]} picture.",
            "Use --tile, a smaller picture, or close other programs.",
        )
    return AcfError(
        f"The engine {engine} failed at {what}: {reason_of(error)}.",
        "What was recorded until then is whole.",
    )
