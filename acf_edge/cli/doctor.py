"""``acf-edge doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import argparse

NAME = "doctor"
HELP = "tell what this machine has and what it lacks"
EXAMPLE = """acf-edge doctor --json
acf-edge doctor --target orin-nano"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "--target",
        metavar="T",
        help="what this target needs, too: cpu, orin-nano, rtx40 and the others of 'build', or "
        "auto (this machine's GPU)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Examine and show; 0 if the core works and the target's engines run here, else 1."""
    import json

    from acf_edge.profile.doctor import examine
    from acf_edge.profile.doctor_target import examine_target, target_table

    found = examine()
    advice = examine_target(args.target, found.gpu, found.ok) if args.target else None
    if args.json:
        target = {"target": advice.to_json()} if advice else {}
        print(json.dumps(found.to_json() | target, indent=1))
    else:
        from rich.console import Console

        from acf_edge.profile.chart import doctor_chart

        console = Console()
        console.print(doctor_chart(found))
        if advice:
            console.print(target_table(advice))
    return 0 if found.ok and (advice is None or advice.runs) else 1
