"""The kernels, loaded on a GPU and launched by name."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from acf_edge.cuda.cubin import Cubin
from acf_edge.cuda.driver import CudaError, Device, Stream, binding, call, handle_of
from acf_edge.cuda.graph import beside_captures
from acf_edge.cuda.store import cached_cubin
from acf_edge.errors import InputError

if TYPE_CHECKING:
    # int: a GPU address (8 bytes). Everything else has its own size; bytes are a struct by value.
    Argument: TypeAlias = (
        "int | np.generic | ctypes._SimpleCData[Any] | ctypes.Structure | ctypes.Array[Any] | bytes"
    )

# Of every GPU that we serve.
_GRID = (2**31 - 1, 65535, 65535)
_BLOCK = (1024, 1024, 64)
_THREADS = 1024
_PLAIN_SHARED = 48 * 1024  # more has to be asked for, kernel by kernel


class Kernels:
    """A cubin that is loaded on a device.

    Args:
        device: where to load it; its context is current in this thread.
        cubin: what to load.

    Raises:
        InputError: the driver does not take the code (another SM, an older driver).
        CudaError: the driver failed otherwise.
    """

    def __init__(self, device: Device, cubin: Cubin) -> None:
        self.device = device
        self.cubin = cubin
        with beside_captures():
            self._module = self._load()
            # All at once: a capture that has to load on its way is a capture that can fail.
            self._functions = {name: self._in_memory(name) for name in cubin.kernels}
        self._shared: dict[str, int] = {}

    def _load(self) -> Any:
        device, cubin = self.device, self.cubin
        try:
            return call("cuModuleLoadData", cubin.image)
        except CudaError as error:
            if error.sticky:
                raise
            raise InputError(
                f"The driver (CUDA {device.driver}) does not load code that {cubin.compiler} made"
                f" for SM {cubin.sm} on a GPU of SM {device.sm} ({error.name}).",
                "Install the NVRTC of the driver's CUDA version, or update the driver.",
            ) from error

    def _in_memory(self, name: str) -> Any:
        function = call("cuModuleGetFunction", self._module, name.encode())
        # A driver that loads lazily may give a handle whose code it loads at the first launch.
        # Asked for an attribute, it has to load it now.
        kind = binding().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        call("cuFuncGetAttribute", kind, function)
        return function

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
        packed = pack(name, self.cubin, arguments)
        _check_shape(name, grid, block)
        function = self._functions[name]
        static = self.cubin.kernels[name].shared
        if shared + static > _PLAIN_SHARED and self._shared.get(name, 0) < shared:
            kind = binding().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            call("cuFuncSetAttribute", function, kind, shared)
            self._shared[name] = shared
        held = [ctypes.create_string_buffer(value, len(value)) for value in packed]
        addresses = (ctypes.c_void_p * max(1, len(held)))(*map(ctypes.addressof, held))
        parameters = ctypes.addressof(addresses)
        call("cuLaunchKernel", function, *grid, *block, shared, handle_of(stream), parameters, 0)

    def close(self) -> None:
        """Unload, after all launches are done. A second call does nothing."""
        if self._functions:
            self._functions = {}
            call("cuModuleUnload", self._module)


def pack(name: str, cubin: Cubin, arguments: Sequence[Argument]) -> list[bytes]:
    """The bytes of each argument, checked against what the kernel takes.

    On a GPU a wrong size is read as whatever lies beside it, and nothing tells.

    Raises:
        ValueError: no such kernel; the number or the sizes differ.
    """
    if name not in cubin.kernels:
        raise ValueError(f"no kernel '{name}'; there are {', '.join(sorted(cubin.kernels))}")
    wanted = cubin.kernels[name].parameters
    if len(arguments) != len(wanted):
        raise ValueError(f"'{name}' takes {len(wanted)} arguments, not {len(arguments)}")
    packed = [_bytes(argument) for argument in arguments]
    for position, (value, size) in enumerate(zip(packed, wanted, strict=True)):
        if len(value) != size:
            raise ValueError(
                f"argument {position} of '{name}' takes {size} bytes, and"
                f" {arguments[position]!r} has {len(value)}"
            )
    return packed


def _bytes(argument: Any) -> bytes:
    # bool is an int, and no address: np.bool_ or ctypes.c_bool says its size.
    if isinstance(argument, int) and not isinstance(argument, (bool, np.generic)):
        return argument.to_bytes(8, "little")
    if isinstance(argument, np.generic):
        return argument.tobytes()
    if isinstance(argument, (bytes, ctypes._SimpleCData, ctypes.Structure, ctypes.Array)):
        return bytes(argument)
    raise ValueError(f"{argument!r} has no size that a kernel would know")


def _check_shape(name: str, grid: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    fits = all(1 <= value <= most for value, most in zip(grid, _GRID, strict=True))
    fits &= all(1 <= value <= most for value, most in zip(block, _BLOCK, strict=True))
    if not fits or block[0] * block[1] * block[2] > _THREADS:
        raise ValueError(f"'{name}' cannot be launched as {grid} blocks of {block} threads")


def load_kernels(device: Device) -> Kernels:
    """Compile ``kernels/*.cu`` for the device (or take them from the cache) and load them.

    The cache (``acf-edge/kernels`` in the user's cache folder) is keyed by SM,
    sources, options and compiler, and its bytes are checked before use.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: no NVRTC and nothing in the cache; this NVRTC cannot serve
            the device, or the driver is older than its code.
    """
    return Kernels(device, cached_cubin(device.sm, device.driver))
