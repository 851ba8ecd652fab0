"""``acf-edge build``: from a checkpoint to an engine bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAME = "build"
HELP = "turn a checkpoint into an engine bundle"
EXAMPLE = "acf-edge build acf-t-x4.safetensors -o my.bundle --precision int8 --calibrate photos/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help=".safetensors or .pth, of acf-edge or of a network that spandrel knows",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--target", default="cpu", help="where it will run (default: cpu)")
    parser.add_argument("--precision", default="int8", help="int8 or fp32 (default: int8)")
    parser.add_argument(
        "--prune", type=float, default=0.0, metavar="R", help="share of the operations to remove"
    )
    parser.add_argument(
        "--calibrate",
        metavar="SOURCE",
        help="sharp pictures: a folder or a video; 'scenes' (default) makes them",
    )
    parser.add_argument(
        "--recipe",
        action="append",
        metavar="NAME",
        help="degradation to calibrate on and judge by; may be repeated",
    )
    parser.add_argument("--method", default="mse", help="of calibration: mse, percentile, max")
    parser.add_argument("--pictures", type=int, default=48, metavar="N", help="taken from SOURCE")
    parser.add_argument("--finetune-steps", type=int, default=600, metavar="N")
    parser.add_argument(
        "--allow-drop", type=float, metavar="DB", help="quality that a stage may cost"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the latency measurement")
    parser.add_argument("--json", action="store_true", help="the ledger as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Build, show the ledger."""
    from acf_edge.builder.chain import build_bundle
    from acf_edge.builder.options import RECIPES, BuildOptions
    from acf_edge.builder.progress import show_progress
    from acf_edge.report import ledger_table

    options = BuildOptions(
        checkpoint=args.checkpoint,
        out=args.out,
        target=args.target,
        precision=args.precision,
        prune=args.prune,
        source=args.calibrate,
        recipes=tuple(args.recipe) if args.recipe else RECIPES,
        method=args.method,
        pictures=args.pictures,
        finetune_steps=args.finetune_steps,
        allow_drop=args.allow_drop,
        threads=args.threads,
        command=_command(args),
    )
    with show_progress(quiet=args.json) as tell:
        result = build_bundle(options, tell)
    ledger = result.bundle.ledger.to_json()
    if args.json:
        print(json.dumps({"bundle": str(args.out), "resumed": result.resumed, "ledger": ledger}))
        return 0
    from rich.console import Console

    console = Console()
    console.print(ledger_table(ledger))
    if result.resumed:
        console.print(f"taken over from an unfinished build: {', '.join(result.resumed)}")
    console.print(f"bundle: {args.out}", highlight=False)
    return 0


def _command(args: argparse.Namespace) -> tuple[str, ...]:
    """The arguments that repeat this build; only those that change the result."""
    words = ["acf-edge", "build", str(args.checkpoint), "-o", str(args.out)]
    words += ["--target", args.target, "--precision", args.precision]
    if args.prune:
        words += ["--prune", str(args.prune), "--finetune-steps", str(args.finetune_steps)]
    if args.calibrate:
        words += ["--calibrate", args.calibrate]
    for recipe in args.recipe or ():
        words += ["--recipe", recipe]
    if args.allow_drop is not None:
        words += ["--allow-drop", str(args.allow_drop)]
    return (*words, "--method", args.method, "--pictures", str(args.pictures))
