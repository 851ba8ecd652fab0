"""``acf-edge train``: from pictures to a checkpoint."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from acf_edge.errors import InputError

NAME = "train"
HELP = "train a network by a recipe; goes on where it was stopped"
EXAMPLE = """acf-edge train acf-t-x4 --data photos/ --out runs/acf-t-x4
torchrun --nproc-per-node 4 -m acf_edge train acf-s-x4 --data photos/ --out runs/s --device cuda"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("recipe", help="a recipe's name (acf-t-x4) or a .toml file")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of sharp pictures; cid22v_* validate, or a tenth where none is named so",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder of the run; its state.pth is what a stopped run goes on from",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--compile", action="store_true", help="use torch.compile (a CPU needs a C++ compiler)"
    )
    parser.add_argument(
        "--validate-every", type=int, default=1000, metavar="STEPS", help="default: 1000"
    )
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="0: as many as torch likes"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with its weights where they fit: those of another scale, or acf-t-x4",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that degrade pictures, each with all of them in memory (default: 1)",
    )
    parser.add_argument("--half", action="store_true", help="store the result as float16")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard events to OUT/tensorboard"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per report")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0 when the recipe's last step is done, 130 after Ctrl-C."""
    import torch

    from acf_edge.model.checkpoint import load_checkpoint
    from acf_edge.train.loop import Progress, TrainingStopped, train
    from acf_edge.train.recipe import load_train_recipe
    from acf_edge.train.report import show_progress, tensorboard_log

    if args.threads < 0:
        raise InputError(f"--threads {args.threads} cannot be.", "Give 0 or more.")
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = load_train_recipe(args.recipe)
    start = load_checkpoint(args.start) if args.start else None
    leads = int(os.environ.get("RANK", "0")) == 0  # of several processes, one speaks
    events = args.out / "tensorboard" if args.tensorboard else None
    try:
        with show_progress(args.json, leads) as show, tensorboard_log(events) as write:

            def tell(progress: Progress) -> None:
                write(progress)
                show(progress)

            result = train(
                recipe,
                args.data,
                args.out,
                device=args.device,
                compile_network=args.compile,
                validate_every=args.validate_every,
                on_progress=tell,
                start=start,
                workers=args.workers,
                half=args.half,
            )
    except TrainingStopped as stop:
        print(f"acf-edge: interrupted: {stop}", file=sys.stderr, flush=True)
        return stop.exit_code
    if leads:
        print(json.dumps({"checkpoint": str(result)}) if args.json else f"checkpoint: {result}")
    return 0
