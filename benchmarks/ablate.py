"""What each part of the network and of its training is worth.

Every variant is trained equally long on the same pictures with the same patches,
for each seed; then all are measured on the validation split. Runs are resumable:
what is finished is read from the results file, what was cut off goes on.

    python -m benchmarks.ablate --data photos/ --out runs/ablation --table ablation.md
    python -m benchmarks.ablate --data photos/ --out runs/ablation --measure
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console

from acf_edge.degrade import degrade_image, load_recipe, mod_crop
from acf_edge.errors import AcfError, InputError
from acf_edge.evaluate import Evaluation, Pair, evaluate_pairs
from acf_edge.files import explain_os_error, write_text
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.cost import cost
from acf_edge.model.runner import TorchEngine
from acf_edge.train.data import Uint8Image, load_pictures
from acf_edge.train.loop import Progress, train
from acf_edge.train.recipe import Stage, TrainRecipe, load_train_recipe
from benchmarks.report import report_head

RECIPE = Path(__file__).resolve().parent / "recipes" / "ablation.toml"
RESULTS = Path(__file__).resolve().parent / "results" / "ablation.json"
DEGRADATIONS = ("acf-std", "camera", "blur-only", "compress-only", "clean")
SIDE = 512
"""Of the centre crops that are measured, in pixels at full resolution."""
Row = dict[str, Any]


def full(recipe: TrainRecipe) -> TrainRecipe:
    """ACF as it is shipped: sigmoid votes, auxiliary tasks, curriculum."""
    return recipe


def softmax(recipe: TrainRecipe) -> TrainRecipe:
    """The branches compete for each feature."""
    return replace(recipe, voting="softmax")


def gate(recipe: TrainRecipe) -> TrainRecipe:
    """A reset and an update vote."""
    return replace(recipe, voting="gate")


def no_junction(recipe: TrainRecipe) -> TrainRecipe:
    """A 1x1 convolution of the same cost in place of the votes."""
    return replace(recipe, voting="none")


def no_auxiliary(recipe: TrainRecipe) -> TrainRecipe:
    """The branches are told by the result alone what they are for."""
    stages = [replace(s, auxiliary=(0.0, 0.0), gradient=(0.0, 0.0)) for s in recipe.stages]
    return replace(recipe, stages=tuple(stages))


def no_gradient(recipe: TrainRecipe) -> TrainRecipe:
    """Auxiliary tasks without the gradient head of the structure branch."""
    return replace(recipe, stages=tuple(replace(s, gradient=(0.0, 0.0)) for s in recipe.stages))


def no_curriculum(recipe: TrainRecipe) -> TrainRecipe:
    """Everything at once, at full strength, from the first step; equally many steps per loss."""
    first, last = recipe.stages[-2], recipe.stages[-1]
    steps = recipe.steps - last.steps
    return replace(recipe, stages=(replace(first, name="all", steps=steps), last))


def plain(recipe: TrainRecipe) -> TrainRecipe:
    """A plain residual network of equal cost; it gets the milder stages, too."""
    stages = [
        replace(s, auxiliary=(0.0, 0.0), gradient=(0.0, 0.0), junction=True) for s in recipe.stages
    ]
    network = recipe.network.replace("acf-", "plain-")
    return replace(recipe, network=network, stages=tuple(stages))


VARIANTS: dict[str, Callable[[TrainRecipe], TrainRecipe]] = {
    "acf": full,
    "plain": plain,
    "no-junction": no_junction,
    "no-auxiliary": no_auxiliary,
    "no-curriculum": no_curriculum,
    "softmax": softmax,
    "gate": gate,
    "no-gradient": no_gradient,
}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table: means over the seeds in dB above bicubic, and what each seed gave.

    The last column is the difference from ``acf``; in brackets the smallest and the largest
    difference between two runs of the same seed. Where they differ in sign, the table says
    nothing.
    """
    names = list(dict.fromkeys(row["variant"] for row in rows))
    recipes = list(rows[0]["gain_db"])
    lines = [
        f"| variant | kMAC | {' | '.join(recipes)} | acf-std by seed | against acf |",
        f"|---|--:|{'--:|' * len(recipes)}--:|--:|",
    ]
    full = {row["seed"]: row["gain_db"]["acf-std"] for row in rows if row["variant"] == "acf"}
    for name in names:
        mine = [row for row in rows if row["variant"] == name]
        means = [mean(row["gain_db"][recipe] for row in mine) for recipe in recipes]
        cells = [f"{value:+.3f}" for value in means]
        seeds = ", ".join(f"{row['gain_db']['acf-std']:+.3f}" for row in mine)
        apart = [r["gain_db"]["acf-std"] - full[r["seed"]] for r in mine if r["seed"] in full]
        against = f"{mean(apart):+.3f} [{min(apart):+.3f}, {max(apart):+.3f}]" if apart else ""
        cost_words = f"{mine[0]['kmac_per_pixel']:.1f}"
        against = "" if name == "acf" else against
        lines.append(f"| {name} | {cost_words} | {' | '.join(cells)} | {seeds} | {against} |")
    return "\n".join(lines).replace("-0.", "\N{MINUS SIGN}0.") + "\n"


def crops(
    pictures: Sequence[Uint8Image], degradation: str, scale: int, side: int = SIDE
) -> Iterator[Pair]:
    """Centre crops and what is to be restored; crops and seeds are those of the trainer.

    Args:
        pictures: ``(H, W, 3)`` uint8 RGB, sharp; smaller ones are taken whole.
        degradation: name of the recipe.
        scale: of the down-sampling.
        side: of the crops at full resolution, in pixels.
    """
    recipe = load_recipe(degradation)
    for index, picture in enumerate(pictures):
        top, left = (max((n - side) // 2, 0) for n in picture.shape[:2])
        truth = mod_crop(picture[top : top + side, left : left + side], scale)
        yield Pair(str(index), degrade_image(truth, recipe, scale, seed=index), truth)


def measure(checkpoint: Path, pictures: Sequence[Uint8Image]) -> dict[str, float]:
    """Gains over bicubic in dB (Y) on the validation split, by degradation.

    ``clean-worst`` is the smallest gain of any picture on clean input: below 0 it does harm.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    engine = TorchEngine(checkpoint)

    def evaluate(degradation: str) -> Evaluation:
        return evaluate_pairs(engine, crops(pictures, degradation, engine.scale))

    found = {name: evaluate(name) for name in DEGRADATIONS}
    row = {name: round(evaluation.gain_psnr_y, 4) for name, evaluation in found.items()}
    # A flat picture that bicubic gives back as it was has no decibels.
    clean = [image.gain_psnr_y for image in found["clean"].images if image.finite]
    row["clean-worst"] = round(min(clean, default=0.0), 4)
    return row


def variant(base: TrainRecipe, name: str, seed: int) -> TrainRecipe:
    """The recipe of one run."""
    return replace(VARIANTS[name](base), seed=seed, name=f"{base.name}-{name}")


def read_rows(results: Path, base: TrainRecipe) -> list[Row]:
    """What has been measured so far; nothing where there is no file yet.

    Raises:
        InputError: the file cannot be read, or its rows were made with another recipe.
    """
    if not results.exists():
        return []
    try:
        table = json.loads(results.read_text(encoding="utf-8"))
        recipe, rows = _completed(table["recipe"]), list(table["rows"])
        known = all(row["variant"] in VARIANTS and row["gain_db"] for row in rows)
        known = known and all(isinstance(row["seed"], int) for row in rows)
    except OSError as error:
        raise explain_os_error(error, results) from None
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"'{results}' holds no results of an ablation.", "Give another --results.")
    differing = [key for key, value in base.to_json().items() if recipe.get(key) != value]
    if differing or recipe.keys() - base.to_json().keys():
        what = f"'{differing[0]}' differs" if differing else "it has settings that are not known"
        raise InputError(
            f"The rows of '{results}' were made with another recipe: {what}.",
            "Give another --results (and --out).",
        )
    return rows


def _completed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe that was written before a setting existed has that setting's default."""
    stages = [{**_defaults(Stage), **stage} for stage in recipe["stages"]]
    return {**_defaults(TrainRecipe), **recipe, "stages": stages}


def _defaults(kind: type[Stage] | type[TrainRecipe]) -> dict[str, Any]:
    known = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    table: dict[str, Any] = json.loads(json.dumps(known))
    return table


def trained(base: TrainRecipe, row: Row, out: Path) -> Path:
    """The checkpoint that a row was measured on.

    Raises:
        InputError: it is not there, or was not trained as the row says.
    """
    recipe = variant(base, row["variant"], row["seed"])
    path = out / f"{row['variant']}-{row['seed']}" / f"{recipe.config.title}.safetensors"
    try:
        noted = _completed(load_checkpoint(path).provenance["recipe"])
    except (KeyError, TypeError):
        noted = {}
    if noted != recipe.to_json():
        raise InputError(
            f"'{path}' was not trained with the recipe of this row.",
            "Give the --out of the run that wrote the results.",
        )
    return path


def train_row(
    recipe: TrainRecipe, name: str, args: argparse.Namespace, held_out: Sequence[Uint8Image]
) -> Row:
    """Train one variant, or go on with it, and measure it."""

    def tell(progress: Progress) -> None:
        if progress.validation:
            gain = progress.validation.gain
            print(f"{progress.step} {progress.stage} {gain:+.3f} dB", flush=True)

    checkpoint = train(
        recipe,
        args.data,
        args.out / f"{name}-{recipe.seed}",
        device=args.device,
        compile_network=args.compile,
        validate_every=max(recipe.steps // 2, 1),
        on_progress=tell,
    )
    counted = cost(recipe.config)
    return {
        "variant": name,
        "seed": recipe.seed,
        "steps": recipe.steps,
        "params": counted.params,
        "kmac_per_pixel": round(counted.macs / 320 / 180 / 1e3, 1),
        "gain_db": measure(checkpoint, held_out),
    }


def _run(args: argparse.Namespace, arguments: Sequence[str]) -> None:
    base = load_train_recipe(args.recipe)
    base = replace(base, scale=args.scale or base.scale)
    rows = read_rows(args.results, base)
    held_out = load_pictures(args.data, base.scale, base.patch, held_out=True)

    def write() -> None:
        report = {
            **report_head("ablate", arguments),
            "what": f"PSNR-Y above bicubic, validation split, centre crops of {SIDE} pixels",
            "recipe": base.to_json(),
            "rows": rows,
        }
        write_text(args.results, json.dumps(report, indent=1) + "\n")

    if args.measure:
        if not rows:
            raise InputError(f"'{args.results}' has no rows yet.", "Train first: no --measure.")
        checkpoints = [trained(base, row, args.out) for row in rows]
        for row, checkpoint in zip(rows, checkpoints, strict=True):
            row["gain_db"] = measure(checkpoint, held_out)
            print(json.dumps(row), flush=True)
        # All at once: rows that were measured in two ways must not stand side by side.
        write()
    else:
        done = {(row["variant"], row["seed"]) for row in rows}
        for seed in args.seeds:
            for name in args.variants:
                if (name, seed) in done:
                    continue
                print(f"== {name}, seed {seed}", flush=True)
                rows.append(train_row(variant(base, name, seed), name, args, held_out))
                print(json.dumps(rows[-1]), flush=True)
                write()
    if args.table:
        write_text(args.table, markdown(rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, measure it, write the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--scale", type=int, choices=(2, 4), help="instead of the recipe's")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, metavar="F.md", help="write the table as Markdown")
    parser.add_argument(
        "--measure", action="store_true", help="measure all rows again, train nothing"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--variants", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    torch.set_num_threads(max(args.threads, 1))
    try:
        _run(args, arguments)
    except AcfError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
