"""Reports: a ledger as tables, latency as a picture, a build as one page of HTML.

The room imports no other one: it takes the plain values of ``ledger.json``,
``passport.json`` and of a profile's JSON.
"""

from __future__ import annotations

from acf_edge.report.latency import latency_svg
from acf_edge.report.ledger import ledger_table
from acf_edge.report.page import Figure, render_report
from acf_edge.report.slides import Sheet, Slide

__all__ = ["Figure", "Sheet", "Slide", "latency_svg", "ledger_table", "render_report"]
