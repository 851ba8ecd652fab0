"""Milliseconds per layer of an engine for a GPU.

As on the CPU: half of the plain runs, the profiled runs, the other half. TensorRT's profiler
times every layer on the GPU and keeps layers from overlapping, so a profiled frame is slower
than a plain one; the plain runs replay CUDA graphs, as the stream does. The overhead is what a
frame costs beside its layers: copies, launches, waiting.
"""

from __future__ import annotations

import numpy as np

from acf_edge.engine.bundle import MODEL_FILE, PLUGIN_FILE, Bundle
from acf_edge.engine.graph import read_graph
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.runtime import open_trt
from acf_edge.profile.layer_times import LatencyProfile, summarize, time_runs
from acf_edge.profile.owners import Owners
from acf_edge.profile.trace import kernels_per_run


def profile_on_gpu(
    bundle: Bundle, width: int, height: int, *, runs: int, warmup: int
) -> LatencyProfile:
    """Measure a bundle for TensorRT or TensorRT-RTX, layer by layer, on a frame of noise.

    Args:
        bundle: compiled for this machine's GPU.
        width: of the frame in pixels. ``height``: likewise.
        runs: profiled runs, and as many plain ones.
        warmup: runs before them that do not count.

    Raises:
        InputError: no GPU, an engine for another machine, a size that it was not compiled for.
    """
    passport = bundle.passport
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def plain_runs(count: int) -> list[float]:
        engine = open_trt(bundle, Options(spin=True))
        try:
            return time_runs(lambda: engine.run(frame), count, warmup)
        finally:
            engine.close()

    plain = plain_runs((runs + 1) // 2)
    profiled = open_trt(bundle, profile=True)
    try:
        device = profiled.device.name
        walls = time_runs(lambda: profiled.run(frame), runs, warmup)
        kernels = kernels_per_run(profiled.end_profiling())[-runs:]
    finally:
        profiled.close()
    plain += plain_runs(max(1, runs // 2))
    ran = PLUGIN_FILE if passport.plugin_hash is not None else MODEL_FILE
    owners = Owners(read_graph(bundle.read(ran)), None)
    library = f"{passport.runtime} {passport.runtime_version} on {device}"
    return summarize(bundle, (width, height), 1, walls, plain, kernels, owners, library)
