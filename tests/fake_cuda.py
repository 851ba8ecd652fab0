"""A stand-in of ``cuda.bindings.driver`` whose streams run late and in a hostile order.

What CUDA leaves open is used against the caller: work runs as late as it may,
streams that no event orders run in any order, new memory holds noise, freed
memory is noise again and touching it loses the context. Anything that gives
wrong bytes here may give wrong bytes on a GPU.

    machine = fake_cuda.Machine(order="lazy", seed=0)      # "lazy" | "eager" | "random"
    machine.kernels["twice"] = fake_cuda.FakeKernel((8, 8, 4), run)   # sizes of parameters
    with fake_cuda.installed(machine):                     # cuda.bindings.driver is the machine
        device = open_device()
        kernels = Kernels(device, machine.cubin())         # or a true cubin of these kernels

``run(memory, grid, block, arguments)`` gets the raw bytes of each parameter
(``fake_cuda.values("PPi", arguments)`` unpacks them); ``memory.view(pointer, size)``
is the uint8 array behind a GPU address.

``machine.enqueue(stream_handle, work, label)`` queues ``work(memory)`` on a stream
(what a stand-in of TensorRT does for its engine); it is captured in graphs as well.
``machine.fail(call, name, after=0)`` lets a call fail; a sticky name loses the
context, as does ``machine.lose_context(name)``: every later call fails with it.
``machine.calls`` are the names of the calls, ``machine.queue.ran`` what ran, in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import fake_cuda_queue as queueing
from fake_cuda_base import (
    MADE_UP,
    Base,
    FakeKernel,
    Function,
    Misuse,
    Module,
    Refused,
    values,
)
from fake_cuda_memory import BadAddress, Memory
from fake_cuda_queue import FakeEvent, FakeGraph, FakeStream

from acf_edge.cuda.cubin import BadCubinError, read_kernels

__all__ = [
    "BadAddress",
    "FakeKernel",
    "Machine",
    "Memory",
    "Misuse",
    "install",
    "installed",
    "values",
]

_GRID, _BLOCK = (2**31 - 1, 65535, 65535), (1024, 1024, 64)


class Machine(Base):
    """One computer with GPUs of one kind; takes the place of the module of the bindings."""

    # Devices and contexts.

    def cuInit(self, flags: int) -> None:
        if self.devices == 0:
            raise Refused("CUDA_ERROR_NO_DEVICE")
        self._ready = True

    def cuDriverGetVersion(self) -> int:
        return self.driver

    def cuDeviceGetCount(self) -> int:
        return self.devices

    def cuDeviceGet(self, ordinal: int) -> int:
        if not 0 <= ordinal < self.devices:
            raise Refused("CUDA_ERROR_INVALID_DEVICE")
        return ordinal

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        return {18: int(self.integrated), 75: int(self.sm[:-1]), 76: int(self.sm[-1])}[attribute]

    def cuDeviceGetName(self, length: int, device: int) -> bytes:
        return self.name.encode().ljust(length, b"\0")

    def cuDeviceTotalMem(self, device: int) -> int:
        return self.memory.total

    def cuDevicePrimaryCtxRetain(self, device: int) -> int:
        return 0xC000 + int(device)

    def cuDevicePrimaryCtxRelease(self, device: int) -> None:
        return None

    def cuCtxSetCurrent(self, context: int) -> None:
        self._thread.context = int(context)

    def cuCtxSynchronize(self) -> None:
        self._spoil(lambda capture: True)
        self.queue.finish(self.queue.pending)

    def cuMemGetInfo(self) -> tuple[int, int]:
        return self.memory.total - self.memory.used, self.memory.total

    # Memory. Freeing waits for nothing: CUDA does not promise that it does.

    def cuMemAlloc(self, size: int) -> int:
        pointer = self.memory.allocate(size) if size > 0 else None
        if pointer is None:
            raise Refused("CUDA_ERROR_OUT_OF_MEMORY" if size > 0 else "CUDA_ERROR_INVALID_VALUE")
        return pointer

    def cuMemFree(self, pointer: int) -> None:
        if not self.memory.free(int(pointer)):
            raise Refused("CUDA_ERROR_INVALID_VALUE")

    def cuMemHostAlloc(self, size: int, flags: int) -> int:
        if size < 1 or flags & ~7:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        address = self.memory.pin(size)
        if flags & 2:
            self.memory.map(address)
        return address

    def cuMemHostGetDevicePointer(self, address: int, flags: int) -> int:
        pointer = self.memory.mapped(int(address))
        if pointer is None:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        return pointer

    def cuMemFreeHost(self, address: int) -> None:
        if not self.memory.unpin(int(address)):
            raise Refused("CUDA_ERROR_INVALID_VALUE")

    def cuMemcpyHtoDAsync(self, dst: int, src: int, size: int, stream: int) -> None:
        self._pinned(src, size)

        def copy(memory: Memory) -> None:
            memory.view(int(dst), size)[:] = memory.host(int(src), size)

        self._add(self._stream(stream), "copy in", copy)

    def cuMemcpyDtoHAsync(self, dst: int, src: int, size: int, stream: int) -> None:
        self._pinned(dst, size)

        def copy(memory: Memory) -> None:
            memory.host(int(dst), size)[:] = memory.view(int(src), size)

        self._add(self._stream(stream), "copy out", copy)

    def cuMemcpyDtoDAsync(self, dst: int, src: int, size: int, stream: int) -> None:
        if int(dst) < int(src) + size and int(src) < int(dst) + size:
            raise Misuse("a copy between places that overlap")

        def copy(memory: Memory) -> None:
            memory.view(int(dst), size)[:] = memory.view(int(src), size)

        self._add(self._stream(stream), "copy", copy)

    def cuMemsetD8Async(self, dst: int, value: int, size: int, stream: int) -> None:
        def fill(memory: Memory) -> None:
            memory.view(int(dst), size)[:] = value

        self._add(self._stream(stream), "fill", fill)

    # Streams and events.

    def cuStreamCreateWithPriority(self, flags: int, priority: int) -> int:
        return self._new(FakeStream(blocking=not flags & 1))

    def cuStreamDestroy(self, handle: int) -> None:
        stream = self._get(handle, FakeStream)
        self._not_captured(stream)
        del self._things[int(handle)]  # what was queued runs all the same

    def cuStreamSynchronize(self, handle: int) -> None:
        stream = self._stream(handle)
        self._not_captured(stream)
        self.queue.finish(self._before(stream))

    def cuStreamQuery(self, handle: int) -> None:
        stream = self._stream(handle)
        self._not_captured(stream)
        self._poll(self._before(stream))

    def cuStreamWaitEvent(self, handle: int, event_handle: int, flags: int) -> None:
        stream, event = self._stream(handle), self._get(event_handle, FakeEvent)
        if stream.capture is not None or event.captured is not None:
            word = queueing.join(stream, event)
            if word != "CUDA_SUCCESS":
                for capture in (stream.capture, event.captured and event.captured[0]):
                    if capture:
                        capture.invalid = True
                raise Refused(word)
        elif event.mark is not None:
            stream.last = self.queue.add("", None, [*self._before(stream), event.mark])

    def cuEventCreate(self, flags: int) -> int:
        return self._new(FakeEvent(timing=not flags & 2))

    def cuEventDestroy(self, handle: int) -> None:
        self._get(handle, FakeEvent)
        del self._things[int(handle)]

    def cuEventRecord(self, handle: int, stream_handle: int) -> None:
        event, stream = self._get(handle, FakeEvent), self._stream(stream_handle)
        capture = stream.capture
        if capture is not None:
            if capture.invalid:
                raise Refused("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
            event.mark, event.captured = None, (capture, capture.tips[stream])
        else:
            event.mark, event.captured = self._add(stream, "", None), None

    def cuEventQuery(self, handle: int) -> None:
        self._poll([self._mark(self._get(handle, FakeEvent))])

    def cuEventSynchronize(self, handle: int) -> None:
        self.queue.finish([self._mark(self._get(handle, FakeEvent))])

    def cuEventElapsedTime(self, start: int, end: int) -> float:
        events = self._get(start, FakeEvent), self._get(end, FakeEvent)
        first, last = (self._mark(event) for event in events)
        if first is None or last is None or not all(event.timing for event in events):
            raise Refused("CUDA_ERROR_INVALID_HANDLE")
        if not (first.done and last.done):
            raise Refused("CUDA_ERROR_NOT_READY")
        return last.finished_at - first.finished_at

    # Kernels.

    def cuModuleLoadData(self, image: bytes) -> int:
        if image == MADE_UP:
            known = {name: kernel.parameters for name, kernel in self.kernels.items()}
            return self._new(Module(known))
        try:
            read = read_kernels(image)
        except BadCubinError:
            raise Refused("CUDA_ERROR_INVALID_IMAGE") from None
        flags = int.from_bytes(image[48:52], "little")
        # Where CUDA 13 keeps the SM, and where CUDA 12 does.
        if str((flags >> 8 if image[8] >= 8 else flags) & 0xFF) != self.sm:
            raise Refused("CUDA_ERROR_NO_BINARY_FOR_GPU")
        return self._new(Module({name: cost.parameters for name, cost in read.items()}))

    def cuModuleUnload(self, handle: int) -> None:
        self._get(handle, Module)
        del self._things[int(handle)]

    def cuModuleGetFunction(self, handle: int, name: bytes) -> int:
        module = self._get(handle, Module)
        if name.decode() not in module.kernels:
            raise Refused("CUDA_ERROR_NOT_FOUND")
        return self._new(Function(name.decode(), module.kernels[name.decode()]))

    def cuFuncGetAttribute(self, attribute: int, handle: int) -> int:
        if attribute != 0:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        self._get(handle, Function).loaded[0] = True
        return 1024

    def cuFuncSetAttribute(self, handle: int, attribute: int, value: int) -> None:
        function = self._get(handle, Function)
        if attribute != 8 or value > 227 * 1024:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        function.shared[0] = value

    def cuLaunchKernel(self, handle: int, *shape: int) -> None:
        *sizes, shared, stream_handle, addresses, _ = shape
        function = self._get(handle, Function)
        grid = (sizes[0], sizes[1], sizes[2])
        block = (sizes[3], sizes[4], sizes[5])
        fits = all(0 < n <= most for n, most in zip(sizes, _GRID + _BLOCK, strict=True))
        if not fits or block[0] * block[1] * block[2] > 1024 or shared > function.shared[0]:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        if not function.loaded[0] and self._stream(stream_handle).capture is not None:
            raise Refused("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        kernel = self.kernels.get(function.name)
        if kernel is None:
            raise Misuse(f"the stand-in was given no kernel '{function.name}'")
        if kernel.parameters != function.parameters:
            raise Misuse(f"'{function.name}' takes {function.parameters}, not {kernel.parameters}")
        # As the driver does: read now, so that the caller may forget them.
        arguments = [
            ctypes.string_at(ctypes.c_void_p.from_address(addresses + 8 * position).value or 0, n)
            for position, n in enumerate(function.parameters)
        ]

        def run(memory: Memory) -> None:
            kernel.run(memory, grid, block, arguments)

        self._add(self._stream(stream_handle), function.name, run)

    # Graphs.

    def cuStreamBeginCapture(self, handle: int, mode: int) -> None:
        stream = self._stream(handle)
        if stream is self._legacy:
            raise Refused("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        if stream.capture is not None:
            raise Refused("CUDA_ERROR_ILLEGAL_STATE")
        if not isinstance(mode, self.CUstreamCaptureMode):
            raise TypeError("the bindings take the enumeration alone")
        queueing.begin(stream, int(mode))

    def cuThreadExchangeStreamCaptureMode(self, mode: int) -> int:
        if not isinstance(mode, self.CUstreamCaptureMode):
            raise TypeError("the bindings take the enumeration alone")
        before = getattr(self._thread, "mode", self.CUstreamCaptureMode(0))
        self._thread.mode = mode
        return before

    def cuStreamEndCapture(self, handle: int) -> int:
        word, graph = queueing.end(self._stream(handle))
        if graph is None:
            raise Refused(word)
        return self._new(graph)

    def cuStreamIsCapturing(self, handle: int) -> int:
        capture = self._stream(handle).capture
        return 0 if capture is None else 2 if capture.invalid else 1

    def cuGraphGetNodes(self, handle: int, count: int) -> tuple[list[int], int]:
        return [], len(self._get(handle, FakeGraph).nodes)

    def cuGraphInstantiate(self, handle: int, flags: int) -> int:
        return self._new(FakeGraph(list(self._get(handle, FakeGraph).nodes), ready=True))

    def cuGraphLaunch(self, handle: int, stream_handle: int) -> None:
        graph, stream = self._get(handle, FakeGraph), self._stream(stream_handle)
        if not graph.ready:
            raise Refused("CUDA_ERROR_INVALID_HANDLE")
        if stream.capture is not None:
            raise Misuse("a graph inside a graph: the stand-in does not go there")
        stream.last = self.queue.launch(graph, self._before(stream))

    def cuGraphDestroy(self, handle: int) -> None:
        self._get(handle, FakeGraph)
        del self._things[int(handle)]

    def cuGraphExecDestroy(self, handle: int) -> None:
        self._get(handle, FakeGraph)
        del self._things[int(handle)]

    # What several calls share.

    def _poll(self, steps: list[Any]) -> None:
        if any(step is not None and not step.done for step in steps):
            self.queue.step_towards(steps)
            raise Refused("CUDA_ERROR_NOT_READY")

    def _mark(self, event: FakeEvent) -> queueing.Step | None:
        if event.captured is not None:
            event.captured[0].invalid = True
            raise Refused("CUDA_ERROR_CAPTURED_EVENT")
        return event.mark


def install(machine: Machine) -> None:
    """Put ``machine`` in the place of ``cuda.bindings.driver`` for good (in a child process)."""
    sys.modules["cuda.bindings.driver"] = machine  # type: ignore[assignment]


@contextlib.contextmanager
def installed(machine: Machine) -> Iterator[Machine]:
    """Put ``machine`` in the place of ``cuda.bindings.driver`` for the block."""
    before = sys.modules.get("cuda.bindings.driver")
    install(machine)
    try:
        yield machine
    finally:
        if before is None:
            del sys.modules["cuda.bindings.driver"]
        else:
            sys.modules["cuda.bindings.driver"] = before
