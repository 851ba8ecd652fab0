"""What TensorRT says while it compiles: progress, messages, and what went wrong."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from acf_edge.engine.trt.api import OUR_OPERATORS
from acf_edge.engine.trt.layers import TABLE_WORDS
from acf_edge.engine.trt.log import Message, Steps
from acf_edge.errors import AcfError, InputError

_KEPT_MESSAGES: Final = 200
_WINDOW: Final = 20.0
"""Seconds of the past that the time left is guessed from."""
_SAMPLE: Final = 0.25
_FALLBACK: Final = ("device type to GPU", "falling back to GPU", "Switching to GPU fallback")


@dataclass(frozen=True)
class Progress:
    """How far a compilation is.

    Attributes:
        phase: what TensorRT is doing, in its words.
        done: 0 to 1; never falls. Steps are not equally long.
        eta: seconds that are left, a guess; None while there is too little to guess from.
    """

    phase: str
    done: float
    eta: float | None


class CompileCancelled(AcfError):
    """The compilation was stopped because it was asked to stop."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("The compilation was stopped.")


@dataclass
class _Phase:
    parent: str
    steps: int
    done: int = 0


class Meter:
    """Nested phases as one fraction and a guess of the time left.

    The names and the numbers of steps are TensorRT's; a phase counts within the step of its
    parent that is under way.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[str, _Phase] = {}
        self._done = 0.0
        self._samples: deque[tuple[float, float]] = deque([(clock(), 0.0)])

    def start(self, phase: str, parent: str, steps: int) -> None:
        """A phase begins; ``parent`` is empty for the outermost one."""
        self._phases[phase] = _Phase(parent, max(1, steps))

    def step(self, phase: str, step: int) -> None:
        """Step ``step`` (from 0) of a phase is done."""
        found = self._phases.get(phase)
        if found is not None:
            found.done = min(found.steps, max(found.done, step + 1))

    def finish(self, phase: str) -> None:
        """A phase is over."""
        found = self._phases.pop(phase, None)
        if found is not None and not found.parent:
            self._done = 1.0

    def read(self, phase: str) -> Progress:
        """How far all is; ``phase`` is what was heard of last."""
        tops = [name for name, one in self._phases.items() if one.parent not in self._phases]
        if tops:
            # Several phases without a parent follow each other; the newest is under way.
            self._done = max(self._done, min(1.0, self._fraction(tops[-1], frozenset())))
        return Progress(phase, self._done, self._eta())

    def _fraction(self, name: str, above: frozenset[str]) -> float:
        phase = self._phases[name]
        above |= {name}
        inner = [
            self._fraction(child, above)
            for child, one in self._phases.items()
            if one.parent == name and child not in above
        ]
        return min(1.0, (phase.done + min(1.0, max(inner, default=0.0))) / phase.steps)

    def _eta(self) -> float | None:
        """From the speed of late: phases differ by orders of magnitude in how long a step is."""
        now = self._clock()
        if now - self._samples[-1][0] >= _SAMPLE:
            self._samples.append((now, self._done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()
        begin, before = self._samples[0]
        if self._done <= before or now - begin < 4 * _SAMPLE:
            return None
        return (1.0 - self._done) * (now - begin) / (self._done - before)


@dataclass
class Record:
    """What is kept of a compilation's messages.

    Attributes:
        warnings, errors: the first and the last of each, one line each.
        table: messages that hold lines of a layer table.
        fallbacks: layers that the deep-learning accelerator did not take.
        cancelled: the compilation was asked to stop.
    """

    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    table: list[str] = field(default_factory=list)
    fallbacks: int = 0
    cancelled: bool = False

    def hear(self, message: Message) -> None:
        """Take one message in. Everything else, most of a verbose log, is let go."""
        if message.is_error:
            _keep(self.errors, message.text)
        elif message.level == "warning":
            _keep(self.warnings, message.text)
            self.fallbacks += any(words in message.text for words in _FALLBACK)
        elif any(words in message.text for words in TABLE_WORDS):
            self.table.append(message.text)

    def log(self) -> tuple[str, ...]:
        """Warnings, then errors."""
        return (*self.warnings, *self.errors)


def _keep(lines: list[str], text: str) -> None:
    line = " ".join(text.split())
    if not line or (lines and lines[-1] == line):
        return
    if len(lines) >= _KEPT_MESSAGES:
        # What came first explains, what came last decides: let go of the middle.
        del lines[_KEPT_MESSAGES // 2]
    lines.append(line)


class Watch(Steps):
    """Tells how far a compilation is, and stops it where it is asked to.

    Args:
        record: gets ``cancelled``.
        on_progress: None = nobody asks.
        cancel: True stops the compilation.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        record: Record,
        on_progress: Callable[[Progress], None] | None,
        cancel: Callable[[], bool] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._on_progress = on_progress
        self._cancel = cancel
        self._meter = Meter(clock)
        # Phases of several threads may report at once; a callback may come back in here.
        self._lock = threading.RLock()

    def start(self, phase: str, parent: str, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._meter.start(phase, parent, steps)
            self._tell(phase)

    def step(self, phase: str, step: int) -> bool:
        """A step is done; False stops the compilation."""
        with self._lock:
            self._meter.step(phase, step)
            self._tell(phase)
            if self._cancel is not None and not self._record.cancelled:
                self._record.cancelled = self._cancel()
            return not self._record.cancelled

    def finish(self, phase: str) -> None:
        """A phase is over."""
        with self._lock:
            self._meter.finish(phase)
            self._tell(phase)

    def _tell(self, phase: str) -> None:
        if self._on_progress is not None:
            self._on_progress(self._meter.read(phase))


_MIB: Final = 1 << 20
_WORKSPACE_WORDS: Final = ("workspace", "Could not find any implementation for node")
_ASKED: Final = re.compile(r"OutOfMemory \(Requested size was (\d+) bytes")
_MEMORY_WORDS: Final = ("out of memory", "OutOfMemory", "could not be allocated", "oom error")
_GPU_WORDS: Final = ("CUDA initialization failure", "no CUDA-capable device")


def explain_failure(record: Record, title: str, workspace: int, size: str) -> AcfError:
    """The error of a build that gave no engine.

    Args:
        record: what was said.
        title: of the library, e.g. ``"TensorRT 10.3.0"``.
        workspace: bytes that were allowed.
        size: the largest picture, e.g. ``"1280x720"``.
    """
    # What a plugin of ours says comes first: TensorRT goes on to find no implementation for it.
    ours = [one for one in record.errors if one.startswith(tuple(f"{n}, " for n in OUR_OPERATORS))]
    if ours:
        return InputError(
            f"{title} could not compile this network, since a plugin failed: {ours[0]}",
            "'acf-edge doctor' tells what plugins need; --no-plugins compiles without them.",
        )
    errors = "\n".join(record.errors)
    asked = [int(number) for number in _ASKED.findall(errors)]
    # TensorRT-RTX calls it "out of memory" where the workspace is what is too small.
    memory = any(words in errors for words in _MEMORY_WORDS) and max(asked, default=0) <= workspace
    if not memory and (asked or any(words in errors for words in _WORKSPACE_WORDS)):
        return InputError(
            f"{title} cannot compile this network within a workspace of {workspace // _MIB} MiB "
            f"for pictures of {size}.",
            "Give a larger --workspace, or a smaller largest --size; "
            "larger pictures are taken in tiles.",
        )
    if memory:
        return InputError(
            f"{title} ran out of memory while it compiled for pictures of {size}.",
            "Close what else uses the GPU, or give a smaller largest --size or --workspace.",
        )
    if any(words in errors for words in _GPU_WORDS):
        return InputError(
            f"{title} lost the GPU while it compiled: {first_error(record)}",
            "See what nvidia-smi says, then run again.",
        )
    if "HW-specific datatypes" in errors:
        return InputError(
            f"{title} cannot compile this precision for that compute capability: "
            f"{first_error(record)}",
            "Take --precision fp16.",
        )
    return InputError(
        f"{title} could not compile this network: {first_error(record)}",
        "Try --no-plugins or --precision fp16; the network's other forms are in the bundle.",
    )


def first_error(record: Record) -> str:
    """The first error that was said, shortened to one line."""
    text = record.errors[0] if record.errors else "it gave no reason"
    return text if len(text) <= 300 else f"{text[:297]}..."
