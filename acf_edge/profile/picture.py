"""A latency profile as a page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Final

from acf_edge.profile.latency import LatencyProfile
from acf_edge.report import latency_svg

_WIDTH: Final = 980

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1000px;
  padding: 0 1rem; color: #1b1b1b; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid #ddd; } small { color: #555; }
"""


def latency_html(profile: LatencyProfile) -> str:
    """A whole page: the totals, a table per module, and the bars. It loads nothing."""
    title = f"{escape(profile.engine)}, {profile.width}×{profile.height}"
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{ms:.2f}</td>'
        f'<td class="n">{ms / profile.total_ms:.1%}</td></tr>'
        for name, ms in profile.modules()
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
        f"<h2>Per layer, in order of execution</h2>{latency_svg(profile.to_json(), width=_WIDTH)}"
        "</body></html>\n"
    )
