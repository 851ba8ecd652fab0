"""Quality on the standard test sets: the INT8 bundle, its float network, bicubic.

    python -m benchmarks.quality --data DATA --json benchmarks/results/quality.json

``DATA`` holds the sets as ``bench/Set5``, ``bench/Set14`` and ``bench/B100``, or
right away as ``Set5`` and so on. Pictures are degraded by a recipe whose seed
comes from the file's name, so everybody gets the same ones.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from acf_edge.engine.bundle import MODEL_FILE, NETWORK_FILE, Bundle, open_bundle
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import AcfError, InputError
from acf_edge.evaluate import Evaluation, evaluate_pairs, pairs_from_recipe
from acf_edge.files import atomic_path
from acf_edge.resources import default_bundle
from benchmarks.report import bundle_facts, report_head

SETS = ("Set5", "Set14", "B100")
ALL = "all"


@dataclass(frozen=True)
class Row:
    """One set under one recipe.

    Attributes:
        name: of the set, or ``"all"``.
        bundle: the bundle's engine; bicubic is in it.
        floating: the same pictures by its ``network.onnx``.
    """

    name: str
    bundle: Evaluation
    floating: Evaluation

    @property
    def drop(self) -> float:
        """dB (Y) that the bundle's mean lies below that of the float network."""
        return self.floating.gain_psnr_y - self.bundle.gain_psnr_y

    def to_json(self) -> dict[str, Any]:
        """Means, the worst picture, and every picture."""
        return {
            "set": self.name,
            "recipe": self.bundle.recipe,
            "pictures": len(self.bundle.images),
            "drop_psnr_y": self.drop if math.isfinite(self.drop) else None,
            "bundle": self.bundle.to_json(),
            "float": self.floating.to_json(),
        }


def measure(
    bundle: Bundle, folders: Sequence[Path], recipes: Sequence[str], threads: int | None = None
) -> Iterator[Row]:
    """Evaluate set by set, and all sets together at the end of each recipe.

    Args:
        bundle: of the backend ``onnxruntime``.
        folders: one for each set; the folder's name is that of the set.
        recipes: names or files.
        threads: of the engines; None = all physical cores.

    Raises:
        InputError: a folder, a picture, a recipe or the bundle is not as it should be.
    """
    with ExitStack() as stack:
        engines = [
            stack.enter_context(closing(_engine(bundle, file, word, threads)))
            for file, word in ((MODEL_FILE, ""), (NETWORK_FILE, "float"))
        ]
        for recipe in recipes:
            rows: list[Row] = []
            for folder in folders:
                known = pairs_from_recipe(folder, recipe, bundle.passport.scale)
                pairs = list(known)  # degraded once for both engines
                ours, floating = (
                    replace(evaluate_pairs(engine, pairs), recipe=known.recipe)
                    for engine in engines
                )
                rows.append(Row(folder.name, ours, floating))
                yield rows[-1]
            if len(rows) > 1:
                yield Row(
                    ALL,
                    _together([row.bundle for row in rows], folders),
                    _together([row.floating for row in rows], folders),
                )


def _engine(bundle: Bundle, file: str, word: str, threads: int | None) -> OrtEngine:
    passport = bundle.passport
    stem = passport.name.rpartition(" ")[0] or passport.name
    name = f"{stem} {word}" if word else passport.name
    return OrtEngine(bundle.read(file), name=name, scale=passport.scale, threads=threads)


def _together(evaluations: Sequence[Evaluation], folders: Sequence[Path]) -> Evaluation:
    images = tuple(
        replace(image, name=f"{folder.name}/{image.name}")
        for folder, evaluation in zip(folders, evaluations, strict=True)
        for image in evaluation.images
    )
    return replace(evaluations[0], images=images)


def find_folders(data: Path, sets: Sequence[str]) -> list[Path]:
    """The folders of the sets under ``data`` or ``data/bench``.

    Raises:
        InputError: one is not there.
    """
    folders = []
    for name in sets:
        found = [place / name for place in (data / "bench", data) if (place / name).is_dir()]
        if not found:
            raise InputError(
                f"'{data}' holds no set '{name}'.",
                f"Name its parent folder with --data, or choose sets with --set ({name}, ...).",
            )
        folders.append(found[0])
    return folders


def show(rows: Sequence[Row]) -> Table:
    """The means as a table, PSNR in dB."""
    bundle, floating = rows[0].bundle.engine, rows[0].floating.engine
    table = Table(
        title=f"{bundle}; gains over bicubic, luma, {rows[0].bundle.border} pixels shaved",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for title in ("recipe", "set"):
        table.add_column(title, no_wrap=True)
    for title in ("n", "bicubic", "PSNR", "gain", "SSIM gain", "worst", "drop"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        ours, mean, bicubic = row.bundle, row.bundle.mean, row.bundle.mean_bicubic
        table.add_row(
            ours.recipe,
            row.name,
            str(len(ours.images)),
            f"{bicubic.psnr_y:.2f}",
            f"{mean.psnr_y:.2f}",
            f"{ours.gain_psnr_y:+.3f}",
            f"{mean.ssim_y - bicubic.ssim_y:+.4f}",
            f"{ours.worst.gain_psnr_y:+.3f}",
            f"{row.drop:+.3f}",
        )
    worst = min((row.bundle.worst for row in rows), key=lambda image: image.gain_psnr_y)
    table.caption = f"worst of all: {worst.name}; drop: below {floating}"
    table.caption_justify = "left"
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the test sets")
    parser.add_argument("--bundle", metavar="B", help="engine bundle (default: the shipped one)")
    parser.add_argument(
        "--recipe", action="append", metavar="NAME", help="repeatable (default: acf-std)"
    )
    parser.add_argument(
        "--set",
        action="append",
        dest="sets",
        metavar="NAME",
        help=f"repeatable (default: {', '.join(SETS)})",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all physical cores")
    parser.add_argument("--json", metavar="F", help="write everything, picture by picture")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        with ExitStack() as stack:
            # Opened first: what cannot be written is found out before the time is spent.
            target = stack.enter_context(atomic_path(args.json)) if args.json else None
            bundle = open_bundle(args.bundle or default_bundle())
            folders = find_folders(args.data, args.sets or SETS)
            rows = []
            for row in measure(bundle, folders, args.recipe or ["acf-std"], args.threads):
                console.print(f"{row.bundle.recipe}, {row.name}: {row.bundle.gain_psnr_y:+.3f} dB")
                rows.append(row)
            if target is not None:
                report = report_head("quality", arguments)
                report["bundle"] = bundle_facts(bundle)
                report["sets"] = [row.to_json() for row in rows]
                text = json.dumps(report, indent=1, allow_nan=False)
                target.write_text(f"{text}\n", encoding="utf-8")
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    Console().print(show(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
