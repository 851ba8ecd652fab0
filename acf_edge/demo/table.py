"""The demo's last words: its ledger and what it measured, as a table."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from acf_edge.demo.run import DemoResult
from acf_edge.report import ledger_table


def demo_table(result: DemoResult) -> RenderableType:
    """The ledger, then PSNR and SSIM against bicubic and the frames per second."""
    folder = Path(result.folder)
    ledger = json.loads((folder / "acf.bundle" / "ledger.json").read_text(encoding="utf-8"))
    ours, bicubic = result.enhanced, result.bicubic
    width, height = result.size_in
    title = f"{result.frames} frames {width}x{height} -> {result.size_out[0]}x{result.size_out[1]}"
    table = Table(title=title, title_justify="left")
    for name in ("", "PSNR-Y", "SSIM-Y", "PSNR-RGB", "SSIM-RGB"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in (("bicubic", bicubic), ("enhanced.mp4", ours)):
        figures = (f"{row.psnr_y:.2f}", f"{row.ssim_y:.4f}")
        table.add_row(name, *figures, f"{row.psnr_rgb:.2f}", f"{row.ssim_rgb:.4f}")
    table.add_row(
        "gain",
        f"{ours.psnr_y - bicubic.psnr_y:+.2f} dB",
        f"{ours.ssim_y - bicubic.ssim_y:+.4f}",
        f"{ours.psnr_rgb - bicubic.psnr_rgb:+.2f} dB",
        f"{ours.ssim_rgb - bicubic.ssim_rgb:+.4f}",
    )
    table.add_section()
    speed = f"{result.fps:.1f} frames/s file to file, engine alone {result.engine_ms:.1f} ms"
    report = f"open {folder / 'report.html'}, {folder / 'side_by_side.mp4'}"
    return Group(ledger_table(ledger), table, speed, report)
