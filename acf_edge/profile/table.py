"""A latency profile as a table on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acf_edge.profile.latency import LatencyProfile

_BAR = 16


def latency_table(profile: LatencyProfile) -> RenderableType:
    """Layers in order of execution with bars, a summary per module, and the totals."""
    layers = _table(f"{profile.engine}, {profile.width}x{profile.height}")
    layers.add_column("module", overflow="fold", min_width=16)
    layers.add_column("op", overflow="fold")
    layers.add_column("ms", justify="right", no_wrap=True)
    layers.add_column("share", justify="right", no_wrap=True)
    layers.add_column("", no_wrap=True)
    longest = max((layer.ms for layer in profile.layers), default=0.0) or 1.0
    for layer in profile.layers:
        bar = "█" * round(max(0.0, layer.ms) / longest * _BAR)
        cells = (layer.module, layer.op, f"{layer.ms:.3f}", f"{layer.share:.1%}", bar)
        layers.add_row(*map(Text, cells))
    modules = _table("per module")
    modules.add_column("module", overflow="fold")
    modules.add_column("ms", justify="right", no_wrap=True)
    modules.add_column("share", justify="right", no_wrap=True)
    for name, ms in profile.modules():
        modules.add_row(Text(name), f"{ms:.2f}", f"{ms / profile.total_ms:.1%}")
    plural = "s" if profile.threads != 1 else ""
    totals = Text(
        f"{profile.total_ms:.2f} ms a frame ({1e3 / profile.total_ms:.1f} frames/s), "
        f"{profile.unprofiled_ms:.2f} ms without the profiler; {profile.threads} thread{plural}, "
        f"{profile.runtime}, {profile.machine}"
    )
    return Group(layers, modules, totals)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
