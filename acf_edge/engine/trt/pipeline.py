"""Frames through one engine: uploads, work and downloads on streams of their own.

    upload     | frame 1 | frame 2 |         |
    compute              | frame 1 | frame 2 |
    download                       | frame 1 | frame 2

Every slot carries one frame. While one frame is computed, the next one is uploaded and the one
before is downloaded. Where CPU and GPU share their memory nothing is copied at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from acf_edge.cuda.driver import CudaError, Device, Stream
from acf_edge.cuda.memory import DeviceBuffer, copy_in, copy_out, fill
from acf_edge.engine.trt.buffers import Closes, SharedSlot, Slot
from acf_edge.engine.trt.contexts import Binding, BindingCache, Queue
from acf_edge.engine.trt.engine_file import CHANNELS, LoadedEngine
from acf_edge.engine.trt.profiles import choose_profile
from acf_edge.errors import AcfError

if TYPE_CHECKING:
    import tensorrt as trt

SIZES: Final = 4
"""Sizes whose contexts and graphs are kept."""

_SAMPLES: Final = 1 << 16

_C = TypeVar("_C", bound=Closes)


@dataclass(frozen=True)
class Job:
    """What is done with a frame.

    Attributes:
        width, height: of the picture that goes in.
        in_bytes, out_bytes: of the frame as it comes and as it goes.
        converted: it comes and goes as something else than RGB.
    """

    width: int
    height: int
    in_bytes: int
    out_bytes: int
    converted: Conversion | None = None

    @staticmethod
    def rgb(width: int, height: int, scale: int) -> Job:
        """A picture of RGB, ``(H, W, 3)`` uint8."""
        size = width * height * CHANNELS
        return Job(width, height, size, size * scale**2)


@dataclass(frozen=True)
class Conversion:
    """Kernels around an engine.

    Attributes:
        key: tells it from others.
        before: ``(from, to, stream)``: queue what makes RGB of the frame.
        after: ``(from, to, stream)``: queue what makes a frame of the enhanced RGB.
    """

    key: object
    before: Callable[[int, int, Stream], None]
    after: Callable[[int, int, Stream], None]

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversion) and self.key == other.key


class Pipeline:
    """One engine on one GPU. To be used by one thread at a time; :meth:`finish` by any.

    Args:
        device: open.
        engine: deserialized.
        slots: frames that may be under way at once.
        shared: memory for the frames of each slot, in and out; None = our own.
        mapped: the GPU reads and writes the host's memory itself; None = where it is the same.
        graphs: replay frames as CUDA graphs.
        sizes: see :data:`SIZES`.
        spin: waiting burns a core and wakes sooner.
        profiler: TensorRT's profiler for all contexts; it wants no graphs.

    Attributes:
        notes: what is not as it could be, in words.

    Raises:
        InputError: not enough memory.
    """

    def __init__(
        self,
        device: Device,
        engine: LoadedEngine,
        *,
        slots: int = 2,
        shared: Sequence[SharedSlot] | None = None,
        mapped: bool | None = None,
        graphs: bool = True,
        sizes: int = SIZES,
        spin: bool = False,
        profiler: trt.IProfiler | None = None,
    ) -> None:
        self.device, self.engine = device, engine
        self._profiler = profiler
        self.notes: list[str] = []
        self._mapped = device.integrated if mapped is None else mapped
        self._graphs = graphs and profiler is None
        self._broken: CudaError | None = None
        self._closed = False
        device.make_current()
        self._held: list[Closes] = []
        try:
            self.upload, self.compute, self.download = (
                self._keep(Stream()),
                self._keep(Stream()),
                self._keep(Stream()),
            )
            # The engine's working memory: one for all contexts, which run one after the other.
            self.scratch = self._keep(DeviceBuffer(max(1, engine.memory))).pointer
            self.slots = [
                self._keep(
                    Slot(
                        index,
                        engine.in_size,
                        engine.out_size,
                        mapped=self._mapped,
                        shared=None if shared is None else shared[index],
                        spin=spin,
                    )
                )
                for index in range(slots)
            ]
        except BaseException:
            self._give_back()
            raise
        if any(slot.aside is not None for slot in self.slots):
            self._note("this system cannot pin shared memory: every frame is copied once more")
        self._bindings = BindingCache(sizes)

    def _keep(self, thing: _C) -> _C:
        self._held.append(thing)
        return thing

    def start(self, index: int, job: Job) -> None:
        """Queue the frame that lies in a slot's ``host_in``; returns at once.

        The second frame of a size takes a few times as long: its graph is made and tried.

        Args:
            index: of the slot, which is not busy.
            job: what is done.

        Raises:
            InputError: the engine has no such size, or too little memory.
            CudaError: the GPU failed; with ``sticky``, for good.
            AcfError: TensorRT refused.
        """
        self._check()
        slot = self.slots[index]
        if slot.busy:
            raise ValueError(f"slot {index} still has a frame under way")
        choose_profile(self.engine.profiles, job.width, job.height)
        self.device.make_current()
        if slot.aside is not None:
            slot.host_in.array[: job.in_bytes] = slot.aside[0][: job.in_bytes]
        with self.watched():
            try:
                binding = self._bindings.get(
                    job, index, lambda: self._binding(slot, job), self.compute.synchronize
                )
                if not self._mapped:
                    copy_in(slot.device_in, slot.host_in, job.in_bytes, self.upload)
                    slot.uploaded.record(self.upload)
                    self.compute.wait(slot.uploaded)
                if self._graphs and binding.runs == 1 and not binding.plain:
                    self._try_graph(binding, slot, job)
                else:
                    binding.queue(self.compute)
                    self._hand_out(slot, job)
            except BaseException:
                # Whatever was queued may still read or write the slot.
                with contextlib.suppress(AcfError):
                    self.wait_idle()
                raise
        slot.busy, slot.out_bytes = True, job.out_bytes

    def finish(self, index: int) -> None:
        """Wait until a slot's ``host_out`` holds the result; the slot is free then.

        Raises:
            CudaError: the GPU failed; with ``sticky``, for good.
        """
        slot = self.slots[index]
        self._check()
        self.device.make_current()
        try:
            with self.watched():
                slot.done.synchronize()
            if slot.aside is not None:
                slot.aside[1][: slot.out_bytes] = slot.host_out.array[: slot.out_bytes]
        finally:
            slot.busy = False

    def bind_devices(self, width: int, height: int) -> Binding:
        """A context for frames that lie on the GPU already; its ends are set by the caller."""
        self._check()
        choose_profile(self.engine.profiles, width, height)
        self.device.make_current()
        return self._bindings.get(
            ("device", width, height),
            0,
            lambda: Binding(self.engine, (width, height), self.scratch, self.compute),
            self.compute.synchronize,
        )

    def wait_idle(self) -> None:
        """Wait until nothing of this engine runs on the GPU."""
        for stream in (self.upload, self.compute, self.download):
            stream.synchronize()

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        # Of a lost context nothing can be given back, and nothing has to.
        with contextlib.suppress(AcfError):
            self.device.make_current()
            self.wait_idle()
            self._bindings.close()
        self._give_back()

    def _binding(self, slot: Slot, job: Job) -> Binding:
        before: Queue | None = None
        after: Queue | None = None
        picture, enhanced = slot.device_in, slot.device_out
        conversion = job.converted
        if conversion is not None:
            picture, enhanced = slot.staging()
            before = _step(conversion.before, slot.device_in, picture)
            after = _step(conversion.after, enhanced, slot.device_out)
        size = (job.width, job.height)
        binding = Binding(self.engine, size, self.scratch, self.compute, before=before, after=after)
        binding.bind(picture, enhanced)
        if self._profiler is not None:
            binding.context.profiler = self._profiler
        return binding

    def _hand_out(self, slot: Slot, job: Job) -> None:
        if self._mapped:
            slot.done.record(self.compute)
            return
        slot.computed.record(self.compute)
        self.download.wait(slot.computed)
        copy_out(slot.host_out, slot.device_out, job.out_bytes, self.download)
        slot.done.record(self.download)

    def _try_graph(self, binding: Binding, slot: Slot, job: Job) -> None:
        """Run the frame plainly, capture, replay, and keep the graph if it gave the same bytes."""
        result = slot.host_out.array[: job.out_bytes]
        binding.queue_plain(self.compute)
        self._hand_out(slot, job)
        slot.done.synchronize()
        expected = result.copy()
        problem = binding.capture(self.compute)
        if not problem:
            assert binding.graph is not None
            # What is expected (nearly) nowhere: a graph that leaves pixels out is seen.
            some = expected[:: max(1, expected.size // _SAMPLES)]
            spoilt = int(np.bincount(some, minlength=256).argmin())
            fill(slot.device_out, spoilt, job.out_bytes, self.compute)
            binding.queue(self.compute)
            self._hand_out(slot, job)
            slot.done.synchronize()
            if np.array_equal(result, expected):
                return
            problem = "its CUDA graph gives another picture"
            np.copyto(result, expected)
        binding.drop_graph()
        self._note(
            f"{self.engine.name} runs without a CUDA graph at {job.width}x{job.height}: {problem}"
        )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"the engine {self.engine.name} is closed")
        if self._broken is not None:
            raise self._broken

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Remember a lost context, and tell it from what TensorRT merely refused."""
        try:
            yield
        except CudaError as error:
            self._lose(error)
            raise
        except AcfError:
            # TensorRT says that something failed, the driver what that means.
            try:
                self.device.synchronize()
            except CudaError as error:
                self._lose(error)
                raise error from None
            raise

    def _lose(self, error: CudaError) -> None:
        if error.sticky:
            self._broken = error

    def _give_back(self) -> None:
        while self._held:
            with contextlib.suppress(CudaError):
                self._held.pop().close()


def _step(convert: Callable[[int, int, Stream], None], source: int, target: int) -> Queue:
    return lambda stream: convert(source, target, stream)
