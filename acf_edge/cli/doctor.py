"""``acf-edge doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import argparse

NAME = "doctor"
HELP = "tell what this machine has and what it lacks"
EXAMPLE = "acf-edge doctor --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Examine and show; 0 if the core works, 1 if not."""
    import json

    from acf_edge.profile.doctor import examine

    found = examine()
    if args.json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        from rich.console import Console

        from acf_edge.profile.chart import doctor_chart

        Console().print(doctor_chart(found))
    return 0 if found.ok else 1
