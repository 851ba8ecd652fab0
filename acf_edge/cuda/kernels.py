"""The kernels, loaded on a GPU and launched by name."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from acf_edge.cuda.cubin import Cubin
from acf_edge.cuda.driver import Device, Stream

if TYPE_CHECKING:
    # int: a GPU address (8 bytes). Everything else has its own size; bytes are a struct by value.
    Argument: TypeAlias = (
        "int | np.generic | ctypes._SimpleCData[Any] | ctypes.Structure | ctypes.Array[Any] | bytes"
    )


class Kernels:
    """A cubin that is loaded on a device.

    Attributes:
        device: where it is loaded.
        cubin: what is loaded.
    """

    def __init__(self, device: Device, cubin: Cubin) -> None:
        self.device = device
        self.cubin = cubin

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Argument],
        shared: int,
        stream: Stream | int,
    ) -> None:
        """Queue one kernel. The arguments are copied: they need not outlive the call.

        Args:
            name: the kernel's ``extern "C"`` name.
            grid: blocks in x, y, z; each 1 at least.
            block: threads in x, y, z; 1024 at most together.
            arguments: one per parameter. A plain ``int`` is an address; a scalar
                is ``np.int32(5)``, ``np.float32(0.5)``, ``ctypes.c_int(5)``.
            shared: dynamic shared memory in bytes.
            stream: where.

        Raises:
            ValueError: no such kernel; the number or the sizes of the arguments
                are not those of the kernel; a grid or block out of range.
            CudaError: the driver refused.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Unload. A second call does nothing."""
        raise NotImplementedError


def load_kernels(device: Device) -> Kernels:
    """Compile ``kernels/*.cu`` for the device (or take them from the cache) and load them.

    The cache (``acf-edge/kernels`` in the user's cache folder) is keyed by SM,
    sources, options and compiler, and its bytes are checked before use.

    Raises:
        MissingExtraError: no NVRTC and nothing in the cache.
        InputError: this NVRTC cannot serve the device, or the driver is older than its code.
    """
    raise NotImplementedError
