"""The process that has the GPU; its arguments are ``SOCKET PLAN FRAMES``.

It is started by :class:`acf_edge.engine.trt.worker_engine.WorkerEngine` with three descriptors:
a socket, a file with the engine's bytes, and the memory that frames lie in. It ends when the
socket does, or when the GPU's context is lost.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from acf_edge.cuda.border import Coding
from acf_edge.cuda.driver import CudaError
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.nv12 import Nv12, nv12_job
from acf_edge.engine.trt.opening import OpenEngine, Options, open_plan
from acf_edge.engine.trt.pipeline import Job
from acf_edge.engine.trt.shared_frames import (
    Done,
    Failed,
    Ready,
    Run,
    Setup,
    map_slots,
    receive,
    send,
)
from acf_edge.errors import AcfError

LOST: Final = 3
"""Exit code after the context was lost."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the other side is gone; returns the exit code."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    socket, plan, frames = map(int, sys.argv[1:] if arguments is None else arguments)
    connection = Connection(socket)
    try:
        setup = receive(connection)
        assert isinstance(setup, Setup)
        opened = _open(connection, setup, plan, frames)
        if opened is None:
            return 1
        _Service(connection, opened).run()
    except (EOFError, OSError):
        pass  # nobody is there to work for
    return 0


def _open(connection: Connection, setup: Setup, plan: int, frames: int) -> OpenEngine | None:
    options = Options(**setup.options)
    try:
        opened = open_plan(
            Path(f"/proc/self/fd/{plan}").read_bytes(),
            Passport.loads(setup.passport.encode()),
            setup.what,
            options,
            shared=map_slots(frames, setup.in_size, setup.out_size, options.slots),
        )
    except Exception as error:
        send(connection, _failed(None, error))
        return None
    send(connection, Ready(opened.device.name, list(opened.pipeline.notes)))
    return opened


class _Service:
    """One thread queues frames, another one waits for them: so two can be under way."""

    def __init__(self, connection: Connection, opened: OpenEngine) -> None:
        self._connection, self._opened = connection, opened
        self._pipeline = opened.pipeline
        self._told = len(self._pipeline.notes)
        self._under_way: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._sending = threading.Lock()

    def run(self) -> None:
        waiter = threading.Thread(target=self._wait, name="acf-gpu-wait", daemon=True)
        waiter.start()
        try:
            while True:
                message = receive(self._connection)
                assert isinstance(message, Run)
                self._start(message)
        finally:
            self._under_way.put(None)
            waiter.join()
            self._opened.close()

    def _start(self, message: Run) -> None:
        try:
            self._pipeline.start(message.slot, self._job(message))
        except Exception as error:
            self._report(message.slot, error)
        else:
            self._under_way.put(message.slot)

    def _job(self, message: Run) -> Job:
        width, height, scale = message.width, message.height, self._opened.engine.scale
        if message.coding is None or message.result is None:
            return Job.rgb(width, height, scale)
        form = Nv12(width, height, Coding(**message.coding), Coding(**message.result))
        return nv12_job(form, scale, self._opened.kernels())

    def _wait(self) -> None:
        while (slot := self._under_way.get()) is not None:
            try:
                self._pipeline.finish(slot)
            except Exception as error:
                self._report(slot, error)
            else:
                notes = self._pipeline.notes
                new, self._told = notes[self._told :], len(notes)
                self._send(Done(slot, new))

    def _report(self, slot: int, error: Exception) -> None:
        failed = _failed(slot, error)
        self._send(failed)
        if failed.lost:
            # Whatever would be given back now would wait for the GPU, for ever perhaps.
            os._exit(LOST)

    def _send(self, message: Done | Failed) -> None:
        try:
            with self._sending:
                send(self._connection, message)
        except OSError:
            os._exit(0)


def _failed(slot: int | None, error: Exception) -> Failed:
    lost = isinstance(error, CudaError) and error.sticky
    if isinstance(error, AcfError):
        return Failed(slot, error.problem, error.remedy, error.exit_code, lost)
    traceback.print_exception(error)
    text = f"{type(error).__name__}: {error}"
    return Failed(slot, " ".join(text.split()), "", AcfError.exit_code, lost)


if __name__ == "__main__":
    sys.exit(main())
