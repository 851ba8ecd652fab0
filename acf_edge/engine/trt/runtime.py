"""TensorRT and TensorRT-RTX as engines.

:func:`load_trt` gives an engine that runs in a process of its own: after an error that CUDA
calls sticky, a process can do nothing more on the GPU, and only a new one gets on.
:class:`TrtEngine` runs here: for frames that lie on the GPU already, for several engines in one
process, for the profiler.
"""

from __future__ import annotations

import shlex
import threading
import time

from acf_edge.cuda.array import DeviceArray
from acf_edge.cuda.driver import Device, Stream
from acf_edge.engine.bundle import PLAN_FILE, Bundle
from acf_edge.engine.frames import checked_frame
from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.engine.trt.device_frames import DeviceFrames
from acf_edge.engine.trt.engine_file import CHANNELS
from acf_edge.engine.trt.nv12 import Nv12, checked_nv12, nv12_job, nv12_shape
from acf_edge.engine.trt.opening import Options, open_plan
from acf_edge.engine.trt.pipeline import Job
from acf_edge.engine.trt.profiles import choose_profile
from acf_edge.engine.trt.ticket import Ticket
from acf_edge.engine.trt.worker_engine import WorkerEngine, can_work_apart
from acf_edge.errors import InputError

__all__ = ["TrtEngine", "load_trt", "open_trt"]


def load_trt(
    bundle: Bundle, threads: int | None = None, profile: bool = False, spin: bool = True
) -> Engine:
    """The engine of a bundle whose backend is ``tensorrt`` or ``tensorrt_rtx``.

    Args:
        bundle: opened.
        threads: of no use here; the GPU computes.
        profile: record every layer; the engine then runs in this process and has
            :meth:`TrtEngine.end_profiling`.
        spin: burn a core while a frame is waited for, and wake a little sooner.

    Returns:
        A :class:`~acf_edge.engine.trt.worker_engine.WorkerEngine` where the system has what it
        needs (Linux), else a :class:`TrtEngine`.

    Raises:
        InputError: no GPU, no TensorRT, a bundle for another GPU or another TensorRT.
    """
    if profile or not can_work_apart():
        return open_trt(bundle, Options(spin=spin), profile=profile)
    return WorkerEngine(_read_plan(bundle), bundle.passport, bundle.path, Options(spin=spin))


def open_trt(bundle: Bundle, options: Options | None = None, *, profile: bool = False) -> TrtEngine:
    """The same engine in this process; arguments and errors as :func:`load_trt`."""
    return TrtEngine(bundle, options or Options(), profile=profile)


def _read_plan(bundle: Bundle) -> bytes:
    if PLAN_FILE not in bundle.passport.files:
        folder = shlex.quote(str(bundle.path))
        raise InputError(
            f"'{bundle.path}' is not compiled yet: TensorRT makes the engine on the board itself.",
            f"There, run: acf-edge build {folder} -o {folder} --target auto (or add "
            f"--rebuild auto).",
        )
    return bundle.read(PLAN_FILE)


class TrtEngine:
    """An engine of TensorRT or TensorRT-RTX, uint8 in and out, in this process.

    :meth:`run` is :meth:`submit` and ``Ticket.result``; whoever submits the next frame before
    asking for the last one has both copied and computed at once. All methods may be called from
    several threads.

    Args:
        bundle: opened.
        options: how it runs.
        profile: record every layer: one frame at a time, no CUDA graphs.

    Raises:
        InputError: no GPU, no TensorRT, a bundle for another GPU or another TensorRT, too little
            memory.
        CudaError: the GPU failed.
    """

    def __init__(self, bundle: Bundle, options: Options, *, profile: bool = False) -> None:
        self._passport = bundle.passport
        self._open = open_plan(
            _read_plan(bundle), bundle.passport, str(bundle.path), options, profiled=profile
        )
        self._pipeline = self._open.pipeline
        self._frames = DeviceFrames(self._pipeline)
        self._lock = threading.RLock()
        self._tickets: list[Ticket | None] = [None] * options.slots
        self._next = 0
        self._closed = False

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        return self._passport.name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._passport.scale

    @property
    def device(self) -> Device:
        """The GPU."""
        return self._open.device

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as it could be, in words."""
        return tuple(self._pipeline.notes)

    def submit(self, frame: Uint8Image) -> Ticket:
        """Queue one picture; returns as soon as it is copied.

        As many pictures as there are slots can be under way; with one more, this waits for the
        oldest, whose ticket keeps the result.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, of a size that the engine was built for.

        Raises:
            TypeError: not an array of uint8.
            InputError: another shape, a size that the engine was not built for, too little memory.
            CudaError: the GPU failed; if ``sticky``, this process can do nothing more on it.
            ValueError: the engine is closed.
        """
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        with self._lock:
            self._check()
            job = Job.rgb(width, height, self.scale)
            return self._submit(frame, job, (height * self.scale, width * self.scale, CHANNELS))

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one picture.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, of a size that the engine was built for.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB, owned by the caller.

        Raises:
            TypeError, InputError, CudaError, ValueError: as :meth:`submit`.
        """
        return self.submit(frame).result()

    def submit_nv12(self, frame: Uint8Image, form: Nv12) -> Ticket:
        """As :meth:`submit`, NV12 in and out: half the bytes, converted on the GPU.

        Args:
            frame: uint8, the rows of Y and below them the rows of Cb Cr, without gaps:
                ``(H + ceil(H / 2), W)``, one more column if W is odd.
            form: size and coding of what comes and goes.

        Returns:
            A ticket of the enhanced frame, in the same form.

        Raises:
            TypeError, InputError, CudaError, ValueError: as :meth:`submit`.
        """
        frame = checked_nv12(frame, form)
        with self._lock:
            self._check()
            job = nv12_job(form, self.scale, self._open.kernels())
            shape = nv12_shape(form.width * self.scale, form.height * self.scale)
            return self._submit(frame, job, shape)

    def run_device(
        self, picture: object, out: object = None, stream: Stream | int | None = None
    ) -> DeviceArray:
        """Enhance a picture that lies on the GPU; nothing is copied to the host.

        Example:
            >>> large = torch.from_dlpack(engine.run_device(small.cuda()))  # doctest: +SKIP

        Args:
            picture: uint8 ``(H, W, 3)`` or ``(1, H, W, 3)``, C-contiguous, with
                ``__cuda_array_interface__`` or ``__dlpack__``.
            out: such an array of the enhanced size to write to; None = a new one.
            stream: the stream that the caller's own work runs on: the picture is read after what
                is queued there, and what is queued there later sees the result; the call returns
                at once. None = return when the result is there.

        Returns:
            uint8, of the picture's number of axes; keeps its memory alive.

        Raises:
            InputError: not on this GPU, not contiguous, another dtype, shape or size; too little
                memory.
            CudaError, ValueError: as :meth:`submit`.
        """
        with self._lock:
            self._check()
            return self._frames.run(picture, out, stream)

    def end_profiling(self) -> str:
        """Stop recording and return the trace, a JSON text in Chrome's trace format.

        As :meth:`acf_edge.engine.ort.OrtEngine.end_profiling`; see
        :mod:`acf_edge.engine.trt.profiler`.

        Raises:
            ValueError: the engine is closed, or was made without ``profile``.
        """
        clock = self._open.clock
        if self._closed or clock is None:
            raise ValueError("no profile is being recorded")
        return clock.trace()

    def close(self) -> None:
        """Give back what lies on the GPU; pictures under way are finished. Once or more often."""
        with self._lock:
            if self._closed:
                return
            for ticket in self._tickets:
                if ticket is not None:
                    ticket.settle()
            self._closed = True
            self._frames.close()
            self._open.close()

    def _submit(self, frame: Uint8Image, job: Job, shape: tuple[int, ...]) -> Ticket:
        index = self._next
        before = self._tickets[index]
        if before is not None:
            before.settle()
        begun = time.perf_counter()
        slot = self._pipeline.slots[index]
        choose_profile(self._open.engine.profiles, job.width, job.height)
        slot.host_in.array[: job.in_bytes] = frame.reshape(-1)
        self._pipeline.start(index, job)

        def fetch() -> Uint8Image:
            self._pipeline.finish(index)
            return slot.host_out.array[: job.out_bytes].reshape(shape).copy()

        ticket = Ticket(fetch)
        self._tickets[index] = ticket
        self._next = (index + 1) % len(self._tickets)
        if self._open.clock is not None:
            # One frame at a time, so that every layer's time belongs to one frame.
            ticket.settle()
            self._open.clock.end_frame(time.perf_counter() - begun)
        return ticket

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"the engine {self.name} is closed")
