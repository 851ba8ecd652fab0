"""Memory on the GPU and pinned memory on the host, and copies between them.

All copies are asynchronous: the CPU goes on at once, and the bytes are read
and written when the stream gets there. A buffer that takes part is neither
written nor closed before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acf_edge.cuda.driver import Stream


class DeviceBuffer:
    """``size`` bytes on the GPU, aligned to 256 bytes, contents undefined.

    ``close()`` waits for nothing: the caller synchronizes first.

    Raises:
        InputError: not enough memory on the GPU.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pointer: int = 0

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        raise NotImplementedError


class HostBuffer:
    """``size`` bytes of pinned host memory.

    Args:
        size: bytes, 1 at least.
        mapped: also visible to the GPU at ``device_pointer`` (for integrated GPUs).

    Attributes:
        array: uint8, shape (size,); dies with the buffer: do not keep it after ``close()``.
        pointer: the host's address.
        device_pointer: the GPU's address of the same bytes; None unless ``mapped``.

    Raises:
        InputError: not enough memory.
    """

    def __init__(self, size: int, mapped: bool = False) -> None:
        self.size = size
        self.array: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self.pointer: int = 0
        self.device_pointer: int | None = None

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        raise NotImplementedError


def copy_in(dst: int, src: HostBuffer, size: int, stream: Stream | int) -> None:
    """Queue a copy of the first ``size`` bytes of ``src`` to the GPU address ``dst``.

    Raises:
        ValueError: ``size`` is larger than ``src``.
    """
    raise NotImplementedError


def copy_out(dst: HostBuffer, src: int, size: int, stream: Stream | int) -> None:
    """Queue a copy of ``size`` bytes from the GPU address ``src`` to the start of ``dst``."""
    raise NotImplementedError


def copy_device(dst: int, src: int, size: int, stream: Stream | int) -> None:
    """Queue a copy of ``size`` bytes between two GPU addresses that do not overlap."""
    raise NotImplementedError


def fill(dst: int, value: int, size: int, stream: Stream | int) -> None:
    """Queue setting ``size`` bytes at the GPU address ``dst`` to ``value`` (0..255)."""
    raise NotImplementedError
