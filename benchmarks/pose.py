"""The practical task: are people found better on what ACF makes of a bad picture?

    python -m benchmarks.pose --data DATA --json benchmarks/results/pose.json --sheet pose.png

Needs the extra ``pose`` (MediaPipe), no torch. ``DATA`` has ``images`` and ``annotations`` in
it; benchmarks/README.md says which. People are cut out, shrunk to a few pixels, degraded by
recipes whose seeds come from names, and enlarged; the pose model is shown the original, the
degraded picture as it is, bicubic x4 and what each engine made of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from acf_edge.degrade import Recipe, load_recipe, recipe_names
from acf_edge.engine import Bundle, Engine, load_engine, open_bundle
from acf_edge.errors import AcfError, InputError
from acf_edge.files import atomic_path
from acf_edge.imaging import write_image
from acf_edge.resources import default_bundle
from benchmarks.pose_crop import HARSH, MARGIN, is_large_enough
from benchmarks.pose_data import (
    RULERS,
    Subject,
    annotated,
    find_data,
    list_photos,
    with_annotations,
)
from benchmarks.pose_metrics import ROUNDS
from benchmarks.pose_model import CONFIDENCE, MediaPipePose, PoseModel
from benchmarks.pose_run import BICUBIC, LOW, ORIGINAL, Setup, measure, people_of
from benchmarks.pose_sheet import choose, draw_sheet
from benchmarks.pose_table import (
    CAPTION,
    Cell,
    Grid,
    cells,
    grids,
    least_width,
    to_markdown,
    to_rich,
    verdicts,
)
from benchmarks.report import bundle_facts, report_head

RECIPES: Final = ("clean", "acf-std", "camera", HARSH.name)
HEIGHTS: Final = (128, 96, 64, 48, 32)
DRAWS: Final = 3
_SHEET_ROWS: Final = 6
_SMALLEST, _LARGEST = 8, 1024
_MOST_DRAWS: Final = 100


def choose_recipe(name: str) -> Recipe:
    """A recipe by name or file; ``harsh`` is this benchmark's own.

    Raises:
        InputError: there is none.
    """
    if name == HARSH.name:
        return HARSH
    try:
        return load_recipe(name)
    except InputError as error:
        if name in recipe_names() or Path(name).suffix == ".toml":
            raise
        raise InputError(error.problem, f"{error.remedy} Here also: {HARSH.name}.") from None


def name_engines(bundles: Sequence[Bundle]) -> list[str]:
    """What tables call them: network and precision, and the folder where that is not unique.

    Raises:
        InputError: the same bundle twice, or bundles of different scales.
    """
    names = [bundle.passport.name for bundle in bundles]
    named = [
        name if names.count(name) == 1 else f"{name} {bundle.path.name}"
        for name, bundle in zip(names, bundles, strict=True)
    ]
    for name in named:
        if named.count(name) > 1 or name in (ORIGINAL, LOW, BICUBIC):
            raise InputError(
                f"Two engines would be called '{name}'.",
                "Give each bundle once, in its own folder.",
            )
    if len({bundle.passport.scale for bundle in bundles}) > 1:
        raise InputError(
            "Engines of different scales cannot be compared.", "Give bundles of one scale."
        )
    return named


def show_rows(sheet_of: str | None, setup: Setup) -> tuple[Recipe, int]:
    """The recipe and the size of the sheet, from ``RECIPE:PX``; else the second-largest.

    Raises:
        InputError: that was not measured.
    """
    recipes = {recipe.name: recipe for recipe in setup.recipes}
    if sheet_of is None:
        recipe = recipes.get("acf-std", setup.recipes[0])
        return recipe, setup.heights[:2][-1]
    name, _, height = sheet_of.rpartition(":")
    if name not in recipes or height not in map(str, setup.heights):
        raise InputError(
            f"The sheet is to show '{sheet_of}', which is not measured.",
            f"Give RECIPE:PX, such as {setup.recipes[0].name}:{setup.heights[0]}.",
        )
    return recipes[name], int(height)


def main(argv: Sequence[str] | None = None, model: PoseModel | None = None) -> int:
    """Measure, show, write; returns the exit code.

    Args:
        argv: arguments; None = those of the process.
        model: finds the poses; None = MediaPipe.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        found, tables = _run(args, arguments, model, console)
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    # Not narrower than the tables: figures that break are read wrongly.
    out = Console(width=max(Console().width, *map(least_width, tables)))
    for grid in tables:
        out.print(to_rich(grid))
    for line in (CAPTION, *verdicts(found)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pose", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="photos of people")
    parser.add_argument(
        "--engine",
        action="append",
        dest="engines",
        metavar="BUNDLE",
        help="repeatable (default: the shipped bundle)",
    )
    parser.add_argument(
        "--recipe",
        action="append",
        dest="recipes",
        metavar="NAME",
        help=f"repeatable (default: {', '.join(RECIPES)})",
    )
    parser.add_argument(
        "--height",
        action="append",
        dest="heights",
        type=int,
        metavar="PX",
        help="of a person in the low-resolution picture; repeatable "
        f"(default: {', '.join(map(str, HEIGHTS))})",
    )
    parser.add_argument(
        "--draws", type=int, default=DRAWS, metavar="N", help=f"degradations each ({DRAWS})"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all physical cores")
    parser.add_argument("--json", metavar="F", help="write everything, person by person")
    parser.add_argument("--table", metavar="F", help="write the tables as Markdown")
    parser.add_argument("--sheet", metavar="F", help="write a picture: people and their poses")
    parser.add_argument(
        "--sheet-of",
        metavar="RECIPE:PX",
        help="what it shows (default: acf-std, the second-largest size)",
    )
    return parser


def _run(
    args: argparse.Namespace,
    arguments: Sequence[str],
    model: PoseModel | None,
    console: Console,
) -> tuple[list[Cell], list[Grid]]:
    with ExitStack() as stack:
        # Opened first: what cannot be written is found out before the time is spent.
        targets = {
            word: stack.enter_context(atomic_path(getattr(args, word)))
            for word in ("json", "table", "sheet")
            if getattr(args, word)
        }
        folder = find_data(args.data)
        bundles = [open_bundle(path) for path in args.engines or [default_bundle()]]
        setup = _setup(args, bundles, stack)
        recipe, height = show_rows(args.sheet_of, setup)
        if model is None:
            model = stack.enter_context(closing(MediaPipePose()))
        subjects, left_out = annotated(folder)
        others = sorted(set(list_photos(folder)) - with_annotations(folder))
        with console.status("") as status:
            found = people_of(others, model, lambda name: status.update(f"looking at {name}"))
            people = [*subjects, *found]
            _check_sizes(people, setup)
            samples = list(
                measure(people, setup, model, lambda name: status.update(f"measuring {name}"))
            )
        result = cells(samples)
        tables = grids(result)
        if "json" in targets:
            head = _head(arguments, setup, bundles, model, left_out)
            lists = {
                "persons": [_person(subject) for subject in people],
                "cells": [cell.to_json() for cell in result],
                "samples": [sample.to_json() for sample in samples],
            }
            targets["json"].write_text(dumps(head, lists), encoding="utf-8")
        if "table" in targets:
            targets["table"].write_text(to_markdown(tables, verdicts(result)), encoding="utf-8")
        if "sheet" in targets:
            # Ranked by the draw that is shown, not by the mean of all.
            shown = replace(setup, recipes=[recipe], heights=[height], draws=1)
            chosen = choose(
                list(measure(subjects, shown, model)), next(iter(setup.engines)), _SHEET_ROWS
            )
            if not chosen:
                raise InputError(
                    f"Nobody annotated is large enough for a sheet of {height} px.",
                    "Choose a smaller size with --sheet-of RECIPE:PX.",
                )
            by_name = {subject.name: subject for subject in people}
            rows = [by_name[sample.subject] for sample in chosen]
            write_image(targets["sheet"], draw_sheet(rows, recipe, height, setup, model))
    return result, tables


def _setup(args: argparse.Namespace, bundles: Sequence[Bundle], stack: ExitStack) -> Setup:
    heights = tuple(sorted(set(args.heights or HEIGHTS), reverse=True))
    for height in heights:
        if not _SMALLEST <= height <= _LARGEST:
            raise InputError(
                f"A person of {height} pixels is out of range.", f"Give {_SMALLEST} to {_LARGEST}."
            )
    if not 1 <= args.draws <= _MOST_DRAWS:
        raise InputError(f"{args.draws} draws are out of range.", f"Give 1 to {_MOST_DRAWS}.")
    recipes = [choose_recipe(name) for name in dict.fromkeys(args.recipes or RECIPES)]
    names = name_engines(bundles)
    engines: dict[str, Engine] = {
        name: stack.enter_context(closing(load_engine(bundle, threads=args.threads)))
        for name, bundle in zip(names, bundles, strict=True)
    }
    return Setup(engines, recipes, heights, args.draws, bundles[0].passport.scale)


def _check_sizes(people: Sequence[Subject], setup: Setup) -> None:
    least = min(setup.heights)
    if not any(is_large_enough(subject, least, setup.scale) for subject in people):
        raise InputError(
            f"Nobody in the photos is {least * setup.scale} pixels high.",
            "Choose a smaller size with --height, or use larger photos.",
        )


def _head(
    arguments: Sequence[str],
    setup: Setup,
    bundles: Sequence[Bundle],
    model: PoseModel,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    head = report_head("pose", arguments)
    head["versions"]["mediapipe"] = getattr(model, "version", None)
    return {
        **head,
        "engines": [
            {**bundle_facts(bundle), "name": name}
            for name, bundle in zip(setup.engines, bundles, strict=True)
        ],
        "scale": setup.scale,
        "recipes": [asdict(recipe) for recipe in setup.recipes],
        "heights": list(setup.heights),
        "draws": setup.draws,
        "min_confidence": CONFIDENCE,
        "margin": MARGIN,
        "pck": dict(RULERS),
        "bootstrap_rounds": ROUNDS,
        "left_out": dict(left_out),
    }


def _person(subject: Subject) -> dict[str, Any]:
    truth = subject.truth
    return {
        "name": subject.name,
        "height": round(subject.box.height),
        "ruler": None if truth is None else truth.ruler,
    }


def dumps(head: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> str:
    """JSON with a line for each entry of the lists, so that two runs can be compared."""
    parts = [json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")]
    for name, entries in lists.items():
        lines = ",\n".join(f"  {json.dumps(entry, allow_nan=False)}" for entry in entries)
        parts.append(f' "{name}": [\n{lines}\n ]')
    return ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
