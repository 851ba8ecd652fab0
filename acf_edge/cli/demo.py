"""``acf-edge demo``: the whole chain on a real clip."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAME = "demo"
HELP = "run the whole chain on a sample clip and write a report"
EXAMPLE = "acf-edge demo --out demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder (default: demo)")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped acf-t-x4")
    parser.add_argument("--frames", type=int, metavar="N", help="take the first N frames only")
    parser.add_argument("--finetune-steps", type=int, default=300, metavar="N")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the demo, print its table."""
    import sys
    from dataclasses import asdict

    from acf_edge.builder.progress import show_progress
    from acf_edge.demo.run import run_demo

    def say(line: str) -> None:
        print(f"== {line}", file=sys.stderr, flush=True)

    with show_progress(quiet=args.json) as tell:
        result = run_demo(
            args.out,
            checkpoint=args.checkpoint,
            limit=args.frames,
            finetune_steps=args.finetune_steps,
            say=(lambda _: None) if args.json else say,
            tell=tell,
        )
    if args.json:
        print(json.dumps(asdict(result)))
        return 0
    from rich.console import Console

    from acf_edge.demo.table import demo_table

    Console().print(demo_table(result))
    return 0
