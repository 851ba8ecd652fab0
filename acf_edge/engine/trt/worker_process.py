"""Starting, asking and ending the process that has the GPU."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import IO, Final

from acf_edge.children import python_command
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.buffers import SharedSlot
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.shared_frames import (
    Failed,
    Message,
    Ready,
    Run,
    Setup,
    frame_memory,
    map_slots,
    memory_size,
    receive,
    send,
)
from acf_edge.errors import AcfError, InputError

START_PATIENCE: Final = 300.0
"""Seconds to load an engine: on a small board the first use of CUDA alone takes some."""
_END_PATIENCE: Final = 3.0
_LAST_WORDS: Final = 2000


class WorkerStart:
    """What every worker of an engine is started with; the memory outlives them.

    Args:
        plan: bytes of the engine.
        passport, what, options: as :func:`acf_edge.engine.trt.opening.open_plan`.
        in_size, out_size: bytes of the largest frames.
        command: what to run; None = :mod:`acf_edge.engine.trt.worker`.

    Raises:
        InputError: not enough memory.
    """

    def __init__(
        self,
        plan: bytes,
        passport: Passport,
        what: str,
        options: Options,
        in_size: int,
        out_size: int,
        command: Sequence[str] | None = None,
    ) -> None:
        self._name = passport.name
        self._command = list(command or python_command("acf_edge.engine.trt.worker"))
        self._slots = options.slots
        self._setup = Setup(passport.dumps().decode(), what, asdict(options), in_size, out_size)
        try:
            # Not the bundle's path: a bundle may be gone by the time of a restart.
            self._plan = frame_memory(len(plan))
            self._frames = frame_memory(memory_size(in_size, out_size, options.slots))
        except OSError as error:
            raise InputError(
                f"There is not enough memory for the frames of {passport.name}.",
                "Build for smaller sizes, or close other programs.",
            ) from error
        with open(self._plan, "wb", closefd=False) as file:
            file.write(plan)
        self._closing = weakref.finalize(self, _close_all, (self._plan, self._frames))

    def map_slots(self) -> list[SharedSlot]:
        """The memory of the slots."""
        return map_slots(self._frames, self._setup.in_size, self._setup.out_size, self._slots)

    def start(self) -> WorkerProcess:
        """Start a worker and wait until it is ready.

        Raises:
            InputError: what the worker says that keeps it from loading the engine.
            AcfError: it ended without a word, or says nothing for too long.
        """
        ours, theirs = socket.socketpair()
        last_words = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
        handles = (theirs.fileno(), self._plan, self._frames)
        # The worker finds what this process finds, wherever it came from.
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            process = subprocess.Popen(
                [*self._command, *map(str, handles)],
                pass_fds=handles,
                stdin=subprocess.DEVNULL,
                stdout=last_words,
                stderr=last_words,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except OSError as error:
            ours.close()
            last_words.close()
            raise AcfError(f"The GPU's worker cannot be started: {error}.") from error
        finally:
            theirs.close()
        worker = WorkerProcess(process, Connection(ours.detach()), last_words)
        try:
            with contextlib.suppress(OSError):
                worker.send(self._setup)
            answer = worker.answer(START_PATIENCE)
        except BaseException:
            worker.kill()
            raise
        if isinstance(answer, Ready):
            worker.device, worker.notes = answer.device, list(answer.notes)
            return worker
        if isinstance(answer, Failed):
            worker.kill()
            kind = InputError if answer.code == InputError.exit_code else AcfError
            raise kind(answer.problem, answer.remedy)
        reason = worker.end(answer)
        raise AcfError(
            f"The GPU's worker ended while it loaded {self._name} ({reason}).",
            "'acf-edge doctor' tells what is there.",
        )

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        self._closing()


class WorkerProcess:
    """A worker that was started.

    Attributes:
        device: name of its GPU.
        notes: what it had to say when it was ready.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], connection: Connection, words: IO[bytes]
    ) -> None:
        self.device = ""
        self.notes: list[str] = []
        self._process, self._connection, self._words = process, connection, words
        # Whoever forgets to close an engine leaves no process behind.
        self._ending = weakref.finalize(self, _kill, process, connection, words)

    def send(self, message: Setup | Run) -> None:
        """Send a message.

        Raises:
            OSError: the worker is gone.
        """
        send(self._connection, message)

    def answer(self, patience: float) -> Message | None:
        """Wait for a message; None if the worker is gone or silent for too long."""
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll(patience):
                return receive(self._connection)
        return None

    def end(self, answer: Message | None) -> str:
        """End a worker that is lost; says in words what happened.

        Args:
            answer: what :meth:`answer` gave last.
        """
        if isinstance(answer, Failed):
            reason = answer.problem.rstrip(".")
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0 if answer is None and self._gone() else 0.0)
            code = self._process.poll()
            reason = "it did not answer" if code is None else _cause(code, self._words)
        self.kill()
        return reason

    def close(self) -> None:
        """Let it finish; it ends with its connection."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_PATIENCE)
        self.kill()

    def kill(self) -> None:
        """End it at once. A second call does nothing."""
        self._ending()

    def _gone(self) -> bool:
        """Whether its end of the connection is closed."""
        try:
            return bool(self._connection.poll(0.0))
        except (OSError, EOFError):
            return True


def _cause(code: int, words: IO[bytes]) -> str:
    """Why a process ended, and what it said last."""
    how = f"it ended by signal {-code}" if code < 0 else f"it ended with code {code}"
    with contextlib.suppress(OSError, ValueError):
        words.seek(0, os.SEEK_END)
        words.seek(max(0, words.tell() - _LAST_WORDS))
        lines = words.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        if said:
            return f"{how}: {said[-1][:200]}"
    return how


def _kill(process: subprocess.Popen[bytes], connection: Connection, words: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        connection.close()
    if process.poll() is None:
        process.kill()
    # A process in the middle of a call of the driver may take its time to go; nobody waits.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_PATIENCE)
    words.close()


def _close_all(handles: tuple[int, ...]) -> None:
    for handle in handles:
        with contextlib.suppress(OSError):
            os.close(handle)
