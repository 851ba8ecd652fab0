"""Arrays on the GPU that pass to and from PyTorch, CuPy and PyCUDA without a copy.

Two protocols do it: ``__cuda_array_interface__`` (an address in a dictionary)
and DLPack (a C structure in a capsule, with its stream rules). See
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html and
https://dmlc.github.io/dlpack/latest/python_spec.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from acf_edge.cuda import dlpack
from acf_edge.cuda.driver import Event, Stream, handle_of
from acf_edge.errors import InputError

_LEGACY, _PER_THREAD = 1, 2  # the default streams, as both protocols and the driver number them


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on the GPU.

    It has ``__cuda_array_interface__`` (version 3), ``__dlpack__`` and ``__dlpack_device__``.

    Args:
        pointer: GPU address of the first element.
        shape: extents; any may be 0.
        dtype: NumPy dtype of the elements.
        owner: what keeps the memory alive (a DeviceBuffer, a torch tensor). Who
            takes the array by ``__cuda_array_interface__`` keeps the array alive.
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
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape and type; consumers order themselves after ``stream``."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer if self.size else 0, False),
            "strides": None,
            # 0 is not allowed there: it could be either of the default streams.
            "stream": _LEGACY if self.stream == 0 else self.stream,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's kind of device (2: CUDA) and the GPU's ordinal."""
        return dlpack.CUDA, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule for another library's ``from_dlpack``; keeps the array alive.

        Args:
            stream: the consumer's stream, which is made to wait for ``self.stream``;
                None: the legacy default stream; -1: the consumer orders the work.
            max_version: ignored: an unversioned capsule, which every consumer takes.
            dl_device: where it is wanted: here, or nowhere.
            copy: True is refused.

        Raises:
            BufferError: another device or a copy is wanted, or DLPack lacks the dtype.
        """
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("the array is neither copied nor moved to another device")
        if self.stream is not None and stream != -1:
            _order(_LEGACY if stream is None else stream, self.stream)
        return dlpack.wrap(self, self.pointer, self.shape, self.dtype, self.device)


def as_device_array(obj: object, stream: Stream | int | None = None) -> DeviceArray:
    """Take in an array of another library, without a copy.

    Args:
        obj: anything with ``__cuda_array_interface__`` or ``__dlpack__`` on a
            CUDA device; the result keeps it alive.
        stream: the stream that will use it; it is made to wait for the producer's
            pending work. None: the caller orders the work, after the result's
            ``stream`` where that is not None.

    Raises:
        InputError: not on a CUDA device, not C-contiguous, a dtype that NumPy lacks.
    """
    if isinstance(obj, DeviceArray):
        found = obj
    # DLPack first: it tells the device's ordinal, and PyTorch refuses the other
    # one for tensors that require a gradient only when it is read.
    elif hasattr(obj, "__dlpack__") and hasattr(obj, "__dlpack_device__"):
        return _from_dlpack(obj, stream)
    elif hasattr(obj, "__cuda_array_interface__"):
        found = _from_interface(obj, obj.__cuda_array_interface__)
    else:
        raise InputError(
            f"A {type(obj).__name__} is no array on a GPU.",
            "Give a tensor of PyTorch or CuPy that lies on a CUDA device.",
        )
    if stream is not None and found.stream is not None:
        _order(handle_of(stream), found.stream)
        return DeviceArray(found.pointer, found.shape, found.dtype, found.owner, None, found.device)
    return found


def _order(later: int, earlier: int) -> None:
    """Make what is queued on ``later`` from now on wait for what ``earlier`` holds now."""
    if later == earlier:
        return
    event = Event()
    try:
        event.record(earlier)
        Stream.borrowed(later).wait(event)
    finally:
        event.close()  # CUDA keeps it until the wait is over


def _from_interface(obj: object, told: dict[str, Any]) -> DeviceArray:
    shape = tuple(int(extent) for extent in told["shape"])
    dtype = np.dtype(told["typestr"])
    if told.get("mask") is not None:
        raise InputError("A masked array on the GPU cannot be taken.", "Fill its gaps first.")
    if dtype.byteorder == ">" or dtype.hasobject or dtype.names:
        raise InputError(f"An array of '{told['typestr']}' cannot be taken.", "Convert it first.")
    strides = told.get("strides")
    _contiguous(shape, tuple(strides) if strides is not None else None, dtype.itemsize)
    stream = told.get("stream")
    return DeviceArray(int(told["data"][0] or 0), shape, dtype, obj, stream)


def _from_dlpack(obj: Any, stream: Stream | int | None) -> DeviceArray:
    kind, device = (int(value) for value in obj.__dlpack_device__())
    if kind not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
        raise InputError(
            f"A {type(obj).__name__} does not lie on a CUDA device.",
            "Move it there first, e.g. tensor.cuda().",
        )
    # Without a stream the caller orders the work, and has to know after what. The
    # producer makes the legacy stream wait then: that is where work is pending. 0,
    # which is that stream for the driver, is not allowed in DLPack.
    pending = _LEGACY if stream is None else None
    consumer = _LEGACY if stream is None else handle_of(stream) or _LEGACY
    try:
        taken = dlpack.unwrap(obj.__dlpack__(stream=consumer))
    except (BufferError, ValueError) as error:
        raise InputError(
            f"The {type(obj).__name__} cannot be taken: {error}.", "Convert it first."
        ) from error
    strides = taken.strides
    if strides is not None:
        strides = tuple(step * taken.dtype.itemsize for step in strides)
    _contiguous(taken.shape, strides, taken.dtype.itemsize)
    return DeviceArray(taken.pointer, taken.shape, taken.dtype, taken, pending, device)


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> None:
    if strides is None or 0 in shape:
        return
    step = itemsize
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != step:
            raise InputError(
                f"An array on the GPU of shape {shape} and strides {strides} has gaps or"
                " another order of axes.",
                "Make it C-contiguous first, e.g. tensor.contiguous().",
            )
        step *= extent
