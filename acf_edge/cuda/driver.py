"""A thin, typed layer over ``cuda.bindings.driver``: device, streams, events, errors.

Every handle is a plain ``int``, so that TensorRT, PyTorch and CuPy handles go in
and ours go out. The bindings are imported in :func:`binding` and nowhere else.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from acf_edge.errors import AcfError, InputError, MissingExtraError

# After one of these the context is lost; CUDA documents "the process must be
# terminated and relaunched". UNKNOWN is among them because Tegra reports lost
# channels so, and a restart is the one way on.
STICKY = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        "ASSERT",
        "CONTAINED",
        "CONTEXT_IS_DESTROYED",
        "DEINITIALIZED",
        "ECC_UNCORRECTABLE",
        "EXTERNAL_DEVICE",
        "HARDWARE_STACK_ERROR",
        "ILLEGAL_ADDRESS",
        "ILLEGAL_INSTRUCTION",
        "INVALID_ADDRESS_SPACE",
        "INVALID_PC",
        "LAUNCH_FAILED",
        "LAUNCH_TIMEOUT",
        "MISALIGNED_ADDRESS",
        "MPS_CLIENT_TERMINATED",
        "NVLINK_UNCORRECTABLE",
        "TENSOR_MEMORY_LEAK",
        "UNKNOWN",
    )
)

_REMEDIES = {
    "CUDA_ERROR_INVALID_CONTEXT": "Call device.make_current() in this thread first.",
    "CUDA_ERROR_NOT_INITIALIZED": "Call open_device() first; a forked process cannot use CUDA:"
    " start it by 'spawn'.",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "The code was made for another GPU: build it again here.",
    "CUDA_ERROR_OUT_OF_MEMORY": "Take smaller frames, or end what else uses the GPU.",
}

_NO_GPU = {
    "CUDA_ERROR_NO_DEVICE": "Check nvidia-smi (on a Jetson: tegrastats) and CUDA_VISIBLE_DEVICES;"
    " a container needs --gpus all (on a Jetson: --runtime nvidia).",
    "CUDA_ERROR_STUB_LIBRARY": "The libcuda.so.1 that was found is the toolkit's stub:"
    " take it out of LD_LIBRARY_PATH and install the NVIDIA driver.",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "The driver was updated while its module ran: reboot.",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": "This GPU takes no forward-compatible libcuda:"
    " take it out of LD_LIBRARY_PATH, or update the driver.",
    "CUDA_ERROR_SYSTEM_NOT_READY": "The system's GPU services do not run yet"
    " (nvidia-fabricmanager): start them.",
    "CUDA_ERROR_UNKNOWN": "Load the module nvidia_uvm (sudo modprobe nvidia_uvm), or reboot.",
}

# CUDA's own numbers: the bindings' enumerations of 12.x and 13.x differ in kind.
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18
_NON_BLOCKING = 1
_BLOCKING_SYNC, _DISABLE_TIMING = 1, 2


class CudaError(AcfError):
    """A call into the driver failed.

    Args:
        name: CUDA's name, e.g. ``"CUDA_ERROR_ILLEGAL_ADDRESS"``.
        call: the function that reported it, e.g. ``"cuStreamSynchronize"``; the
            cause may be work that was queued long before.
        sticky: the context is lost: every later call of this process fails
            with the same error, and only a new process gets on.
        remedy: what to do about it; empty where only the cause can tell.
    """

    def __init__(self, name: str, call: str, sticky: bool, remedy: str = "") -> None:
        self.name = name
        self.call = call
        self.sticky = sticky
        super().__init__(f"CUDA reported {name} in {call}.", remedy)

    def __reduce__(self) -> tuple[type[CudaError], tuple[str, str, bool, str]]:
        return type(self), (self.name, self.call, self.sticky, self.remedy)


class DeviceMemoryError(CudaError, InputError):
    """The GPU, or the host's pinned memory, has no room left. Not sticky; exit code 2."""

    exit_code = 2


def binding() -> Any:
    """The module ``cuda.bindings.driver``.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
    """
    loaded = sys.modules.get("cuda.bindings.driver")
    if loaded is not None:
        return loaded
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise MissingExtraError(
            "Running on an NVIDIA GPU", error.name or "cuda.bindings", "tensorrt"
        ) from error


def status_of(name: str, *arguments: Any) -> tuple[str, Any]:
    """Call ``cuda.bindings.driver.<name>``: CUDA's word on it, and its result or results.

    The word is ``"CUDA_SUCCESS"`` or the error's name. No result is None, several
    are a list.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        CudaError: the driver is older than the bindings and lacks the function.
    """
    function = getattr(binding(), name)
    try:
        status, *results = function(*arguments)
    except RuntimeError as error:
        # What the bindings raise where the library, or the function in it, is missing.
        said = (str(error).splitlines() or [""])[0].rstrip(".")
        raise CudaError(
            "CUDA_ERROR_NOT_FOUND", name, False, f"The bindings say: {said}."
        ) from error
    word = str(getattr(status, "name", status))
    return word, results[0] if len(results) == 1 else (results or None)


def call(name: str, *arguments: Any) -> Any:
    """As :func:`status_of`, for calls that have to succeed: returns the result alone.

    Raises:
        CudaError: the driver reported an error (perhaps of earlier, asynchronous work).
        DeviceMemoryError: that error is lack of memory.
    """
    word, result = status_of(name, *arguments)
    if word == "CUDA_SUCCESS":
        return result
    kind = DeviceMemoryError if word == "CUDA_ERROR_OUT_OF_MEMORY" else CudaError
    raise kind(word, name, word in STICKY, _REMEDIES.get(word, ""))


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
        call("cuCtxSetCurrent", self.context)

    def free_memory(self) -> int:
        """Bytes that are free now. On a Jetson the CPU's programs share them."""
        free, _ = call("cuMemGetInfo")
        return int(free)

    def synchronize(self) -> None:
        """Wait for everything that was queued on the context that is current here."""
        call("cuCtxSynchronize")


def device_count() -> int:
    """How many GPUs the driver shows.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: no driver, or no GPU; says the way out.
    """
    try:
        word, _ = status_of("cuInit", 0)
    except CudaError as error:
        raise InputError(
            f"No NVIDIA driver was found. {error.remedy}".rstrip(),
            "Install the driver (on a Jetson it comes with JetPack), or choose an engine for the"
            " CPU; 'acf-edge doctor' tells what is there.",
        ) from error
    if word == "CUDA_SUCCESS":
        word, count = status_of("cuDeviceGetCount")
        if word == "CUDA_SUCCESS" and int(count):
            return int(count)
        word = "CUDA_ERROR_NO_DEVICE" if word == "CUDA_SUCCESS" else word
    raise InputError(f"No NVIDIA GPU can be used here ({word}).", _NO_GPU.get(word, ""))


def open_device(ordinal: int = 0) -> Device:
    """Open a GPU: retain its primary context and make it current in this thread.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: no driver, no GPU, or no GPU of this number; says the way out.
        CudaError: the driver failed otherwise.
    """
    count = device_count()
    if not 0 <= ordinal < count:
        raise InputError(
            f"There is no GPU number {ordinal}.",
            f"The numbers here are 0 to {count - 1}." if count > 1 else "The one here is number 0.",
        )
    # CUdevice is the ordinal's type in the bindings; what cuDeviceGet gives is handed on.
    handle = call("cuDeviceGet", ordinal)
    kinds = binding().CUdevice_attribute

    def attribute(number: int) -> int:
        return int(call("cuDeviceGetAttribute", kinds(number), handle))

    version = int(call("cuDriverGetVersion"))
    context = int(call("cuDevicePrimaryCtxRetain", handle))
    device = Device(
        ordinal=ordinal,
        name=bytes(call("cuDeviceGetName", 256, handle)).split(b"\0")[0].decode(errors="replace"),
        sm=f"{attribute(_MAJOR)}{attribute(_MINOR)}",
        integrated=bool(attribute(_INTEGRATED)),
        memory=int(call("cuDeviceTotalMem", handle)),
        driver=f"{version // 1000}.{version % 1000 // 10}",
        context=context,
    )
    device.make_current()
    return device


class Stream:
    """A queue of work. ``Stream()`` makes one that does not wait for the default stream.

    Args:
        priority: lower runs first; 0 is the default, -1 and below are urgent.
            CUDA takes the nearest that the GPU has.

    Attributes:
        handle: the CUstream as a number.
    """

    def __init__(self, priority: int = 0) -> None:
        self._owned = True
        self.handle = int(call("cuStreamCreateWithPriority", _NON_BLOCKING, priority))

    @staticmethod
    def borrowed(handle: int) -> Stream:
        """A stream that somebody else made and closes (TensorRT's, PyTorch's)."""
        stream = Stream.__new__(Stream)
        stream._owned = False
        stream.handle = handle
        return stream

    def synchronize(self) -> None:
        """Wait until all that was queued here is done."""
        call("cuStreamSynchronize", self.handle)

    def idle(self) -> bool:
        """Whether all that was queued here is done."""
        return _done("cuStreamQuery", self.handle)

    def wait(self, event: Event) -> None:
        """Later work here runs after what ``event`` recorded last. Does not block the CPU.

        An event that recorded nothing yet holds up nothing; a later record does
        not change what was waited for.
        """
        call("cuStreamWaitEvent", self.handle, event.handle, 0)

    def close(self) -> None:
        """Give the stream back, after its work is done. A second call does nothing."""
        if self._owned and self.handle:
            handle, self.handle = self.handle, 0
            call("cuStreamDestroy", handle)


class Event:
    """A mark in a stream.

    Args:
        timing: :meth:`elapsed_ms` is wanted (costs a little).
        spin: :meth:`synchronize` burns a core and wakes sooner; else it sleeps.

    Attributes:
        handle: the CUevent as a number.
    """

    def __init__(self, timing: bool = False, spin: bool = False) -> None:
        flags = (0 if timing else _DISABLE_TIMING) | (0 if spin else _BLOCKING_SYNC)
        self.handle = int(call("cuEventCreate", flags))

    def record(self, stream: Stream | int) -> None:
        """Mark the work queued on ``stream`` until now. An earlier mark is forgotten."""
        call("cuEventRecord", self.handle, handle_of(stream))

    def query(self) -> bool:
        """Whether the marked work is done (True, too, where nothing was marked)."""
        return _done("cuEventQuery", self.handle)

    def synchronize(self) -> None:
        """Wait until the marked work is done."""
        call("cuEventSynchronize", self.handle)

    def elapsed_ms(self, since: Event) -> float:
        """Milliseconds between two marks that are done; both events have ``timing``."""
        return float(call("cuEventElapsedTime", since.handle, self.handle))

    def close(self) -> None:
        """Give the event back. A second call does nothing."""
        if self.handle:
            handle, self.handle = self.handle, 0
            call("cuEventDestroy", handle)


def handle_of(stream: Stream | int) -> int:
    """The raw handle of a stream."""
    return stream if isinstance(stream, int) else stream.handle


def _done(name: str, handle: int) -> bool:
    word, _ = status_of(name, handle)
    if word in ("CUDA_SUCCESS", "CUDA_ERROR_NOT_READY"):
        return word == "CUDA_SUCCESS"
    raise CudaError(word, name, word in STICKY, _REMEDIES.get(word, ""))
