"""The kernels compiled for a GPU, its memory and its streams; knows nothing of TensorRT.

Nothing here needs a compiler: NVRTC turns ``kernels/*.cu`` into a cubin for one
SM, on any machine, with or without a GPU. What needs a GPU goes through
``cuda.bindings.driver``, which is imported when the first device is opened.

Rules that CUDA leaves to the caller, and so do we:

* A thread that was not the one to call :func:`open_device` calls
  ``device.make_current()`` once before it uses anything else.
* Work on two streams is ordered by events alone (``stream.wait(event)``).
* A buffer outlives the work that was queued on it: synchronize, then close.
"""

from __future__ import annotations

from acf_edge.cuda.array import DeviceArray, as_device_array
from acf_edge.cuda.cubin import Cubin, Resources
from acf_edge.cuda.driver import CudaError, Device, Event, Stream, open_device
from acf_edge.cuda.graph import Graph
from acf_edge.cuda.kernels import Kernels, load_kernels
from acf_edge.cuda.memory import DeviceBuffer, HostBuffer, copy_device, copy_in, copy_out, fill
from acf_edge.cuda.nvrtc import compile_cubin
from acf_edge.cuda.sources import kernel_hash

__all__ = [
    "Cubin",
    "CudaError",
    "Device",
    "DeviceArray",
    "DeviceBuffer",
    "Event",
    "Graph",
    "HostBuffer",
    "Kernels",
    "Resources",
    "Stream",
    "as_device_array",
    "compile_cubin",
    "copy_device",
    "copy_in",
    "copy_out",
    "fill",
    "kernel_hash",
    "load_kernels",
    "open_device",
]
