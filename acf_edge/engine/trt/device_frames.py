"""Pictures that lie on the GPU already, from and for PyTorch, CuPy, PyCUDA and the like."""

from __future__ import annotations

import contextlib
from typing import Final

import numpy as np

from acf_edge.cuda.array import DeviceArray, as_device_array
from acf_edge.cuda.driver import Device, Event, Stream
from acf_edge.cuda.memory import DeviceBuffer, copy_device
from acf_edge.engine.trt.engine_file import CHANNELS
from acf_edge.engine.trt.pipeline import Pipeline
from acf_edge.engine.trt.profiles import choose_profile
from acf_edge.errors import AcfError, InputError

ALIGNMENT: Final = 256
"""Bytes; TensorRT's demand on the address of a tensor."""


class OwnedBuffer:
    """Memory on the GPU that is given back with the last array that refers to it."""

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self._buffer = DeviceBuffer(size)

    @property
    def pointer(self) -> int:
        """The GPU's address."""
        return self._buffer.pointer

    def __del__(self) -> None:
        # Whoever drops the last array may have queued work with it. Of a lost context nothing
        # can be freed.
        with contextlib.suppress(AcfError, AttributeError, TypeError):
            self._device.make_current()
            self._device.synchronize()
            self._buffer.close()


class DeviceFrames:
    """Runs them, on the engine's own stream; one call at a time.

    Args:
        pipeline: of the engine.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._aligned: list[DeviceBuffer | None] = [None, None]
        self._mark = Event()

    def run(
        self, picture: object, out: object = None, stream: Stream | int | None = None
    ) -> DeviceArray:
        """As :meth:`acf_edge.engine.trt.runtime.TrtEngine.run_device`."""
        pipeline, compute = self._pipeline, self._pipeline.compute
        pipeline.device.make_current()
        theirs = Stream.borrowed(stream) if isinstance(stream, int) else stream
        taken = as_device_array(picture, compute)
        height, width = _sides(taken, "picture", pipeline.device)
        choose_profile(pipeline.engine.profiles, width, height)
        scale = pipeline.engine.scale
        shape = (*taken.shape[:-3], height * scale, width * scale, CHANNELS)
        given = self._result(out, shape)
        with pipeline.watched():
            binding = pipeline.bind_devices(width, height)
            if theirs is not None:
                self._mark.record(theirs)
                compute.wait(self._mark)
            source, target = taken.pointer, given.pointer
            if source % ALIGNMENT:
                source = self._aside(0, pipeline.engine.in_size)
                copy_device(source, taken.pointer, taken.size, compute)
            if target % ALIGNMENT:
                target = self._aside(1, pipeline.engine.out_size)
            binding.bind(source, target)
            binding.queue_plain(compute)
            if target != given.pointer:
                copy_device(given.pointer, target, given.size, compute)
            if theirs is None:
                compute.synchronize()
                return given
            self._mark.record(compute)
            theirs.wait(self._mark)
        return DeviceArray(
            given.pointer,
            given.shape,
            given.dtype,
            (given.owner, taken),
            theirs.handle,
            pipeline.device.ordinal,
        )

    def close(self) -> None:
        """Give back what lies on the GPU, after its work is done. A second call does nothing."""
        with contextlib.suppress(AcfError):
            self._pipeline.device.make_current()
            self._pipeline.compute.synchronize()
            self._mark.close()
            for buffer in self._aligned:
                if buffer is not None:
                    buffer.close()
        self._aligned = [None, None]

    def _result(self, out: object, shape: tuple[int, ...]) -> DeviceArray:
        device = self._pipeline.device
        if out is None:
            owner = OwnedBuffer(device, int(np.prod(shape)))
            return DeviceArray(
                owner.pointer, shape, np.dtype(np.uint8), owner, None, device.ordinal
            )
        given = as_device_array(out, self._pipeline.compute)
        _sides(given, "result", device)
        if given.shape != shape:
            raise InputError(
                f"The array for the result has the shape {given.shape}; the result has {shape}.",
                "Give an array of that shape, or none.",
            )
        return DeviceArray(
            given.pointer, given.shape, given.dtype, given.owner, None, device.ordinal
        )

    def _aside(self, which: int, size: int) -> int:
        buffer = self._aligned[which]
        if buffer is None:
            buffer = self._aligned[which] = DeviceBuffer(size)
        return buffer.pointer


def _sides(array: DeviceArray, what: str, device: Device) -> tuple[int, int]:
    """Height and width of a picture on this GPU."""
    shape = array.shape
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if array.dtype != np.uint8 or len(shape) != 3 or shape[2] != CHANNELS or 0 in shape:
        raise InputError(
            f"A {what} of the shape {array.shape} and dtype {array.dtype} cannot be used.",
            "Give uint8 RGB as (height, width, 3), at least 1 x 1.",
        )
    if array.device != device.ordinal:
        raise InputError(
            f"The {what} lies on the GPU number {array.device}, the engine on {device.ordinal}.",
            "Bring both to the same GPU.",
        )
    return shape[0], shape[1]
