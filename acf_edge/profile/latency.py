"""Milliseconds per layer: where the time of one frame goes.

How it is measured. The model runs three times over in one process: half of
the plain runs, then all runs with ONNX Runtime's profiler on, then the other
half of the plain runs, each in a session of its own (two at once would fight
for the cores). A layer's time is the kernel's, from the profiler. The total is
the wall time of the *profiled* runs, so that the layers and the row
"(runtime)", which is what no kernel accounts for, add up to it. The plain runs
give ``unprofiled_ms`` beside it, which shows what the profiler itself costs;
nothing is scaled to make them meet.

Every number is a mean over the same runs, the half whose totals lie in the
middle: means add up where medians do not, and outliers stay out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from acf_edge.engine.bundle import MODEL_FILE, Bundle, open_bundle
from acf_edge.engine.graph import Graph, read_graph
from acf_edge.errors import InputError
from acf_edge.profile.layer_times import (
    OVERHEAD_NAME,
    LatencyProfile,
    LayerTime,
    summarize,
    time_runs,
)
from acf_edge.profile.owners import Owners
from acf_edge.profile.trace import kernels_per_run
from acf_edge.resources import default_bundle

__all__ = ["OVERHEAD_NAME", "LatencyProfile", "LayerTime", "parse_size", "profile_bundle"]

MAX_RUNS: Final = 1000
MAX_PIXELS: Final = 64_000_000


def parse_size(text: str) -> tuple[int, int]:
    """``"320x180"`` -> ``(320, 180)``: width and height in pixels.

    Raises:
        InputError: not two whole numbers, or more pixels than memory could hold.
    """
    width, cross, height = text.lower().partition("x")
    if not (
        cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()
    ):
        raise InputError(f"'{text}' is no size.", "Write width x height in pixels, e.g. 320x180.")
    size = int(width[:9]), int(height[:9])
    if 0 in size or size[0] * size[1] > MAX_PIXELS or max(map(len, (width, height))) > 9:
        raise InputError(
            f"The size '{text}' is out of range.",
            f"Give at least 1x1 and at most {MAX_PIXELS // 10**6} megapixels.",
        )
    return size


def profile_bundle(
    bundle: Bundle | Path | str | None,
    width: int,
    height: int,
    *,
    runs: int = 30,
    warmup: int = 5,
    threads: int | None = None,
) -> LatencyProfile:
    """Measure a bundle, layer by layer, on a frame of noise.

    Args:
        bundle: the folder or an opened one; None = the shipped bundle.
        width: of the frame in pixels. ``height``: likewise.
        runs: profiled runs, and as many plain ones; 1..1000.
        warmup: runs before them that do not count, in each session; >= 0.
        threads: for one operator; None = all physical cores.

    Raises:
        InputError: no bundle, a backend that cannot be profiled, numbers out of range.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise InputError(f"{runs} runs are out of range.", f"Give 1 to {MAX_RUNS}.")
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(default_bundle() if bundle is None else bundle)
    if bundle.passport.backend != "onnxruntime":
        from acf_edge.profile.gpu_latency import profile_on_gpu

        return profile_on_gpu(bundle, width, height, runs=runs, warmup=warmup)
    from acf_edge.engine.ort import OrtEngine

    passport, model = bundle.passport, bundle.read(MODEL_FILE)
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def engine(**options: Any) -> OrtEngine:
        return OrtEngine(
            model, name=passport.name, scale=passport.scale, threads=threads, **options
        )

    first = engine()
    plain = time_runs(lambda: first.run(frame), (runs + 1) // 2, warmup)
    threads_used = first.threads
    first.close()
    with tempfile.TemporaryDirectory(prefix="acf-edge-") as folder:
        optimized = Path(folder) / "running.onnx"
        profiled = engine(profile=True, optimized=optimized)
        walls = time_runs(lambda: profiled.run(frame), runs, warmup)
        kernels = kernels_per_run(profiled.end_profiling())[-runs:]
        profiled.close()
        running = _read_running(optimized)
    second = engine()
    plain += time_runs(lambda: second.run(frame), max(1, runs // 2), warmup)
    second.close()

    return summarize(
        bundle,
        (width, height),
        threads_used,
        walls,
        plain,
        kernels,
        Owners(read_graph(model), running),
        _runtime(),
    )


def _read_running(path: Path) -> Graph | None:
    try:
        return read_graph(path.read_bytes())
    except (OSError, InputError):
        return None


def _runtime() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"
