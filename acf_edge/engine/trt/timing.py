"""How long one frame takes in a plan that was just compiled."""

from __future__ import annotations

import statistics
from typing import Final

from acf_edge.cuda.driver import Event, Stream, open_device
from acf_edge.cuda.memory import DeviceBuffer
from acf_edge.engine.trt.api import TrtApi
from acf_edge.engine.trt.contexts import Binding
from acf_edge.engine.trt.engine_file import CHANNELS, load_plan
from acf_edge.engine.trt.profiles import Size

WARMUP: Final = 10
RUNS: Final = 50


def time_plan(api: TrtApi, plan: bytes, scale: int, size: Size, runs: int = RUNS) -> float:
    """Median milliseconds of one frame on the GPU, copies to and from it left out.

    Measured with CUDA events around each frame, frame by frame, after a warm-up.

    Args:
        api: what compiled the plan; plugins that it needs are registered.
        plan: bytes of the engine.
        scale: up-sampling factor.
        size: ``(width, height)`` of the picture that goes in.
        runs: frames that count.

    Raises:
        InputError: the plan cannot be loaded here, or does not take this size.
        CudaError: the GPU failed.
    """
    open_device()
    engine = load_plan(api, plan, "the new engine", scale)
    stream = Stream()
    pixels = CHANNELS * size[0] * size[1]
    buffers: list[DeviceBuffer] = []
    binding = None
    try:
        for length in (pixels, pixels * scale**2, engine.memory):
            buffers.append(DeviceBuffer(max(1, length)))
        binding = Binding(engine, size, buffers[2].pointer, stream)
        binding.bind(buffers[0].pointer, buffers[1].pointer)
        times = []
        for index in range(WARMUP + runs):
            begun, ended = Event(timing=True), Event(timing=True, spin=True)
            begun.record(stream)
            binding.queue_plain(stream)
            ended.record(stream)
            ended.synchronize()
            if index >= WARMUP:
                times.append(ended.elapsed_ms(begun))
            begun.close()
            ended.close()
        return statistics.median(times)
    finally:
        stream.synchronize()
        if binding is not None:
            binding.close()
        for buffer in buffers:
            buffer.close()
        stream.close()
