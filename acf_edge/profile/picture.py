"""A latency profile as a picture: bars in SVG, and a page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Final

from acf_edge.profile.latency import LatencyProfile, LayerTime

# Okabe and Ito's colours, told apart by colour-blind eyes as well; grey is the runtime.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b59f00")
_GREY: Final = "#9a9a9a"
_ROW: Final = 18
_LABEL: Final = 320
_WIDTH: Final = 980
_BAR: Final = _WIDTH - _LABEL - 110

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1000px;
  padding: 0 1rem; color: #1b1b1b; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid #ddd; } small { color: #555; }
"""


def latency_svg(profile: LatencyProfile) -> str:
    """One horizontal bar per layer, in order of execution, coloured by the network's stage.

    Returns:
        an ``<svg>`` element that can stand inside a page; it refers to nothing outside.
    """
    colours = _colours(profile)
    longest = max((layer.ms for layer in profile.layers), default=0.0) or 1.0
    height = _ROW * len(profile.layers) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="11" '
        f'role="img" aria-label="Milliseconds per layer of {escape(profile.engine)}">'
    ]
    for row, layer in enumerate(profile.layers):
        top = row * _ROW + 2
        length = max(0.0, layer.ms) / longest * _BAR
        module, op = _shorten(layer.module, 30), _shorten(layer.op, 20)
        parts.append(
            f"<g><title>{escape(layer.name)} ({escape(layer.op)}), {layer.ms:.3f} ms, "
            f"{layer.share:.1%}</title>"
            f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end" fill="#1b1b1b">'
            f'{escape(module)} <tspan fill="#777">{escape(op)}</tspan></text>'
            f'<rect x="{_LABEL}" y="{top + 2}" width="{max(length, 0.5):.1f}" '
            f'height="{_ROW - 5}" rx="2" fill="{colours[_stage(layer)]}"/>'
            f'<text x="{_LABEL + length + 6:.1f}" y="{top + 12}" fill="#555">'
            f"{layer.ms:.2f} ms · {layer.share:.0%}</text></g>"
        )
    parts.append("</svg>")
    return "".join(parts)


def latency_html(profile: LatencyProfile) -> str:
    """A whole page: the totals, a table per module, and the bars. It loads nothing."""
    title = f"{escape(profile.engine)}, {profile.width}×{profile.height}"
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{ms:.2f}</td>'
        f'<td class="n">{ms / profile.total_ms:.1%}</td></tr>'
        for name, ms in profile.modules()
    )
    colours = _colours(profile)
    legend = " ".join(
        f'<span style="color:{colour}">&#9632;</span> {escape(stage)}&ensp;'
        for stage, colour in colours.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Latency of {title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}: {profile.total_ms:.1f} ms a frame</h1>"
        f"<p>{profile.unprofiled_ms:.1f} ms without the profiler; "
        f"{profile.threads} thread{'s' if profile.threads != 1 else ''}, {profile.runs} runs, "
        f"{escape(profile.runtime)}.<br><small>{escape(str(profile.machine))}, "
        f"{escape(profile.date)}</small></p>"
        '<h2>Per module</h2><table><tr><th>module</th><th class="n">ms</th>'
        f'<th class="n">share</th></tr>{rows}</table>'
        f"<h2>Per layer, in order of execution</h2><p>{legend}</p>{latency_svg(profile)}"
        "</body></html>\n"
    )


def _stage(layer: LayerTime) -> str:
    return layer.module.split(".")[0]


def _colours(profile: LatencyProfile) -> dict[str, str]:
    """A colour per stage, in order of first execution; names in brackets are grey."""
    colours: dict[str, str] = {}
    named = 0
    for layer in profile.layers:
        stage = _stage(layer)
        if stage in colours:
            continue
        if stage.startswith("("):
            colours[stage] = _GREY
        else:
            colours[stage] = _COLOURS[named % len(_COLOURS)]
            named += 1
    return colours


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"…{text[-limit + 1 :]}"
