"""What stands behind every call of the stand-in GPU: handles, faults, contexts, captures."""

from __future__ import annotations

import functools
import itertools
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import fake_cuda_queue as queueing
import numpy as np
from fake_cuda_memory import BadAddress, Memory
from fake_cuda_queue import FakeStream, Queue, Step, Work
from fake_cuda_words import (
    CUdevice_attribute,
    CUfunction_attribute,
    CUresult,
    CUstreamCaptureMode,
)

from acf_edge.cuda.cubin import Cubin, Resources
from acf_edge.cuda.driver import STICKY

MADE_UP = b"a cubin of the stand-in"
_ANYWHERE = {  # what needs no context
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease",
    "cuDeviceTotalMem",
    "cuCtxSetCurrent",
}
# What a thread that captures must not call (unless relaxed): it spoils the capture.
_UNSAFE = {"cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "cuMemFreeHost", "cuModuleLoadData"}

Run = Callable[[Memory, tuple[int, int, int], tuple[int, int, int], list[bytes]], None]
Kind = TypeVar("Kind")


class Misuse(AssertionError):
    """Something that CUDA allows and that is always a mistake, or slow."""


@dataclass(frozen=True)
class FakeKernel:
    """A kernel in NumPy: the sizes of its parameters in bytes, and what it does."""

    parameters: tuple[int, ...]
    run: Run


def values(form: str, arguments: list[bytes]) -> tuple[Any, ...]:
    """Raw parameters as Python values; ``form`` has a letter of ``struct`` for each."""
    return tuple(
        struct.unpack(f"<{letter.replace('P', 'Q')}", argument)[0]
        for letter, argument in zip(form, arguments, strict=True)
    )


@dataclass(frozen=True)
class Module:
    kernels: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Function:
    name: str
    parameters: tuple[int, ...]
    shared: list[int] = field(default_factory=lambda: [48 * 1024])  # what a launch may ask for
    loaded: list[bool] = field(default_factory=lambda: [False])  # as a lazy driver leaves it


class Refused(Exception):
    """CUDA's word for what is wrong with a call."""


class Base:
    """One computer with GPUs of one kind: what stands behind every call.

    Args:
        order: when queued work runs, see :class:`fake_cuda_queue.Queue`.
        seed: of everything that is left to chance.
        sm, integrated, memory, driver, devices: what the GPU says of itself
            (memory in bytes, driver as CUDA counts: 12060).
        name: of the GPU.
    """

    CUresult = CUresult
    CUstreamCaptureMode = CUstreamCaptureMode
    CUdevice_attribute = CUdevice_attribute
    CUfunction_attribute = CUfunction_attribute

    def __init__(
        self,
        order: str = "lazy",
        seed: int = 0,
        *,
        sm: str = "87",
        integrated: bool = False,
        memory: int = 1 << 30,
        driver: int = 13000,
        devices: int = 1,
        name: str = "Stand-in",
    ) -> None:
        rng = np.random.default_rng(seed)
        self.sm, self.integrated, self.driver = sm, integrated, driver
        self.devices, self.name = devices, name
        self.memory = Memory(memory, rng)
        self.queue = Queue(self.memory, order, rng)
        self.kernels: dict[str, FakeKernel] = {}
        self.calls: list[str] = []
        self.lost: str | None = None
        self._lock = threading.RLock()
        self._thread = threading.local()
        self._ready = False
        self._legacy = FakeStream(blocking=True)
        self._things: dict[int, object] = {1: self._legacy, 2: FakeStream(blocking=True)}
        self._numbers = itertools.count(0x5000, 16)
        self._faults: list[list[Any]] = []

    # What a test says to it.

    def cubin(self) -> Cubin:
        """A cubin, in name only, of the kernels that were given."""
        kernels = {
            name: Resources(32, 0, 0, 0, 0, kernel.parameters)
            for name, kernel in self.kernels.items()
        }
        return Cubin(self.sm, MADE_UP, kernels, "stand-in")

    def fail(self, call: str, name: str, after: int = 0) -> None:
        """Let one ``call`` report ``name`` and do nothing, after ``after`` that go well."""
        self._faults.append([call, name, after])

    def lose_context(self, name: str = "CUDA_ERROR_ILLEGAL_ADDRESS") -> None:
        """Every later call reports ``name``; what was queued never runs."""
        self.lost = name
        self.queue.pending.clear()

    def enqueue(self, stream: int, work: Work, label: str = "work") -> None:
        """Queue ``work(memory)`` on the stream of this handle, or capture it."""
        with self._lock:
            self._add(self._stream(stream), label, work)

    def leaks(self) -> dict[str, int]:
        """What was made and not given back: kind -> number (kinds of none are left out)."""
        found: dict[str, int] = {}
        for number, thing in self._things.items():
            if number > 2 and not isinstance(thing, Function):
                kind = type(thing).__name__.replace("Fake", "").lower().strip("_")
                found[kind] = found.get(kind, 0) + 1
        if self.memory.leaks():
            found["memory"] = self.memory.leaks()
        return found

    # What stands behind every call.

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name.startswith("cu") and name[2:3].isupper():
            return functools.partial(self._call, name, found)
        return found

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
        with self._lock:
            self.calls.append(name)
            try:
                self._refuse(name)
                result = function(*arguments)
                self.queue.breathe()
            except Refused as refused:
                return CUresult[str(refused)], None
            except BadAddress:
                self.lose_context()
                return CUresult["CUDA_ERROR_ILLEGAL_ADDRESS"], None
            if result is None:
                return (CUresult.CUDA_SUCCESS,)
            return CUresult.CUDA_SUCCESS, *(result if isinstance(result, tuple) else (result,))

    def _refuse(self, name: str) -> None:
        if not self._ready and name not in ("cuInit", "cuDriverGetVersion"):
            raise Refused("CUDA_ERROR_NOT_INITIALIZED")
        if self.lost and name not in ("cuInit", "cuDriverGetVersion"):
            raise Refused(self.lost)
        for fault in self._faults:
            if fault[0] == name:
                fault[2] -= 1
                if fault[2] < 0:
                    self._faults.remove(fault)
                    if fault[1] in STICKY:
                        self.lose_context(fault[1])
                    raise Refused(fault[1])
        if name not in _ANYWHERE and not getattr(self._thread, "context", 0):
            raise Refused("CUDA_ERROR_INVALID_CONTEXT")
        if name in _UNSAFE and getattr(self._thread, "mode", 0) != 2:
            self._spoil(lambda capture: capture.mode != 2)

    def _spoil(self, touched: Callable[[queueing.Capture], bool]) -> None:
        """Refuse, and spoil the captures that an unsafe call of this thread touches."""
        me = threading.get_ident()
        spoiled = [
            capture
            for capture in self._captures()
            if touched(capture) and (capture.mode == 0 or capture.thread == me)
        ]
        for capture in spoiled:
            capture.invalid = True
        if spoiled:
            raise Refused("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    def _captures(self) -> list[queueing.Capture]:
        streams = (thing for thing in self._things.values() if isinstance(thing, FakeStream))
        return list({id(s.capture): s.capture for s in streams if s.capture}.values())

    def _new(self, thing: object) -> int:
        number = next(self._numbers)
        self._things[number] = thing
        return number

    def _get(self, handle: Any, kind: type[Kind]) -> Kind:
        thing = self._things.get(int(handle))
        if not isinstance(thing, kind):
            raise Refused("CUDA_ERROR_INVALID_HANDLE")
        return thing

    def _stream(self, handle: Any) -> FakeStream:
        return self._legacy if int(handle) == 0 else self._get(handle, FakeStream)

    def _add(self, stream: FakeStream, label: str, work: Work | None) -> Step | None:
        if stream.capture is not None:
            if stream.capture.invalid:
                raise Refused("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
            queueing.add_node(stream, label, work)
            return None
        stream.last = self.queue.add(label, work, self._before(stream))
        return stream.last

    def _before(self, stream: FakeStream) -> list[Step | None]:
        """What the next step of a stream has to wait for."""
        if stream is self._legacy:
            if any(capture.origin.blocking for capture in self._captures()):
                raise Refused("CUDA_ERROR_STREAM_CAPTURE_IMPLICIT")
            others = [one for one in self._things.values() if isinstance(one, FakeStream)]
            return [one.last for one in others if one.blocking]
        return [stream.last, self._legacy.last if stream.blocking else None]

    def _pinned(self, address: int, size: int) -> None:
        if self.memory.pinned(int(address), size) is None:
            raise Misuse("an asynchronous copy from or to host memory that is not pinned")

    def _not_captured(self, stream: FakeStream) -> None:
        if stream.capture is not None:
            stream.capture.invalid = True
            raise Refused("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
