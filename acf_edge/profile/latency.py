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

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np

from acf_edge.engine.bundle import MODEL_FILE, Bundle, open_bundle
from acf_edge.engine.graph import Graph, read_graph
from acf_edge.errors import InputError
from acf_edge.profile.machine import Machine, describe_machine
from acf_edge.profile.owners import RUNTIME, Owners
from acf_edge.profile.trace import Kernel, kernels_per_run
from acf_edge.resources import default_bundle

OVERHEAD_NAME: Final = "(runtime overhead)"
MAX_RUNS: Final = 1000
MAX_PIXELS: Final = 64_000_000


@dataclass(frozen=True)
class LayerTime:
    """One layer of the graph that really ran.

    Attributes:
        name: of its node.
        op: operator type, e.g. ``"QLinearConv"``.
        module: the network's module that owns it; ``"(runtime)"`` for the
            overhead, ``"(layout)"`` for what no module owns.
        ms: milliseconds per frame.
        share: of the total, 0..1.
        calls: kernel calls per frame.
        provider: the execution provider.
    """

    name: str
    op: str
    module: str
    ms: float
    share: float
    calls: int
    provider: str


@dataclass(frozen=True)
class LatencyProfile:
    """Where the time of one frame goes.

    Attributes:
        engine: its name, e.g. ``"acf-t-x4 int8"``.
        width, height: of the input in pixels. ``scale``: up-sampling factor.
        threads: for one operator.
        runs: profiled runs that were made.
        total_ms: wall time of one profiled frame; the layers add up to it.
        unprofiled_ms: wall time of one frame without the profiler.
        overhead_ms: what of ``total_ms`` no kernel accounts for.
        layers: in order of execution; the last is the overhead.
        machine: where it was measured. ``date``: when, UTC, ISO 8601.
        runtime: e.g. ``"onnxruntime 1.24.1"``.
    """

    engine: str
    width: int
    height: int
    scale: int
    threads: int
    runs: int
    total_ms: float
    unprofiled_ms: float
    overhead_ms: float
    layers: tuple[LayerTime, ...]
    machine: Machine
    date: str
    runtime: str

    def modules(self, depth: int = 2) -> list[tuple[str, float]]:
        """Milliseconds per module, paths cut to ``depth`` parts, the slowest first."""
        sums: dict[str, float] = {}
        for layer in self.layers:
            name = ".".join(layer.module.split(".")[:depth])
            sums[name] = sums.get(name, 0.0) + layer.ms
        return sorted(sums.items(), key=lambda item: -item[1])

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        data = {name: value for name, value in vars(self).items() if name != "machine"}
        return data | {
            "layers": [asdict(layer) for layer in self.layers],
            "machine": self.machine.to_json(),
        }

    def dumps(self) -> str:
        """The profile as JSON text."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"


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
        raise InputError(
            f"'{bundle.path}' runs on '{bundle.passport.backend}', which has no profiler here.",
            "Profile a bundle that is built for the target 'cpu'.",
        )
    from acf_edge.engine.ort import OrtEngine

    passport, model = bundle.passport, bundle.read(MODEL_FILE)
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def engine(**options: Any) -> OrtEngine:
        return OrtEngine(
            model, name=passport.name, scale=passport.scale, threads=threads, **options
        )

    first = engine()
    plain = _time_runs(lambda: first.run(frame), (runs + 1) // 2, warmup)
    threads_used = first.threads
    first.close()
    with tempfile.TemporaryDirectory(prefix="acf-edge-") as folder:
        optimized = Path(folder) / "running.onnx"
        profiled = engine(profile=True, optimized=optimized)
        walls = _time_runs(lambda: profiled.run(frame), runs, warmup)
        kernels = kernels_per_run(profiled.end_profiling())[-runs:]
        profiled.close()
        running = _read_running(optimized)
    second = engine()
    plain += _time_runs(lambda: second.run(frame), max(1, runs // 2), warmup)
    second.close()

    middle = _middle(walls)
    total = statistics.fmean(walls[index] for index in middle)
    owners = Owners(read_graph(model), running)
    layers = _layers([kernels[index] for index in middle], owners, total)
    overhead = total - sum(layer.ms for layer in layers)
    layers.append(LayerTime(OVERHEAD_NAME, "", RUNTIME, overhead, overhead / total, 1, ""))
    return LatencyProfile(
        engine=passport.name,
        width=width,
        height=height,
        scale=passport.scale,
        threads=threads_used,
        runs=runs,
        total_ms=total,
        unprofiled_ms=statistics.fmean(plain[index] for index in _middle(plain)),
        overhead_ms=overhead,
        layers=tuple(layers),
        machine=describe_machine(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        runtime=_runtime(),
    )


def _time_runs(run: Callable[[], object], runs: int, warmup: int) -> list[float]:
    """Wall milliseconds of each run."""
    for _ in range(warmup):
        run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _middle(times: list[float]) -> list[int]:
    """Places of the half of ``times`` that lies around the median."""
    order = sorted(range(len(times)), key=times.__getitem__)
    cut = len(order) // 4
    return order[cut : len(order) - cut]


def _layers(runs: list[list[Kernel]], owners: Owners, total: float) -> list[LayerTime]:
    calls: dict[tuple[str, int], list[Kernel]] = {}
    for kernel in sorted((one for run in runs for one in run), key=lambda one: one.start):
        calls.setdefault((kernel.name, kernel.occurrence), []).append(kernel)
    firsts = [kernels[0] for kernels in calls.values()]
    modules = owners.modules([(kernel.name, kernel.op) for kernel in firsts])
    layers = []
    for first, module, kernels in zip(firsts, modules, calls.values(), strict=True):
        ms = sum(kernel.duration for kernel in kernels) / 1e3 / len(runs)
        layers.append(LayerTime(first.name, first.op, module, ms, ms / total, 1, first.provider))
    return layers


def _read_running(path: Path) -> Graph | None:
    try:
        return read_graph(path.read_bytes())
    except (OSError, InputError):
        return None


def _runtime() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"
