"""What a latency profile is, and how runs become one. Knows no backend."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final

from acf_edge.engine.bundle import Bundle
from acf_edge.profile.machine import Machine, describe_machine
from acf_edge.profile.owners import RUNTIME, Owners
from acf_edge.profile.trace import Kernel

OVERHEAD_NAME: Final = "(runtime overhead)"


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


def summarize(
    bundle: Bundle,
    size: tuple[int, int],
    threads: int,
    walls: list[float],
    plain: list[float],
    kernels: list[list[Kernel]],
    owners: Owners,
    runtime: str,
) -> LatencyProfile:
    """Put runs together.

    Args:
        bundle: what ran.
        size: ``(width, height)`` of the frame.
        threads: that it ran with.
        walls: milliseconds of each profiled run. ``plain``: of each run without the profiler.
        kernels: of each profiled run.
        owners: whose each kernel is.
        runtime: what ran it.
    """
    passport = bundle.passport
    middle = _middle(walls)
    total = statistics.fmean(walls[index] for index in middle)
    layers = _layers([kernels[index] for index in middle], owners, total)
    overhead = total - sum(layer.ms for layer in layers)
    layers.append(LayerTime(OVERHEAD_NAME, "", RUNTIME, overhead, overhead / total, 1, ""))
    return LatencyProfile(
        engine=passport.name,
        width=size[0],
        height=size[1],
        scale=passport.scale,
        threads=threads,
        runs=len(walls),
        total_ms=total,
        unprofiled_ms=statistics.fmean(plain[index] for index in _middle(plain)),
        overhead_ms=overhead,
        layers=tuple(layers),
        machine=describe_machine(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        runtime=runtime,
    )


def time_runs(run: Callable[[], object], runs: int, warmup: int) -> list[float]:
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
