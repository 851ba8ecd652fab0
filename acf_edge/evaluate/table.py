"""An evaluation as a table on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acf_edge.evaluate.result import Evaluation
from acf_edge.imaging.metrics import Quality


def evaluation_table(evaluation: Evaluation) -> RenderableType:
    """Two lines for each picture, the engine's and bicubic's; the mean; the worst picture."""
    where = f", {evaluation.recipe}" if evaluation.recipe else ""
    table = Table(
        title=f"{evaluation.engine}{where}, {evaluation.border} pixels shaved",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("picture", overflow="fold")
    for title in ("PSNR Y", "gain", "SSIM Y", "PSNR RGB", "SSIM RGB"):
        table.add_column(title, justify="right", no_wrap=True)
    for image in evaluation.images:
        for row in _rows(image.name, image.engine, image.bicubic, image.gain_psnr_y):
            table.add_row(*row)
    table.add_section()
    name = f"mean of {len(evaluation.images)}"
    for row in _rows(name, evaluation.mean, evaluation.mean_bicubic, evaluation.gain_psnr_y):
        table.add_row(*row)
    lines = [f"worst: {evaluation.worst.name}, {evaluation.worst.gain_psnr_y:+.2f} dB (Y)"]
    if evaluation.left_out:
        lines.append(f"equal to the truth, not in the means: {', '.join(evaluation.left_out)}")
    return Group(table, Text("\n".join(lines)))


def _rows(name: str, ours: Quality, theirs: Quality, gain: float) -> Iterator[list[Text]]:
    for label, figures, difference in (
        (name, ours, f"{gain:+.2f}"),
        ("  bicubic", theirs, ""),
    ):
        cells = [
            label,
            f"{figures.psnr_y:.2f}",
            difference,
            f"{figures.ssim_y:.4f}",
            f"{figures.psnr_rgb:.2f}",
            f"{figures.ssim_rgb:.4f}",
        ]
        yield [Text(cell, style="dim" if figures is theirs else "") for cell in cells]
