"""What frames pass through on their way to the GPU and back: allocated once, for the largest.

A slot is one frame's way: pinned memory, where the GPU cannot read the host's memory a buffer
of its own on either side, and the marks that order the streams. Two slots are enough for one
frame to be copied while another one is computed.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from acf_edge.cuda.driver import CudaError, Event, call
from acf_edge.cuda.memory import DeviceBuffer, HostBuffer

PAGE: Final = mmap.PAGESIZE
"""Parts of shared memory begin at multiples of it: what is pinned is whole pages."""

# CU_MEMHOSTREGISTER_PORTABLE and CU_MEMHOSTREGISTER_DEVICEMAP of cuda.h.
_PORTABLE, _MAPPED = 1, 2


class Closes(Protocol):
    """Whatever holds something that has to be given back."""

    def close(self) -> None:
        """Give it back."""
        ...


class PinnedView(HostBuffer):
    """Memory that exists already (shared with another process), pinned for as long as it is open.

    Args:
        memory: uint8, one axis, writable; begins a page, and has its last one to itself.
        mapped: also visible to the GPU at ``device_pointer``.

    Raises:
        CudaError: this system cannot pin it.
    """

    def __init__(self, memory: npt.NDArray[np.uint8], mapped: bool = False) -> None:
        self.size = memory.size
        self.array = memory
        self.pointer = int(memory.ctypes.data)
        self.device_pointer = None
        self._pinned = False
        whole = -(-self.size // PAGE) * PAGE
        call("cuMemHostRegister", self.pointer, whole, _PORTABLE | (_MAPPED if mapped else 0))
        self._pinned = True
        if mapped:
            try:
                self.device_pointer = int(call("cuMemHostGetDevicePointer", self.pointer, 0))
            except CudaError:
                self.close()
                raise

    def close(self) -> None:
        """Let the memory go; it stays what it is. A second call does nothing."""
        if self._pinned:
            self._pinned = False
            call("cuMemHostUnregister", self.pointer)


SharedSlot = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Memory for the frame that goes in and for the one that comes out."""


def _pin(shared: SharedSlot, mapped: bool) -> tuple[HostBuffer, HostBuffer] | None:
    """Both parts pinned; None if this system cannot."""
    try:
        first = PinnedView(shared[0], mapped)
    except CudaError as error:
        if error.sticky:
            raise
        return None
    try:
        return first, PinnedView(shared[1], mapped)
    except CudaError as error:
        first.close()
        if error.sticky:
            raise
        return None


class Slot:
    """One frame's way.

    Args:
        index: 0, 1 ...
        in_size, out_size: bytes of the largest frame that goes in and comes out.
        mapped: the GPU reads and writes the host's memory itself, nothing is copied.
        shared: memory of another process for both directions, as :class:`PinnedView` wants
            it; None = memory of our own.
        spin: waiting for a frame burns a core and wakes sooner.

    Attributes:
        host_in, host_out: pinned.
        device_in, device_out: GPU addresses where a frame arrives and from where it leaves;
            those of the host's memory itself if ``mapped``.
        uploaded, computed, done: marks of the three stages.
        busy: between a start and the end of waiting for it.
        out_bytes: of the frame that is under way, or was last.
        aside: ``shared`` where this system cannot pin it: frames are copied once more.

    Raises:
        InputError: not enough memory.
    """

    def __init__(
        self,
        index: int,
        in_size: int,
        out_size: int,
        *,
        mapped: bool,
        shared: SharedSlot | None = None,
        spin: bool = False,
    ) -> None:
        self.index = index
        self.busy = False
        self.out_bytes = 0
        self._in_size, self._out_size = in_size, out_size
        self._staging: tuple[DeviceBuffer, DeviceBuffer] | None = None
        with contextlib.ExitStack() as stack:

            def keep(thing: Any) -> Any:
                stack.callback(thing.close)
                return thing

            pinned = None if shared is None else _pin(shared, mapped)
            self.aside = shared if pinned is None else None
            if pinned is None:
                self.host_in: HostBuffer = keep(HostBuffer(in_size, mapped))
                self.host_out: HostBuffer = keep(HostBuffer(out_size, mapped))
            else:
                self.host_in, self.host_out = keep(pinned[0]), keep(pinned[1])
            if mapped:
                assert self.host_in.device_pointer is not None
                assert self.host_out.device_pointer is not None
                self.device_in: int = self.host_in.device_pointer
                self.device_out: int = self.host_out.device_pointer
            else:
                self.device_in = keep(DeviceBuffer(in_size)).pointer
                self.device_out = keep(DeviceBuffer(out_size)).pointer
            self.uploaded: Event = keep(Event())
            self.computed: Event = keep(Event())
            self.done: Event = keep(Event(spin=spin))
            self._held = stack.pop_all()

    def staging(self) -> tuple[int, int]:
        """GPU addresses of two more buffers of the same sizes, for frames that are converted.

        Allocated at the first call.

        Raises:
            InputError: not enough memory.
        """
        if self._staging is None:
            before = DeviceBuffer(self._in_size)
            try:
                after = DeviceBuffer(self._out_size)
            except BaseException:
                before.close()
                raise
            self._held.callback(before.close)
            self._held.callback(after.close)
            self._staging = (before, after)
        return self._staging[0].pointer, self._staging[1].pointer

    def close(self) -> None:
        """Give everything back; its work is done. A second call does nothing."""
        self._held.close()
