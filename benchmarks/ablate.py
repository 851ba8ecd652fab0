"""What each part of the network and of its training is worth.

Every variant is trained equally long on the same pictures with the same patches,
for each seed; then all are measured on the validation split. Runs are resumable:
what is finished is read from the results file, what was cut off goes on.

    python -m benchmarks.ablate --data photos/ --out runs/ablation --table ablation.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from acf_edge.degrade import degrade_image, load_recipe, mod_crop
from acf_edge.files import write_text
from acf_edge.imaging.metrics import quality
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.cost import cost
from acf_edge.model.network import AcfNetwork
from acf_edge.model.runner import run_network
from acf_edge.profile.machine import describe_machine
from acf_edge.train.data import Uint8Image, load_pictures
from acf_edge.train.loop import Progress, train, validate
from acf_edge.train.recipe import TrainRecipe, load_train_recipe

RECIPE = Path(__file__).resolve().parent / "recipes" / "ablation.toml"
RESULTS = Path(__file__).resolve().parent / "results" / "ablation.json"


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


def worst_on_clean(network: AcfNetwork, pictures: list[Uint8Image]) -> float:
    """The smallest gain over bicubic in dB (Y) on clean input; below 0 it does harm."""
    recipe, scale, gains = load_recipe("clean"), network.config.scale, []
    for index, picture in enumerate(pictures):
        truth = mod_crop(picture[:512, :512], scale)
        low = degrade_image(truth, recipe, scale, index)
        ours = quality(run_network(network, low), truth, scale).psnr_y
        gains.append(ours - quality(upscale_bicubic(low, scale), truth, scale).psnr_y)
    return min(gains)


def measure(checkpoint: Path, pictures: list[Uint8Image]) -> dict[str, float]:
    """Gains over bicubic in dB (Y) on the validation split, by degradation."""
    network = load_checkpoint(checkpoint).network
    names = ("acf-std", "camera", "blur-only", "compress-only", "clean")
    row = {name: round(validate(network, pictures, name).gain, 4) for name in names}
    row["clean-worst"] = round(worst_on_clean(network, pictures), 4)
    return row


def main() -> None:
    """Train what is missing, measure it, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, metavar="F.md", help="write the table as Markdown")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--variants", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    base = load_train_recipe(args.recipe)
    held_out = load_pictures(args.data, base.scale, base.patch, held_out=True)
    rows = json.loads(args.results.read_text())["rows"] if args.results.is_file() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    for seed in args.seeds:
        for name in args.variants:
            if (name, seed) in done:
                continue
            recipe = replace(VARIANTS[name](base), seed=seed, name=f"{base.name}-{name}")
            folder = args.out / f"{name}-{seed}"

            def tell(progress: Progress) -> None:
                if progress.validation:
                    gain = progress.validation.gain
                    print(f"{progress.step} {progress.stage} {gain:+.3f} dB", flush=True)

            print(f"== {name}, seed {seed}", flush=True)
            checkpoint = train(
                recipe,
                args.data,
                folder,
                device=args.device,
                compile_network=args.compile,
                validate_every=recipe.steps // 2,
                on_progress=tell,
            )
            counted = cost(recipe.config)
            rows.append(
                {
                    "variant": name,
                    "seed": seed,
                    "steps": recipe.steps,
                    "params": counted.params,
                    "kmac_per_pixel": round(counted.macs / 320 / 180 / 1e3, 1),
                    "gain_db": measure(checkpoint, held_out),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            table = {
                "date": date.today().isoformat(),
                "machine": describe_machine().to_json(),
                "what": "PSNR-Y above bicubic, validation split, centre crops of 512 pixels",
                "recipe": base.to_json(),
                "rows": rows,
            }
            write_text(args.results, json.dumps(table, indent=1) + "\n")
    if args.table:
        write_text(args.table, markdown(rows))


if __name__ == "__main__":
    main()
