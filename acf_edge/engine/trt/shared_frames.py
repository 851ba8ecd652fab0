"""Memory for frames that two processes share, and the few words they exchange about them."""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np

from acf_edge.engine.trt.buffers import PAGE, SharedSlot


@dataclass(frozen=True)
class Setup:
    """To the worker, first: what to load.

    Attributes:
        passport: text of the bundle's passport.
        what: the bundle, for messages.
        options: fields of :class:`acf_edge.engine.trt.opening.Options`.
        in_size, out_size: bytes of each slot's shares of the memory.
    """

    passport: str
    what: str
    options: dict[str, Any]
    in_size: int
    out_size: int


@dataclass(frozen=True)
class Ready:
    """From the worker: the engine is loaded, on this GPU."""

    device: str
    notes: list[str]


@dataclass(frozen=True)
class Run:
    """To the worker: enhance what lies in a slot.

    Attributes:
        slot: number of it.
        width, height: of the picture in pixels.
        coding, result: fields of :class:`acf_edge.cuda.border.Coding`, of the NV12 that comes
            and goes; None = it is RGB.
    """

    slot: int
    width: int
    height: int
    coding: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Done:
    """From the worker: the result lies in the slot. ``notes`` are new ones."""

    slot: int
    notes: list[str]


@dataclass(frozen=True)
class Failed:
    """From the worker: something went wrong.

    Attributes:
        slot: with which frame; None = with loading.
        problem, remedy: of the error.
        code: its exit code.
        lost: the worker can do nothing more and ends.
    """

    slot: int | None
    problem: str
    remedy: str
    code: int
    lost: bool


Message = Setup | Ready | Run | Done | Failed
_KINDS: Final = {kind.__name__: kind for kind in (Setup, Ready, Run, Done, Failed)}


def send(connection: Connection, message: Message) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    data = {"kind": type(message).__name__, **asdict(message)}
    connection.send_bytes(json.dumps(data).encode())


def receive(connection: Connection) -> Message:
    """Wait for one message.

    Raises:
        EOFError, OSError: the other side is gone.
    """
    data = json.loads(connection.recv_bytes())
    message: Message = _KINDS[data.pop("kind")](**data)
    return message


def frame_memory(size: int) -> int:
    """A file of ``size`` bytes that has no name and lives in memory; its descriptor.

    It is gone with the last process that has it, however that ends.
    """
    handle = os.memfd_create("acf-edge-frames")
    try:
        os.ftruncate(handle, size)
    except BaseException:
        os.close(handle)
        raise
    return handle


def memory_size(in_size: int, out_size: int, slots: int) -> int:
    """Bytes that so many slots take."""
    return slots * (_pages(in_size) + _pages(out_size))


def map_slots(handle: int, in_size: int, out_size: int, slots: int) -> list[SharedSlot]:
    """The slots in such a file: for each the frame that goes in and the one that comes out.

    Each begins at a whole page and is as many bytes long as was asked for.
    """
    whole = np.frombuffer(mmap.mmap(handle, memory_size(in_size, out_size, slots)), np.uint8)
    found, at = [], 0
    for _ in range(slots):
        middle = at + _pages(in_size)
        found.append((whole[at : at + in_size], whole[middle : middle + out_size]))
        at = middle + _pages(out_size)
    return found


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
