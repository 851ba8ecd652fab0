"""The memory of the stand-in GPU: noise when new, noise when freed, and fences all around."""

from __future__ import annotations

import bisect

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_FIRST = 0x7_0000_0000
_ALIGN = 512
_FENCE = 1 << 16  # between two allocations: a kernel that runs over hits nothing


class BadAddress(Exception):
    """What a GPU calls an illegal address."""


class Memory:
    """GPU memory and pinned host memory.

    Addresses on the GPU are none of the host's, also those of mapped host
    memory, and none is given out twice.
    """

    def __init__(self, total: int, rng: np.random.Generator) -> None:
        self.total = total
        self.used = 0
        self._rng = rng
        self._next = _FIRST
        self._starts: list[int] = []
        self._device: dict[int, Bytes] = {}
        self._pinned: dict[int, Bytes] = {}
        self._mapped: dict[int, int] = {}
        # Python may still hold views of what was freed; it reads noise, and does not crash.
        self._graves: list[Bytes] = []

    def allocate(self, size: int) -> int | None:
        """A GPU address, or None where memory does not suffice."""
        if self.used + size > self.total:
            return None
        self.used += size
        return self._place(self._noise(size))

    def free(self, pointer: int) -> bool:
        """Whether ``pointer`` was the start of an allocation."""
        if pointer not in self._device or pointer in self._mapped.values():
            return False
        self.used -= len(self._device[pointer])
        self._bury(self._device.pop(pointer))
        self._starts.remove(pointer)
        return True

    def pin(self, size: int) -> int:
        """Pinned host memory: a true address of this process."""
        array = self._noise(size)
        self._pinned[array.ctypes.data] = array
        return array.ctypes.data

    def unpin(self, address: int) -> bool:
        """Whether ``address`` was the start of pinned memory."""
        if address not in self._pinned:
            return False
        self._bury(self._pinned.pop(address))
        pointer = self._mapped.pop(address, None)
        if pointer is not None:
            del self._device[pointer]
            self._starts.remove(pointer)
        return True

    def map(self, address: int) -> None:
        """Give pinned memory a GPU address, too."""
        self._mapped[address] = self._place(self._pinned[address])

    def mapped(self, address: int) -> int | None:
        """The GPU address of mapped memory; None where it is not."""
        return self._mapped.get(address)

    def view(self, pointer: int, size: int) -> Bytes:
        """The bytes behind a GPU address, uint8, shape (size,); writing changes them.

        Raises:
            BadAddress: not all of them lie in one live allocation.
        """
        at = bisect.bisect_right(self._starts, pointer) - 1
        start = self._starts[at] if at >= 0 else 0
        array = self._device.get(start)
        if array is None or pointer + size > start + len(array):
            raise BadAddress(f"{size} bytes at {pointer:#x}")
        return array[pointer - start : pointer - start + size]

    def pinned(self, address: int, size: int) -> Bytes | None:
        """The bytes behind a host address, or None where they are not all pinned."""
        for start, array in self._pinned.items():
            if start <= address and address + size <= start + len(array):
                return array[address - start : address - start + size]
        return None

    def host(self, address: int, size: int) -> Bytes:
        """As :meth:`pinned`, while work runs.

        Raises:
            BadAddress: they are not pinned (any more).
        """
        found = self.pinned(address, size)
        if found is None:
            raise BadAddress(f"{size} bytes of the host at {address:#x}")
        return found

    def leaks(self) -> int:
        """How many allocations, GPU and pinned, nobody freed."""
        return len(self._device) - len(self._mapped) + len(self._pinned)

    def _place(self, array: Bytes) -> int:
        pointer = self._next
        self._next += -(-(len(array) + _FENCE) // _ALIGN) * _ALIGN
        self._starts.append(pointer)  # stays sorted: addresses only grow
        self._device[pointer] = array
        return pointer

    def _noise(self, size: int) -> Bytes:
        return self._rng.integers(0, 256, size, dtype=np.uint8)

    def _bury(self, array: Bytes) -> None:
        array[:] = self._noise(len(array))
        self._graves.append(array)
