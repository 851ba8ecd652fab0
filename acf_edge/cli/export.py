"""``acf-edge export``: hand a bundle over to Triton or DeepStream."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

NAME = "export"
HELP = "hand a bundle over to Triton or DeepStream"
EXAMPLE = """acf-edge export triton my.bundle -o repository/
acf-edge export deepstream my.bundle -o deepstream/ --size 320x180"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("to", choices=("triton", "deepstream"), help="who takes it")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="Triton's model repository, which may hold other models; DeepStream's folder",
    )
    parser.add_argument("--name", metavar="N", help="Triton: of the model")
    parser.add_argument(
        "--size", metavar="WxH", help="DeepStream: of the pictures (default: the bundle's usual)"
    )
    parser.add_argument(
        "--plugin-library",
        type=Path,
        metavar="FILE",
        help="libacf_plugins_preload.so, for engines that run plugins",
    )
    parser.add_argument("--json", action="store_true", help="what was written as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Write the folder, say how it is used."""
    from acf_edge.errors import InputError

    misplaced = {"triton": args.size and "--size", "deepstream": args.name and "--name"}[args.to]
    if misplaced:
        raise InputError(f"{misplaced} means nothing to '{args.to}'.", "Leave it out.")
    found = _triton(args) if args.to == "triton" else _deepstream(args)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console

    console = Console(soft_wrap=True)
    console.print(f"written: {found['folder']}", highlight=False, markup=False)
    for note in found["notes"]:
        console.print(note, highlight=False, markup=False)
    console.print(shlex.join(found["command"]), highlight=False, markup=False)
    return 0


def _triton(args: argparse.Namespace) -> dict[str, Any]:
    from acf_edge.handover.triton import export_triton

    made = export_triton(args.bundle, args.out, args.name, args.plugin_library)
    return {
        "folder": str(made.folder),
        "name": made.name,
        "command": list(made.command),
        "notes": list(made.notes),
    }


def _deepstream(args: argparse.Namespace) -> dict[str, Any]:
    from acf_edge.handover.deepstream import export_deepstream

    made = export_deepstream(args.bundle, args.out, args.size, args.plugin_library)
    return {
        "folder": str(made.folder),
        "size": [made.width, made.height],
        "command": list(made.command),
        "notes": list(made.notes),
    }
