"""A thin, typed layer over ``cuda.bindings.driver``: device, streams, events, errors.

Every handle is a plain ``int``, so that TensorRT, PyTorch and CuPy handles go in
and ours go out. The bindings are imported in :func:`binding` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acf_edge.errors import AcfError


class CudaError(AcfError):
    """A call into the driver failed.

    Args:
        name: CUDA's name, e.g. ``"CUDA_ERROR_ILLEGAL_ADDRESS"``.
        call: the function that reported it, e.g. ``"cuStreamSynchronize"``.
        sticky: the context is lost: every later call of this process fails
            with the same error, and only a new process gets on.
    """

    def __init__(self, name: str, call: str, sticky: bool, remedy: str = "") -> None:
        self.name = name
        self.call = call
        self.sticky = sticky
        super().__init__(f"CUDA reported {name} in {call}.", remedy)


def binding() -> Any:
    """The module ``cuda.bindings.driver``.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
    """
    raise NotImplementedError


def call(name: str, *arguments: Any) -> Any:
    """Call ``cuda.bindings.driver.<name>``; returns its one result, a tuple of several, or None.

    Raises:
        CudaError: the driver reported an error (perhaps of earlier, asynchronous work).
    """
    raise NotImplementedError


@dataclass(frozen=True)
class Device:
    """A GPU with its primary context (the one that PyTorch and TensorRT use, too).

    Args:
        ordinal: CUDA's number of it, from 0.
        name: e.g. ``"Orin"``.
        sm: compute capability without its dot, ``"87"``.
        integrated: shares its memory with the CPU (Jetson): mapped host memory costs no copy.
        memory: total bytes.
        driver: the CUDA version that the driver serves, ``"12.6"``.
        context: handle of the primary context.
    """

    ordinal: int
    name: str
    sm: str
    integrated: bool
    memory: int
    driver: str
    context: int = 0

    def make_current(self) -> None:
        """Make the context current in the calling thread. Each thread needs it once."""
        raise NotImplementedError

    def free_memory(self) -> int:
        """Bytes that are free now."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait for everything that was queued on the device."""
        raise NotImplementedError


def open_device(ordinal: int = 0) -> Device:
    """Open a GPU: retain its primary context and make it current in this thread.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: no driver, no GPU, or no GPU of this number; says the way out.
        CudaError: the driver failed otherwise.
    """
    raise NotImplementedError


class Stream:
    """A queue of work. ``Stream()`` makes one that does not wait for the default stream.

    Args:
        priority: lower runs first; 0 is the default, -1 and below are urgent.
    """

    def __init__(self, priority: int = 0) -> None:
        self.handle: int = 0

    @staticmethod
    def borrowed(handle: int) -> Stream:
        """A stream that somebody else made and closes (TensorRT's, PyTorch's)."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all that was queued here is done."""
        raise NotImplementedError

    def idle(self) -> bool:
        """Whether all that was queued here is done."""
        raise NotImplementedError

    def wait(self, event: Event) -> None:
        """Later work here runs after what ``event`` recorded last. Does not block the CPU."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the stream back, after its work is done. A second call does nothing."""
        raise NotImplementedError


class Event:
    """A mark in a stream.

    Args:
        timing: :meth:`elapsed_ms` is wanted (costs a little).
        spin: :meth:`synchronize` burns a core and wakes sooner; else it sleeps.
    """

    def __init__(self, timing: bool = False, spin: bool = False) -> None:
        self.handle: int = 0

    def record(self, stream: Stream | int) -> None:
        """Mark the work queued on ``stream`` until now. An earlier mark is forgotten."""
        raise NotImplementedError

    def query(self) -> bool:
        """Whether the marked work is done (True, too, where nothing was marked)."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until the marked work is done."""
        raise NotImplementedError

    def elapsed_ms(self, since: Event) -> float:
        """Milliseconds between two marks that are done; both events have ``timing``."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the event back. A second call does nothing."""
        raise NotImplementedError


def handle_of(stream: Stream | int) -> int:
    """The raw handle of a stream."""
    return stream if isinstance(stream, int) else stream.handle
