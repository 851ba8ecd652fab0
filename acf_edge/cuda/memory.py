"""Memory on the GPU and pinned memory on the host, and copies between them.

All copies are asynchronous: the CPU goes on at once, and the bytes are read
and written when the stream gets there. A buffer that takes part is neither
written nor closed before.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from acf_edge.cuda.driver import Stream, call, handle_of

_PORTABLE, _DEVICE_MAP = 1, 2


class DeviceBuffer:
    """``size`` bytes on the GPU, aligned to 256 bytes, contents undefined.

    Args:
        size: bytes, 1 at least.

    Attributes:
        pointer: the GPU's address; 0 after ``close()``.

    Raises:
        ValueError: ``size`` is not positive.
        DeviceMemoryError: not enough memory on the GPU.
    """

    def __init__(self, size: int) -> None:
        self.size = _positive(size)
        self.pointer = int(call("cuMemAlloc", size))

    def close(self) -> None:
        """Give the memory back; the caller synchronized before. A second call does nothing."""
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            call("cuMemFree", pointer)


class HostBuffer:
    """``size`` bytes of pinned host memory.

    Args:
        size: bytes, 1 at least.
        mapped: also visible to the GPU at ``device_pointer`` (for integrated GPUs).

    Attributes:
        array: uint8, shape (size,); the memory is gone after ``close()``: keep
            no view of it.
        pointer: the host's address.
        device_pointer: the GPU's address of the same bytes; None unless ``mapped``.

    Raises:
        ValueError: ``size`` is not positive.
        DeviceMemoryError: not enough memory that can be pinned.
    """

    def __init__(self, size: int, mapped: bool = False) -> None:
        self.size = _positive(size)
        self.device_pointer: int | None = None
        flags = _PORTABLE | (_DEVICE_MAP if mapped else 0)
        self.pointer = int(call("cuMemHostAlloc", size, flags))
        if mapped:
            try:
                self.device_pointer = int(call("cuMemHostGetDevicePointer", self.pointer, 0))
            except BaseException:
                call("cuMemFreeHost", self.pointer)
                raise
        memory = (ctypes.c_uint8 * size).from_address(self.pointer)
        self.array: npt.NDArray[np.uint8] = np.ctypeslib.as_array(memory)

    def close(self) -> None:
        """Give the memory back; the caller synchronized before. A second call does nothing."""
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            self.array = np.empty(0, np.uint8)
            self.device_pointer = None
            call("cuMemFreeHost", pointer)


def copy_in(dst: int, src: HostBuffer, size: int, stream: Stream | int, *, offset: int = 0) -> None:
    """Queue a copy of ``size`` bytes of ``src``, from ``offset`` on, to the GPU address ``dst``.

    Raises:
        ValueError: ``src`` does not hold that many bytes.
    """
    _inside(src, offset, size)
    call("cuMemcpyHtoDAsync", dst, src.pointer + offset, size, handle_of(stream))


def copy_out(
    dst: HostBuffer, src: int, size: int, stream: Stream | int, *, offset: int = 0
) -> None:
    """Queue a copy of ``size`` bytes from the GPU address ``src`` to ``dst``, from ``offset`` on.

    Raises:
        ValueError: ``dst`` does not hold that many bytes.
    """
    _inside(dst, offset, size)
    call("cuMemcpyDtoHAsync", dst.pointer + offset, src, size, handle_of(stream))


def copy_device(dst: int, src: int, size: int, stream: Stream | int) -> None:
    """Queue a copy of ``size`` bytes between two GPU addresses that do not overlap."""
    call("cuMemcpyDtoDAsync", dst, src, _positive(size), handle_of(stream))


def fill(dst: int, value: int, size: int, stream: Stream | int) -> None:
    """Queue setting ``size`` bytes at the GPU address ``dst`` to ``value`` (0..255)."""
    if not 0 <= value <= 255:
        raise ValueError(f"{value} is no byte")
    call("cuMemsetD8Async", dst, value, _positive(size), handle_of(stream))


def _positive(size: int) -> int:
    if size < 1:
        raise ValueError(f"{size} bytes: at least 1 is needed")
    return size


def _inside(buffer: HostBuffer, offset: int, size: int) -> None:
    if not buffer.pointer:
        raise ValueError("the host buffer is closed")
    if offset < 0 or _positive(size) + offset > buffer.size:
        raise ValueError(f"{size} bytes at {offset} do not lie in {buffer.size} bytes")
