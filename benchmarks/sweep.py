"""Each degradation alone, level by level, and all of them: several networks beside bicubic.

    python -m benchmarks.sweep --data DATA --network acf=acf_edge/weights/acf-t-x4.safetensors \
        --network plain=plain.safetensors --json benchmarks/results/sweep-x4.json

Networks are run by torch in floating point; what INT8 costs is measured by
``benchmarks.quality``. All of one table have the same scale and see the same pictures.
LPIPS is not in the table: no package that carries its weights is at hand.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from acf_edge.degrade import Recipe, load_recipe
from acf_edge.errors import AcfError, InputError
from acf_edge.evaluate import Evaluation, evaluate_pairs, pairs_from_recipe
from acf_edge.evaluate.engines import choose_engine
from acf_edge.files import atomic_path, write_text
from benchmarks.quality import SETS, find_folders
from benchmarks.report import report_head

QUALITIES = (10, 30, 50, 70, 90)
CRFS = (23, 28, 34, 40)
LENGTHS = (0, 5, 10, 20)


def levels() -> list[Recipe]:
    """The rows of the table: one degradation at one strength each; then all three."""
    rows = [Recipe(f"JPEG {q}", codec="jpeg", jpeg_quality=(q, q)) for q in QUALITIES]
    rows += [Recipe(f"H.264 crf {crf}", codec="h264", h264_crf=(crf, crf)) for crf in CRFS]
    rows += [Recipe(f"blur {n} px", blur_length=(float(n), float(n))) for n in LENGTHS]
    return [*rows, load_recipe("acf-std"), load_recipe("camera")]


@dataclass(frozen=True)
class Cell:
    """One network on one level, all sets together.

    PSNR is infinite where a result equals the truth, as of a flat picture; such pictures are
    left out of its means (see :class:`acf_edge.evaluate.Evaluation`).

    Attributes:
        network: its label.
        level: the recipe's name.
        psnr_y, ssim_y: means over the pictures; dB and 0..1 on BT.601 luma.
        bicubic_psnr_y, bicubic_ssim_y: of bicubic on the same pictures.
        gain: of the mean PSNR over bicubic's, in dB.
        worst: the smallest gain of any picture in dB.
        worst_name: that picture.
        pictures: how many.
        left_out: those that the means of PSNR pass over.
    """

    network: str
    level: str
    psnr_y: float
    ssim_y: float
    bicubic_psnr_y: float
    bicubic_ssim_y: float
    gain: float
    worst: float
    worst_name: str
    pictures: int
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded as far as they mean anything; ``None`` for what is infinite."""
        return {
            "network": self.network,
            "level": self.level,
            "psnr_y": _rounded(self.psnr_y),
            "ssim_y": round(self.ssim_y, 5),
            "bicubic_psnr_y": _rounded(self.bicubic_psnr_y),
            "bicubic_ssim_y": round(self.bicubic_ssim_y, 5),
            "gain_psnr_y": _rounded(self.gain),
            "worst_gain_psnr_y": _rounded(self.worst),
            "worst": self.worst_name,
            "pictures": self.pictures,
            "left_out": list(self.left_out),
        }


def _rounded(decibels: float) -> float | None:
    return round(decibels, 4) if math.isfinite(decibels) else None


def measure(
    networks: Sequence[tuple[str, Path]], folders: Sequence[Path], limit: int | None = None
) -> Iterator[Cell]:
    """Run every network over every level; the pictures are degraded once for all of them.

    Args:
        networks: label and checkpoint; all of one scale.
        folders: of sharp pictures; the mean is over all pictures of all of them.
        limit: only the first so many of each folder.

    Raises:
        InputError: no network, scales that differ, a checkpoint or picture that cannot be read.
    """
    if not networks:
        raise InputError("No network is named.", "Give --network LABEL=CHECKPOINT.")
    engines = [(label, choose_engine(checkpoint=path)) for label, path in networks]
    scale = engines[0][1].scale
    for label, engine in engines:
        if engine.scale != scale:
            raise InputError(
                f"'{label}' enlarges {engine.scale} times, '{engines[0][0]}' {scale} times.",
                "Measure one scale at a time.",
            )
    for level in levels():
        pairs = [
            (folder.name, pair)
            for folder in folders
            for pair in pairs_from_recipe(folder, level, scale, limit)
        ]
        for label, engine in engines:
            found = evaluate_pairs(
                engine, [replace(pair, name=f"{folder}/{pair.name}") for folder, pair in pairs]
            )
            yield _cell(label, level.name, found)


def _cell(label: str, level: str, found: Evaluation) -> Cell:
    ours, bicubic, worst = found.mean, found.mean_bicubic, found.worst
    return Cell(
        label,
        level,
        ours.psnr_y,
        ours.ssim_y,
        bicubic.psnr_y,
        bicubic.ssim_y,
        found.gain_psnr_y,
        worst.gain_psnr_y,
        worst.name,
        len(found.images),
        found.left_out,
    )


def show(cells: Sequence[Cell]) -> Table:
    """Bicubic's PSNR-Y, and by how much each network is above it."""
    labels = list(dict.fromkeys(cell.network for cell in cells))
    table = Table(
        title=f"PSNR-Y above bicubic in dB (SSIM), {cells[0].pictures} pictures",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("level", no_wrap=True)
    for title in ("bicubic", *labels):
        table.add_column(title, justify="right", no_wrap=True)
    for level in dict.fromkeys(cell.level for cell in cells):
        row = {cell.network: cell for cell in cells if cell.level == level}
        first = next(iter(row.values()))
        words = [f"{first.bicubic_psnr_y:.2f} ({first.bicubic_ssim_y:.3f})"]
        for label in labels:
            cell = row.get(label)
            words.append(f"{cell.gain:+.3f} ({cell.ssim_y:.3f})" if cell else "")
        table.add_row(level, *words)
    return table


def markdown(cells: Sequence[Cell]) -> str:
    """The same for a page: bicubic in dB, then dB above it and the worst picture's."""
    labels = list(dict.fromkeys(cell.network for cell in cells))
    lines = [
        f"| level | bicubic | {' | '.join(labels)} | worst picture, {labels[0]} |",
        f"|---|--:|{'--:|' * len(labels)}--:|",
    ]
    for level in dict.fromkeys(cell.level for cell in cells):
        row = {cell.network: cell for cell in cells if cell.level == level}
        first = row[labels[0]]
        gains = " | ".join(f"{row[label].gain:+.2f}" for label in labels)
        lines.append(f"| {level} | {first.bicubic_psnr_y:.2f} | {gains} | {first.worst:+.2f} |")
    return "\n".join(lines).replace("-0.", "\N{MINUS SIGN}0.") + "\n"


def _network(text: str) -> tuple[str, Path]:
    label, sign, path = text.partition("=")
    if not sign or not label or not path:
        raise argparse.ArgumentTypeError(f"'{text}' is not LABEL=CHECKPOINT")
    return label, Path(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the test sets")
    parser.add_argument(
        "--network", action="append", type=_network, default=[], metavar="LABEL=CHECKPOINT"
    )
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of each set")
    parser.add_argument("--json", metavar="F", help="write every figure")
    parser.add_argument("--table", type=Path, metavar="F.md", help="write the table as Markdown")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        with ExitStack() as stack:
            # Opened first: what cannot be written is found out before the time is spent.
            target = stack.enter_context(atomic_path(args.json)) if args.json else None
            folders = find_folders(args.data, args.sets or SETS)
            cells = []
            for cell in measure(args.network, folders, args.limit):
                console.print(f"{cell.level}, {cell.network}: {cell.gain:+.3f} dB")
                cells.append(cell)
            if target is not None:
                report = report_head("sweep", arguments)
                report["cells"] = [cell.to_json() for cell in cells]
                target.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
            if args.table:
                write_text(args.table, markdown(cells))
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    Console().print(show(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
