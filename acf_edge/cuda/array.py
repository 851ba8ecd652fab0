"""Arrays on the GPU that pass to and from PyTorch, CuPy and PyCUDA without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda.driver import Stream


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on the GPU.

    It has ``__cuda_array_interface__`` (version 3), ``__dlpack__`` and ``__dlpack_device__``.

    Args:
        pointer: GPU address of the first element.
        shape: extents; any may be 0.
        dtype: NumPy dtype of the elements.
        owner: what keeps the memory alive (a DeviceBuffer, a torch tensor).
        stream: handle of the stream whose queued work fills the array; None: nothing is pending.
        device: ordinal of the GPU.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object = None
    stream: int | None = None
    device: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count * self.dtype.itemsize


def as_device_array(obj: object, stream: Stream | int | None = None) -> DeviceArray:
    """Take in an array of another library, without a copy.

    Args:
        obj: anything with ``__cuda_array_interface__`` or ``__dlpack__`` on a CUDA device.
        stream: the stream that will use it; it is made to wait for the producer's
            pending work. None: the caller orders the work.

    Raises:
        InputError: not on a CUDA device, not C-contiguous, a dtype that NumPy lacks.
    """
    raise NotImplementedError


Array = npt.NDArray[Any]
