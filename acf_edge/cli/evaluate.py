"""``acf-edge evaluate``: PSNR and SSIM of an engine, bicubic beside it."""

from __future__ import annotations

import argparse

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "evaluate"
HELP = "measure PSNR and SSIM, RGB and Y, per picture and on average, bicubic beside them"
EXAMPLE = """acf-edge evaluate --data photos --recipe acf-std --json quality.json
acf-edge evaluate --engine my.bundle --lr small --hr large --min-gain 0.5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    judged = parser.add_argument_group("what is judged (the shipped bundle if nothing is given)")
    judged.add_argument("--engine", metavar="BUNDLE", help="engine bundle")
    add_rebuild(judged)
    judged.add_argument("--checkpoint", metavar="F", help="checkpoint, run by torch")
    judged.add_argument("--scale", type=int, metavar="N", help="bicubic alone, by this factor")
    pictures = parser.add_argument_group("on which pictures")
    pictures.add_argument("--data", metavar="DIR", help="sharp pictures, degraded by the recipe")
    pictures.add_argument("--recipe", metavar="NAME", help="name or .toml file (default: acf-std)")
    pictures.add_argument("--lr", metavar="DIR", help="low-resolution pictures as they are")
    pictures.add_argument("--hr", metavar="DIR", help="their full-resolution truth, by name")
    pictures.add_argument("--limit", type=int, metavar="N", help="only the first N, by name")
    parser.add_argument(
        "--border", type=int, metavar="N", help="pixels shaved off each side (default: the scale)"
    )
    parser.add_argument("--save", metavar="DIR", help="write the enhanced pictures there as PNG")
    parser.add_argument(
        "--min-gain",
        type=float,
        metavar="DB",
        help="fail (exit code 1) if the mean PSNR-Y is less than this above bicubic",
    )
    parser.add_argument(
        "--json", metavar="F", help="write the result as JSON ('-': to stdout); null is infinite"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, show, write, and only then apply the gate."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import Progress

    from acf_edge.evaluate import choose_engine, choose_pairs, evaluate_pairs
    from acf_edge.evaluate.table import evaluation_table
    from acf_edge.files import write_text

    console = Console(stderr=True)
    bundle = fitting(args.engine, args.rebuild)
    with closing(choose_engine(bundle, args.checkpoint, args.scale)) as engine:
        pairs = choose_pairs(
            engine.scale,
            data=args.data,
            recipe=args.recipe,
            low=args.lr,
            high=args.hr,
            limit=args.limit,
        )
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("evaluating", total=len(pairs))
            evaluation = evaluate_pairs(
                engine, pairs, args.border, save=args.save, on_image=lambda _: bar.advance(task)
            )
    if args.json == "-":
        print(evaluation.dumps(), end="")
    else:
        Console().print(evaluation_table(evaluation))
        if args.json:
            write_text(args.json, evaluation.dumps())
    if args.min_gain is not None:
        evaluation.require_gain(args.min_gain)
    return 0
