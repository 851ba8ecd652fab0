"""Latency as a picture: one bar per layer, coloured by the module that owns it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acf_edge.report.words import machine_words, milliseconds, number, shorten, text, when

# Mid tones that stand out on white and on near-black, neighbours unlike.
_COLOURS = (
    "#3f7ee8",
    "#ee8434",
    "#2aa87e",
    "#cf4d74",
    "#8d6fdc",
    "#c49a1a",
    "#22a4c4",
    "#a9622d",
    "#7f9f35",
    "#d277b8",
)
_GREYS = ("#8b939e", "#b0b6bf", "#6c737d")
_MUTED = "0.66"  # of the text's own colour, so that it fits a light and a dark page
NARROW = 560


@dataclass(frozen=True)
class _Layer:
    name: str
    op: str
    module: str
    ms: float


def latency_svg(profile: Mapping[str, Any], *, width: int = 960, smallest: float = 0.004) -> str:
    """Draw where the time of one frame goes.

    A bar of all modules with its legend on top, then one bar per layer in
    order of execution. Text takes the colour of the page (``currentColor``);
    the element refers to nothing outside itself and is valid alone.

    Args:
        profile: ``total_ms``, ``layers`` (each ``name``, ``op``, ``module``,
            ``ms``), and, where known, ``width``, ``height``, ``machine``, ``date``.
        width: of the drawing in CSS pixels; below 560 names stand above the bars.
        smallest: layers below this share of the total, 0..1, become one bar
            per module at the end; 0 draws every layer.
    """
    layers = read_layers(profile)
    total = number(profile.get("total_ms")) or sum(layer.ms for layer in layers)
    colours = module_colours(layers)
    sums = _sums(layers, colours)
    shown = _fold(layers, total * smallest, colours)
    top, head = _head(profile, sums, colours, total, width)
    height, bars = _bars(shown, colours, total, top, width)
    spoken = f"{milliseconds(total)} milliseconds a frame: " + ", ".join(
        f"{name} {milliseconds(ms)}" for name, ms in sums
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{text(spoken)}" fill="currentColor" '
        f'font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif" font-size="12">'
        f"{head}{bars}</svg>"
    )


def read_layers(profile: Mapping[str, Any]) -> list[_Layer]:
    """The layers of a profile's JSON, in their order; times below zero count as zero."""
    return [
        _Layer(
            str(layer.get("name") or ""),
            str(layer.get("op") or ""),
            str(layer.get("module") or "(unknown)"),
            max(0.0, number(layer.get("ms")) or 0.0),
        )
        for layer in profile.get("layers") or ()
    ]


def module_colours(layers: Sequence[_Layer]) -> dict[str, str]:
    """A colour for each group of modules, in order of execution.

    A group is the first part of a module's path; where colours are left, the
    group that takes the most time is split by the second part. Names in
    brackets, which are no modules, are grey.
    """
    groups = list(dict.fromkeys(_cut(layer.module, 1) for layer in layers))
    while True:
        times = dict.fromkeys(groups, 0.0)
        for layer in layers:
            times[group_of(layer.module, times)] += layer.ms
        for group in sorted(times, key=lambda name: -times[name]):
            finer = _split(group, groups, layers)
            if finer is not None:
                groups = finer
                break
        else:
            break
    real = [name for name in groups if not name.startswith("(")]
    greys = [name for name in groups if name.startswith("(")]
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(real)}
    return colours | {name: _GREYS[place % len(_GREYS)] for place, name in enumerate(greys)}


def _split(group: str, groups: list[str], layers: Sequence[_Layer]) -> list[str] | None:
    """``groups`` with ``group`` split by its second part; None if that makes no sense."""
    inside = [layer.module for layer in layers if _cut(layer.module, 1) == group]
    finer = list(dict.fromkeys(_cut(module, 2) for module in inside))
    real = sum(not name.startswith("(") for name in groups)
    if len(finer) < 2 or group in finer or real - 1 + len(finer) > len(_COLOURS):
        return None
    place = groups.index(group)
    return [*groups[:place], *finer, *groups[place + 1 :]]


def group_of(module: str, groups: Mapping[str, object]) -> str:
    """The key of ``groups`` that ``module`` belongs to."""
    cut = _cut(module, 2)
    return cut if cut in groups else _cut(module, 1)


def _cut(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


def _sums(layers: Sequence[_Layer], colours: Mapping[str, str]) -> list[tuple[str, float]]:
    sums = dict.fromkeys(colours, 0.0)
    for layer in layers:
        sums[group_of(layer.module, colours)] += layer.ms
    return list(sums.items())


def _fold(layers: Sequence[_Layer], least: float, colours: Mapping[str, str]) -> list[_Layer]:
    """The layers of at least ``least`` milliseconds, then one for the rest of each group."""
    small: dict[str, list[_Layer]] = {}
    for layer in layers:
        if layer.ms < least:
            small.setdefault(group_of(layer.module, colours), []).append(layer)
    crowds = {group: members for group, members in small.items() if len(members) > 1}
    folded = {id(member) for members in crowds.values() for member in members}
    shown = [layer for layer in layers if id(layer) not in folded]
    return shown + [
        _Layer(f"{len(members)} small layers", "", group, sum(member.ms for member in members))
        for group, members in crowds.items()
    ]


def _head(
    profile: Mapping[str, Any],
    sums: Sequence[tuple[str, float]],
    colours: Mapping[str, str],
    total: float,
    width: int,
) -> tuple[int, str]:
    """The total, the bar of all modules and the legend; also the y where they end."""
    unit = max(total, sum(ms for _, ms in sums)) or 1.0
    parts = [
        f'<text y="24" font-size="22" font-weight="650">{milliseconds(total)} ms'
        f'<tspan font-size="13" font-weight="400" fill-opacity="{_MUTED}" dx="8">'
        f"{text(_per_frame(profile))}</tspan></text>"
    ]
    y = 24
    for line in _wrap(_where(profile), int(width / 6.4)):
        y += 18
        parts.append(f'<text y="{y}" fill-opacity="{_MUTED}">{text(line)}</text>')
    y += 14
    left = 0.0
    for name, ms in sums:
        length = ms / unit * width
        if length >= 0.3:
            parts.append(
                f'<rect x="{left:.1f}" y="{y}" width="{max(0.3, length - 1):.1f}" height="22" '
                f'fill="{colours[name]}"><title>{text(name)}: {milliseconds(ms)} ms</title></rect>'
            )
        left += length
    y += 44
    column = 0
    per_row = max(1, width // 236)
    step = width // per_row
    for name, ms in sums:
        if column == per_row:
            column, y = 0, y + 20
        share = f"{ms / unit:.0%}"
        parts.append(
            f'<rect x="{column * step}" y="{y - 10}" width="11" height="11" rx="2" '
            f'fill="{colours[name]}"/><text x="{column * step + 17}" y="{y}">'
            f'{text(shorten(name, 22))}<tspan fill-opacity="{_MUTED}" dx="6">'
            f"{milliseconds(ms)} ms, {share}</tspan></text>"
        )
        column += 1
    return y + 24, "".join(parts)


def _per_frame(profile: Mapping[str, Any]) -> str:
    width, height = number(profile.get("width")), number(profile.get("height"))
    size = f" of {width:.0f}×{height:.0f}" if width and height else ""
    return f"for one frame{size}"


def _where(profile: Mapping[str, Any]) -> str:
    words = [str(profile[name]) for name in ("engine", "runtime") if profile.get(name)]
    threads = number(profile.get("threads"))
    if threads:
        words.append(f"{threads:.0f} thread{'' if threads == 1 else 's'}")
    words += [machine_words(profile.get("machine")), when(profile.get("date"))]
    return " · ".join(word for word in words if word)


def _wrap(line: str, limit: int) -> list[str]:
    lines = [""]
    for word in line.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > limit:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return [one for one in lines if one]


def _bars(
    layers: Sequence[_Layer], colours: Mapping[str, str], total: float, top: int, width: int
) -> tuple[int, str]:
    """One row per layer below ``top``; also the y where they end."""
    narrow = width < NARROW
    label, row = (0, 36) if narrow else (308, 20)
    room = width - label - 62
    longest = max((layer.ms for layer in layers), default=0.0) or 1.0
    bottom = top + 18 + row * len(layers)
    parts = []
    step = _round_step(longest / (3 if narrow else 5))
    for index in range(int(longest / step + 1e-9) + 1):
        x = label + index * step / longest * room
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + 8}" y2="{bottom}" stroke="currentColor" '
            f'stroke-opacity="0.14"/><text x="{x:.1f}" y="{top + 2}" font-size="11" '
            f'text-anchor="{"start" if narrow and not index else "middle"}" '
            f'fill-opacity="{_MUTED}">{index * step:g}{"" if index else " ms"}</text>'
        )
    for index, layer in enumerate(layers):
        y = top + 18 + index * row
        length = max(0.6, layer.ms / longest * room)
        colour = colours[group_of(layer.module, colours)]
        share = f", {layer.ms / total:.1%}" if total else ""
        title = f"{layer.name} · {layer.op or 'several'} · {layer.module}: {layer.ms:.3f} ms{share}"
        bar_y = y + 18 if narrow else y + 3
        parts.append(
            f"<g><title>{text(title)}</title>{_label(layer, y, narrow, label)}"
            f'<rect x="{label}" y="{bar_y}" width="{length:.1f}" height="13" rx="2" '
            f'fill="{colour}"/><text x="{label + length + 6:.1f}" y="{bar_y + 11}" '
            f'font-size="11">{milliseconds(layer.ms)}</text></g>'
        )
    return bottom + 4, "".join(parts)


def _label(layer: _Layer, y: int, narrow: bool, edge: int) -> str:
    """The module and the operator; the node's own name is in the tooltip and the table."""
    name = layer.name if not layer.op else layer.module
    op = shorten(layer.op or layer.module, 18)
    op = "" if op == name else op
    name = shorten(name, 34 if narrow else 46 - len(op))
    place = f'x="0" y="{y + 13}"' if narrow else f'x="{edge - 10}" y="{y + 14}" text-anchor="end"'
    return (
        f'<text {place} font-size="11.5">{text(name)}'
        f'<tspan dx="6" fill-opacity="{_MUTED}">{text(op)}</tspan></text>'
    )


def _round_step(size: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is no less than ``size``."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * 0.999)
