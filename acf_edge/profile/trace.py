"""Reading ONNX Runtime's own profile: which kernels ran in which run, and how long."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

_KERNEL: Final = "_kernel_time"
_RUN: Final = "model_run"


@dataclass(frozen=True)
class Kernel:
    """One kernel of one run.

    Attributes:
        name: of the node in the graph that really ran.
        occurrence: 0 for the first kernel of that name in its run, 1 for the next ...
        op: operator type, e.g. ``"QLinearConv"``.
        provider: execution provider.
        start: microseconds, on the trace's own clock.
        duration: microseconds.
    """

    name: str
    occurrence: int
    op: str
    provider: str
    start: int
    duration: int


def kernels_per_run(trace: str) -> list[list[Kernel]]:
    """Group the kernels of a trace by the run they belong to, in order of execution.

    Kernels inside the body of a control-flow node are left out: the time of
    the node itself has them in it.

    Args:
        trace: the JSON text that ONNX Runtime wrote (Chrome trace events).
    """
    events: list[dict[str, Any]] = json.loads(trace)
    spans = sorted(
        (int(event["ts"]), int(event["ts"]) + int(event["dur"]))
        for event in events
        if event.get("name") == _RUN
    )
    starts = [start for start, _ in spans]
    runs: list[list[dict[str, Any]]] = [[] for _ in spans]
    for event in events:
        if event.get("cat") != "Node" or not str(event.get("name", "")).endswith(_KERNEL):
            continue
        run = bisect_right(starts, int(event["ts"])) - 1
        if run >= 0 and int(event["ts"]) <= spans[run][1]:
            runs[run].append(event)
    return [_outermost(run) for run in runs]


def _outermost(events: list[dict[str, Any]]) -> list[Kernel]:
    seen: Counter[str] = Counter()
    kernels: list[Kernel] = []
    end = -1
    # The longer of two that start in the same microsecond is the outer one.
    for event in sorted(events, key=lambda event: (int(event["ts"]), -int(event["dur"]))):
        start, duration = int(event["ts"]), int(event["dur"])
        if start + duration <= end and start < end:
            continue
        end = start + duration
        name = str(event["name"]).removesuffix(_KERNEL)
        arguments = event.get("args", {})
        kernels.append(
            Kernel(
                name=name,
                occurrence=seen[name],
                op=str(arguments.get("op_name", "")),
                provider=str(arguments.get("provider", "")),
                start=start,
                duration=duration,
            )
        )
        seen[name] += 1
    return kernels
