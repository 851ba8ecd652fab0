"""What TensorRT says, brought into Python: messages, progress, times of layers.

TensorRT calls these from its own threads and does not expect exceptions: what a listener raises is
kept and raised where the listening ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import tensorrt as trt

    from acf_edge.engine.trt.names import Module

Level = Literal["internal error", "error", "warning", "info", "verbose"]
LEVELS: Final[tuple[Level, ...]] = ("internal error", "error", "warning", "info", "verbose")
KEPT_ERRORS: Final = 32


@dataclass(frozen=True)
class Message:
    """One message of TensorRT.

    Attributes:
        level: how grave, one of :data:`LEVELS`.
        text: may have several lines.
    """

    level: Level
    text: str

    @property
    def is_error(self) -> bool:
        """Something went wrong, or will."""
        return self.level in ("error", "internal error")


Listener = Callable[[Message], None]


class Log:
    """The messages of one module, for whoever listens.

    There is one per module and process: TensorRT keeps the first logger that it is given and
    ignores the others.

    Attributes:
        logger: what TensorRT is given.
    """

    def __init__(self, module: Module) -> None:
        # A message may come while this lock is held: a destructor of TensorRT's that Python's
        # garbage collection calls speaks, too.
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._errors: deque[str] = deque(maxlen=KEPT_ERRORS)
        self.logger: trt.ILogger = _make_logger(module, self._take)

    @contextmanager
    def listen(self, level: Level = "info") -> Iterator[list[Message]]:
        """Collect the messages while the block runs.

        Args:
            level: the least grave kind that is kept; ``"verbose"`` is many thousands in a build.

        Yields:
            A list that grows; from all threads of the process, in order.
        """
        found: list[Message] = []
        kept = LEVELS[: LEVELS.index(level) + 1]

        def keep(message: Message) -> None:
            if message.level in kept:
                found.append(message)

        with self.hear(keep):
            yield found

    @contextmanager
    def hear(self, listener: Listener) -> Iterator[None]:
        """Call a function with every message while the block runs, in TensorRT's threads.

        What it raises is raised at the end of the block, and it hears nothing more: the bindings
        print and forget what a logger raises.
        """
        raised: list[BaseException] = []

        def guarded(message: Message) -> None:
            if raised:
                return
            try:
                listener(message)
            except BaseException as error:
                raised.append(error)

        with self._lock:
            self._listeners.append(guarded)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(guarded)
        if raised:
            raise raised[0]

    def report(self, level: Level, text: str) -> None:
        """Say something of our own among TensorRT's messages, e.g. why a plugin refused."""
        self._take(level, text)

    def last_error(self) -> str:
        """The errors since this was asked last, as one line without repetitions, and forget them.

        TensorRT often tells one failure several times, from the inside outwards: the first is the
        cause and comes first.
        """
        with self._lock:
            found = list(dict.fromkeys(self._errors))
            self._errors.clear()
        return " ".join("; ".join(found).split())

    def _take(self, level: Level, text: str) -> None:
        message = Message(level, text)
        with self._lock:
            if message.is_error:
                self._errors.append(text.strip())
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(message)


def _make_logger(module: Module, take: Callable[[Level, str], None]) -> trt.ILogger:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            take(LEVELS[int(severity)], msg)

    return Logger()


class Steps:
    """Progress of a build as calls: subclass it, or give an object with these methods."""

    def start(self, phase: str, parent: str, steps: int) -> None:
        """A phase begins; ``parent`` is empty for the outermost one."""

    def step(self, phase: str, step: int) -> bool:
        """A step of a phase is done; False cancels the build."""
        return True

    def finish(self, phase: str) -> None:
        """A phase ended, cancelled or not."""


@dataclass
class Monitor:
    """TensorRT's progress monitor around :class:`Steps`.

    Attributes:
        handle: what ``config.progress_monitor`` is set to.
        error: what the steps raised; the build was cancelled over it.
    """

    handle: trt.IProgressMonitor
    error: BaseException | None = None

    def check(self) -> None:
        """Raise what the steps raised, e.g. a KeyboardInterrupt. Call it after the build."""
        error, self.error = self.error, None
        if error is not None:
            raise error


def make_monitor(module: Module, steps: Steps) -> Monitor:
    """A progress monitor. Keep it while the build runs: TensorRT does not."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module

    class Progress(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            _guarded(steps.start, phase_name, parent_phase or "", num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            going = _guarded(steps.step, phase_name, step)
            return monitor.error is None and bool(going)

        def phase_finish(self, phase_name: str) -> None:
            _guarded(steps.finish, phase_name)

    def _guarded(function: Callable[..., Any], *arguments: object) -> Any:
        # An exception that leaves a callback ends the process in some versions.
        if monitor.error is not None:
            return False
        try:
            return function(*arguments)
        except BaseException as error:
            monitor.error = error
            return False

    monitor = Monitor(Progress())
    return monitor


def make_profiler(module: Module, heard: Callable[[str, float], None]) -> trt.IProfiler:
    """A profiler that calls ``heard(layer, milliseconds)``. Keep it while the context has it."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module

    class Times(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            heard(layer_name, ms)

    return Times()
