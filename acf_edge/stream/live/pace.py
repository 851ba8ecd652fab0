"""The ladder of engines and the governor that chooses among them, as one thing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2

from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.deadline import Deadline
from acf_edge.stream.live.governor import Governor
from acf_edge.stream.live.ladder import warm_up
from acf_edge.stream.protocols import StreamInfo


class Pace:
    """Chooses an engine for every frame. Controls may be used from any thread.

    Args:
        engines: best first, of one scale.
        deadline: how old a frame may be when it is done; None = no limit.
        clock: seconds, monotonic.

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
        self._deadline = deadline
        self._clock = clock
        self._lock = threading.Lock()
        self._beginning = threading.Lock()
        self._held: int | None = None
        self._governor: Governor | None = None

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
            governor = Governor(seconds, self.names, self._clock)
            if live and seconds is not None:
                for rung, service in enumerate(warm_up(self.engines, info.width, info.height)):
                    governor.expect(rung, service)
            with self._lock:
                if self._held is not None:
                    governor.hold(self._held)
                self._governor = governor

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
    except AcfError:
        raise
    except Exception as error:
        height, width = pixels.shape[:2]
        no_memory = isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem
        if no_memory or isinstance(error, MemoryError):
            raise InputError(
                f"There is not enough memory for {engine.name} to enhance a "
                f"{width}x{height} picture.",
                "Use --tile, a smaller picture, or close other programs.",
            ) from error
        raise AcfError(
            f"The engine {engine.name} failed at {what}: {type(error).__name__}: {error}.",
            "What was recorded until then is whole.",
        ) from error
