"""An engine in a process of its own, which is started again when the GPU fails it.

After an error that CUDA calls sticky (an illegal address, a kernel that ran too long) every
further call of the process fails. So the process that has the GPU does nothing else; when it is
lost, a new one takes its place, gets the frames that were under way, and the caller notices
nothing but a pause. Frames lie in memory that both processes share and that the worker pins:
they are copied into it once and out of it once, as with pinned memory of one's own.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from acf_edge.engine.frames import checked_frame
from acf_edge.engine.passport import Passport
from acf_edge.engine.protocol import Uint8Image
from acf_edge.engine.trt.engine_file import CHANNELS, frame_room
from acf_edge.engine.trt.nv12 import Nv12, checked_nv12, nv12_shape
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.profiles import SizeProfile, choose_profile
from acf_edge.engine.trt.shared_frames import Done, Failed, Run
from acf_edge.engine.trt.ticket import Ticket
from acf_edge.engine.trt.worker_process import WorkerProcess, WorkerStart
from acf_edge.errors import AcfError, InputError

RETRIES: Final = 2
"""How often in a row a frame is given to a new worker before it is given up."""
PATIENCE: Final = 60.0
"""Seconds without an answer after which a worker is taken to hang. A first frame of a size may
take many: TensorRT-RTX finishes its kernels then."""

_CLOSING: Final = 5.0


def can_work_apart() -> bool:
    """Whether this system has what a worker needs."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


@dataclass
class _Place:
    """What a slot was given, whether the answer is still to come, and how it went."""

    order: Run | None = None
    pending: bool = False
    error: Exception | None = None


class WorkerEngine:
    """An engine of TensorRT or TensorRT-RTX, uint8 in and out, in another process.

    May be used by several threads.

    Args:
        plan: bytes of the engine, whose hash is the passport's.
        passport: of the bundle; names the sizes that the engine was built for.
        path: of the bundle, for messages.
        options: how it runs.
        command: what to run as the worker; None = :mod:`acf_edge.engine.trt.worker`.
        patience: see :data:`PATIENCE`.

    Attributes:
        restarts: how often the worker was lost and started again.

    Raises:
        InputError: no GPU, no TensorRT, a bundle for another GPU or another TensorRT, too little
            memory.
        AcfError: the worker cannot be started.
    """

    def __init__(
        self,
        plan: bytes,
        passport: Passport,
        path: Path,
        options: Options | None = None,
        *,
        command: Sequence[str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        options = options or Options()
        self._passport = passport
        self._profiles = tuple(map(SizeProfile.from_passport, passport.input_profiles))
        if not self._profiles:
            raise InputError(
                f"The passport of '{path}' does not say for which sizes the engine was built.",
                "Build the bundle again.",
            )
        self._start = WorkerStart(
            plan,
            passport,
            str(path),
            options,
            frame_room(self._profiles, 1),
            frame_room(self._profiles, passport.scale),
            command,
        )
        self._patience = patience
        self.restarts = 0
        self._failures = 0
        self._notes: list[str] = []
        self._state = threading.Condition(threading.Lock())
        self._submitting = threading.Lock()
        self._reading = False
        self._closed = False
        self._places = [_Place() for _ in range(options.slots)]
        self._tickets: list[Ticket | None] = [None] * options.slots
        self._next = 0
        self._worker: WorkerProcess | None = None
        self._slots = self._start.map_slots()
        self._replace()

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        return self._passport.name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._passport.scale

    @property
    def device_name(self) -> str:
        """Name of the GPU."""
        worker = self._worker
        return "" if worker is None else worker.device

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as it could be, in words."""
        with self._state:
            return tuple(self._notes)

    def submit(self, frame: Uint8Image) -> Ticket:
        """Queue one picture; returns as soon as it is copied.

        As many pictures as there are slots can be under way; with one more, this waits for the
        oldest, whose ticket keeps the result.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, of a size that the engine was built for.

        Raises:
            TypeError: not an array of uint8.
            InputError: another shape, or a size that the engine was not built for.
            AcfError: no worker can be started any more.
            ValueError: the engine is closed.
        """
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        shape = (height * self.scale, width * self.scale, CHANNELS)
        return self._submit(frame, Run(0, width, height), shape)

    def submit_nv12(self, frame: Uint8Image, form: Nv12) -> Ticket:
        """As :meth:`submit`, NV12 in and out; see :meth:`TrtEngine.submit_nv12`."""
        frame = checked_nv12(frame, form)
        order = Run(0, form.width, form.height, *(asdict(one) for one in form.codings()))
        scale = self.scale
        return self._submit(frame, order, nv12_shape(form.width * scale, form.height * scale))

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one picture.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, of a size that the engine was built for.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB, owned by the caller.

        Raises:
            TypeError, InputError, ValueError: as :meth:`submit`.
            AcfError: the GPU failed this frame again and again.
        """
        return self.submit(frame).result()

    def close(self) -> None:
        """End the worker; pictures under way are finished unless it is lost. Once or more often."""
        with self._submitting:
            # No worker is started any more, and none is waited for as if more were to come.
            self._closed = True
            self._patience = min(self._patience, _CLOSING)
            for ticket in self._tickets:
                if ticket is not None:
                    ticket.settle()
            with self._state:
                worker, self._worker = self._worker, None
            if worker is not None:
                worker.close()
            self._start.close()

    def _submit(self, frame: Uint8Image, order: Run, shape: tuple[int, ...]) -> Ticket:
        choose_profile(self._profiles, order.width, order.height)
        with self._submitting:
            index = self._next
            before = self._tickets[index]
            if before is not None:
                before.settle()
            with self._state:
                if self._closed:
                    raise ValueError(f"the engine {self.name} is closed")
                self._slots[index][0][: frame.size] = frame.reshape(-1)
                place = _Place(replace(order, slot=index))
                if self._worker is None:
                    # The last frame was given up; this one gets a chance of its own.
                    self._failures = 0
                    self._replace()
                    self.restarts += 1
                place.pending = True
                self._places[index] = place
                self._send(index)
            ticket = Ticket(lambda: self._fetch(index, place, shape))
            self._tickets[index] = ticket
            self._next = (index + 1) % len(self._places)
            return ticket

    def _fetch(self, index: int, place: _Place, shape: tuple[int, ...]) -> Uint8Image:
        """Wait for one slot's result; reads the answers of the others on the way."""
        with self._state:
            while place.pending:
                if self._reading:
                    self._state.wait()
                else:
                    self._read()
            if place.error is not None:
                raise place.error
        return self._slots[index][1][: math.prod(shape)].reshape(shape).copy()

    def _read(self) -> None:
        """Take one answer from the worker, or notice that it is lost. One thread at a time does,
        without the lock, so that others can submit meanwhile."""
        worker = self._worker
        if worker is None:
            self._go_on("its restart was interrupted")
            return
        self._reading = True
        self._state.release()
        try:
            answer = worker.answer(self._patience)
        finally:
            self._state.acquire()
            self._reading = False
            self._state.notify_all()
        if isinstance(answer, Done):
            self._failures = 0
            self._places[answer.slot].pending = False
            self._add_notes(answer.notes)
        elif isinstance(answer, Failed) and not answer.lost and answer.slot is not None:
            kind = InputError if answer.code == InputError.exit_code else AcfError
            self._give_up(answer.slot, kind(answer.problem, answer.remedy))
        else:
            self._go_on(worker.end(answer))

    def _go_on(self, reason: str) -> None:
        """The worker is lost: start another one, and give it the frames that were under way."""
        self._worker = None
        self._failures += 1
        waiting = [index for index, place in enumerate(self._places) if place.pending]
        # The oldest first: the slots are used in turns.
        waiting.sort(key=lambda index: (index - self._next) % len(self._places))
        error: Exception | None = None
        if self._closed:
            error = AcfError(f"{self.name} was closed while its worker was lost ({reason}).")
        elif self._failures > RETRIES:
            error = AcfError(
                f"{self.name} failed on the GPU {self._failures} times in a row ({reason}).",
                "Look at the system's log for the GPU (dmesg | grep -iE 'nvrm|nvgpu'); "
                "'acf-edge doctor' tells what is there.",
            )
        else:
            try:
                self._replace()
            except AcfError as failure:
                error = failure
        if error is not None:
            for index in waiting:
                self._give_up(index, error)
            return
        self.restarts += 1
        self._add_notes([f"the GPU's worker was started again ({reason})"])
        for index in waiting:
            self._send(index)

    def _replace(self) -> None:
        self._worker = worker = self._start.start()
        self._add_notes(worker.notes)

    def _send(self, index: int) -> None:
        order, worker = self._places[index].order, self._worker
        assert order is not None and worker is not None
        # A worker that is gone is noticed by whoever waits for its answers.
        with contextlib.suppress(OSError):
            worker.send(order)

    def _give_up(self, index: int, error: Exception) -> None:
        self._places[index].error = error
        self._places[index].pending = False

    def _add_notes(self, notes: Sequence[str]) -> None:
        self._notes += [note for note in notes if note not in self._notes]
