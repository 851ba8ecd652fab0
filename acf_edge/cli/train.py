"""``acf-edge train``: from pictures to a checkpoint."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

NAME = "train"
HELP = "train a network by a recipe; goes on where it was stopped"
EXAMPLE = "acf-edge train acf-t-x4 --data photos/ --out runs/acf-t-x4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("recipe", help="a recipe's name (acf-t-x4) or a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--validate-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch likes")
    parser.add_argument("--json", action="store_true", help="one JSON object per report")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0 when the recipe's last step is done."""
    import torch

    from acf_edge.train.loop import Progress, train
    from acf_edge.train.recipe import load_train_recipe

    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = load_train_recipe(args.recipe)

    def tell(progress: Progress) -> None:
        row = {
            "step": progress.step,
            "steps": progress.steps,
            "stage": progress.stage,
            "loss": round(progress.loss, 6),
            "rate": progress.rate,
            "steps_per_second": round(progress.steps_per_second, 2),
        }
        if progress.validation:
            row["psnr_y"] = round(progress.validation.ours.psnr_y, 3)
            row["gain_psnr_y"] = round(progress.validation.gain, 3)
        if args.json:
            print(json.dumps(row), flush=True)
        elif progress.validation or sys.stderr.isatty():
            end = "\n" if progress.validation else "\r"
            text = "  ".join(f"{key} {value}" for key, value in row.items())
            print(text, end=end, file=sys.stderr, flush=True)

    result = train(
        recipe,
        args.data,
        args.out,
        device=args.device,
        compile_network=args.compile,
        validate_every=args.validate_every,
        on_progress=tell,
    )
    print(json.dumps({"checkpoint": str(result)}) if args.json else f"checkpoint: {result}")
    return 0
