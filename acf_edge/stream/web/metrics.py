"""The stream's figures as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds, seconds, of the histogram of what viewers see."""

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Histogram:
    """Counts per bucket of :data:`BUCKETS`, the last one for all above."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        place = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.counts[place] += 1
        self.total += seconds


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: with its unit.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: one line.
        samples: suffix of the name, labels, value.
    """

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[str, Labels, float]]


def render(metrics: Iterable[Metric]) -> str:
    """Write metric families as text; families without samples are left out."""
    lines: list[str] = []
    for metric in metrics:
        if not metric.samples:
            continue
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for suffix, labels, value in metric.samples:
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            shown = f"{{{inside}}}" if inside else ""
            lines.append(f"{metric.name}{suffix}{shown} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if float(value).is_integer() else repr(round(float(value), 9))


def histogram(name: str, text: str, counted: Histogram) -> Metric:
    """A family out of a :class:`Histogram`."""
    samples: list[tuple[str, Labels, float]] = []
    below = 0
    for bound, count in zip((*BUCKETS, math.inf), counted.counts, strict=True):
        below += count
        samples.append(("_bucket", (("le", _number(bound)),), below))
    samples += [("_sum", (), counted.total), ("_count", (), below)]
    return Metric(name, "histogram", text, samples)


def stream_metrics(stats: Mapping[str, Any]) -> list[Metric]:
    """What :meth:`Controls.stats` tells, as metric families. Missing values are left out."""
    sources = _rows(stats.get("sources"), "source")
    sinks = _rows(stats.get("sinks"), "sink")
    metrics = [
        _single("acf_edge_run_seconds", "gauge", "Since the stream began.", stats.get("seconds")),
        _single("acf_edge_output_frames_per_second", "gauge", "Enhanced frames.", stats.get("fps")),
        Metric(
            "acf_edge_source_up",
            "gauge",
            "1 while the source delivers.",
            [("", labels, float(row.get("state") == "live")) for labels, row in sources],
        ),
        _column(
            "acf_edge_source_captured_frames_total",
            "counter",
            "Frames captured.",
            sources,
            "captured",
        ),
        _column(
            "acf_edge_source_enhanced_frames_total",
            "counter",
            "Frames that went through the engine.",
            sources,
            "frames",
        ),
        _column(
            "acf_edge_source_dropped_frames_total",
            "counter",
            "Frames dropped because newer ones were there.",
            sources,
            "dropped",
        ),
        _column(
            "acf_edge_source_reconnects_total",
            "counter",
            "Times a lost source came back.",
            sources,
            "reconnects",
        ),
        _column("acf_edge_source_queue_frames", "gauge", "Frames waiting.", sources, "queue"),
        Metric(
            "acf_edge_stage_latency_seconds",
            "gauge",
            "Latency of a stage, or end to end, by quantile.",
            list(_latencies(sources)),
        ),
        Metric(
            "acf_edge_sink_up",
            "gauge",
            "1 while the sink takes frames.",
            [("", labels, float(row.get("state") == "open")) for labels, row in sinks],
        ),
        _column("acf_edge_sink_frames_total", "counter", "Frames delivered.", sinks, "frames"),
        _column(
            "acf_edge_sink_dropped_frames_total", "counter", "Frames left out.", sinks, "dropped"
        ),
        _column("acf_edge_sink_queue_frames", "gauge", "Frames waiting.", sinks, "queue"),
    ]
    return metrics + _governor_metrics(stats.get("governor"))


def _governor_metrics(governor: object) -> list[Metric]:
    if not isinstance(governor, Mapping):
        return []
    frames = governor.get("frames")
    names = governor.get("rungs")
    counted: list[tuple[str, Any]] = []
    if isinstance(frames, Mapping):
        counted = [(str(name), value) for name, value in frames.items()]
    elif isinstance(frames, Sequence) and isinstance(names, Sequence):
        counted = [(str(name), value) for name, value in zip(names, frames, strict=False)]
    active = str(governor.get("name", ""))
    return [
        Metric(
            "acf_edge_rung_frames_total",
            "counter",
            "Frames that each engine of the ladder made.",
            [("", (("rung", n),), float(v)) for n, v in counted if _is_number(v)],
        ),
        Metric(
            "acf_edge_rung_active",
            "gauge",
            "1 for the engine in use.",
            [("", (("rung", n),), float(n == active)) for n, _ in counted],
        ),
        _single(
            "acf_edge_frames_in_time_total", "counter", "Frames in time.", governor.get("in_time")
        ),
        _single("acf_edge_frames_late_total", "counter", "Frames too late.", governor.get("late")),
        _single(
            "acf_edge_rung_steps_down_total",
            "counter",
            "Steps to a faster engine.",
            governor.get("steps_down"),
        ),
        _single(
            "acf_edge_rung_steps_up_total",
            "counter",
            "Steps to a better engine.",
            governor.get("steps_up"),
        ),
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _single(name: str, kind: str, text: str, value: object) -> Metric:
    samples: list[tuple[str, Labels, float]] = []
    if isinstance(value, (int, float)) and _is_number(value):
        samples = [("", (), float(value))]
    return Metric(name, kind, text, samples)


def _rows(rows: object, label: str) -> list[tuple[Labels, Mapping[str, Any]]]:
    if not isinstance(rows, Sequence):
        return []
    return [
        (
            (
                (label, str(row.get("number", place))),
                ("uri", str(row.get("uri", ""))),
            ),
            row,
        )
        for place, row in enumerate(rows)
        if isinstance(row, Mapping)
    ]


def _column(
    name: str, kind: str, text: str, rows: list[tuple[Labels, Mapping[str, Any]]], key: str
) -> Metric:
    return Metric(
        name,
        kind,
        text,
        [("", labels, float(row[key])) for labels, row in rows if _is_number(row.get(key))],
    )


def _latencies(
    rows: list[tuple[Labels, Mapping[str, Any]]],
) -> Iterable[tuple[str, Labels, float]]:
    for labels, row in rows:
        stages = row.get("latency_ms")
        for stage, values in stages.items() if isinstance(stages, Mapping) else ():
            for name, value in values.items() if isinstance(values, Mapping) else ():
                if str(name).startswith("p") and str(name)[1:].isdigit() and _is_number(value):
                    quantile = _number(int(str(name)[1:]) / 100)
                    more = (("stage", str(stage)), ("quantile", quantile))
                    yield "", (*labels[:1], *more), float(value) / 1000
