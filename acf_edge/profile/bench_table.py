"""A benchmark as tables on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acf_edge.profile.bench import Bench
from acf_edge.profile.bench_engine import EngineBench
from acf_edge.profile.bench_file import FileBench

_WORDS = {
    "file": "file to file",
    "decode": "decoding alone",
    "engine": "engine alone",
    "encode": "encoding alone",
}


def bench_table(bench: Bench) -> RenderableType:
    """Milliseconds and ratios, frames per second, and where they were measured."""
    options = bench.options
    size = (
        f"{options.width}x{options.height} -> "
        f"{options.width * bench.scale}x{options.height * bench.scale}"
    )
    parts: list[RenderableType] = []
    if bench.engine is not None:
        parts += _engine(bench.engine, f"one frame, {size}")
    if bench.file is not None:
        parts += _file(bench.file, f"video, {size}")
    threads = f"{options.threads} thread{'s' if options.threads != 1 else ''}"
    versions = ", ".join(f"{name} {bench.versions[name]}" for name in ("onnxruntime", "av"))
    parts.append(Text(f"{bench.bundle['name']}; {threads}; {bench.machine}; {versions}"))
    if bench.busy:
        parts.append(
            Text(
                f"The machine was busy (load {bench.load:.1f}) when this began: "
                "measure again when it is idle.",
                style="yellow",
            )
        )
    return Group(*parts)


def _engine(bench: EngineBench, title: str) -> list[RenderableType]:
    table = _table(title, "engine", ("median ms", "95 % ms", "frames/s"))
    for timing in bench.timings:
        table.add_row(
            Text(timing.name), *_numbers(timing.median_ms, timing.p95_ms), f"{timing.fps:.1f}"
        )
    names = {timing.role: timing.name for timing in bench.timings}
    lines = [
        f"{names[ratio.of]} takes {ratio.median:.2f} times as long as {names[ratio.to]} "
        f"({min(ratio.samples):.2f}–{max(ratio.samples):.2f} in {bench.rounds} rounds)"
        for ratio in bench.ratios
        if ratio.of != "bicubic"
    ]
    return [table, Text("\n".join([*lines, ""]))]


def _file(bench: FileBench, title: str) -> list[RenderableType]:
    table = _table(title, "", ("frames/s", "from", "to", "cores busy"))
    for one in bench.throughputs:
        rates = (one.fps, min(one.samples_fps), max(one.samples_fps))
        cells = [f"{rate:.1f}" for rate in rates]
        table.add_row(_WORDS[one.what], *cells, f"{one.cores_busy:.2f}")
    slowest = bench.slowest
    runs = len(bench.busy_seconds)
    cores = f"{bench.cores} core{'s' if bench.cores != 1 else ''}"
    lines = (
        f"limits: {_WORDS[slowest.what]} {slowest.fps:.1f} frames/s; "
        f"all three on {cores} {bench.cores_fps:.1f} frames/s",
        f"{bench.frames} frames; {runs} run{'s' if runs != 1 else ''} of each, the median shown",
    )
    return [table, Text("\n".join([*lines, ""]))]


def _numbers(*values: float) -> list[str]:
    return [f"{value:.2f}" for value in values]


def _table(title: str, first: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
