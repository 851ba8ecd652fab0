"""The table of the kernels for every SM, and the cubins as C++ source.

python -m acf_edge.cuda                       registers, shared memory, spills; exit 1 on a spill
python -m acf_edge.cuda --sm 87 --json
python -m acf_edge.cuda embed FILE --sm 86,87  what a plugin built without nvcc contains
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from acf_edge.cuda.cubin import Cubin, read_kernels, with_log
from acf_edge.cuda.embed import write_embedded
from acf_edge.cuda.nvrtc import SMS, compile_all
from acf_edge.cuda.sources import kernel_hash
from acf_edge.errors import AcfError, InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 (spills), 2 (bad input)."""
    parser = argparse.ArgumentParser(
        prog="python -m acf_edge.cuda",
        description="Compile the kernels for every SM by NVRTC (no GPU is needed) and show what"
        " each costs. Exit 1 if registers spill.",
        epilog="Example: python -m acf_edge.cuda --sm 86,87",
    )
    parser.add_argument("--sm", type=_sms, default=SMS, help="e.g. 86,87; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--nvcc",
        type=Path,
        metavar="FOLDER",
        help="show what kernels/compile.sh left there (smNN.cubin, smNN.log) instead",
    )
    verbs = parser.add_subparsers(dest="verb")
    embed = verbs.add_parser("embed", help="write the cubins as C++ source")
    embed.add_argument("file", type=Path)
    # Not to undo an --sm before the verb.
    embed.add_argument("--sm", type=_sms, default=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.verb == "embed":
            write_embedded(options.file, options.sm)
            return 0
        if options.nvcc:
            cubins = [_from_nvcc(options.nvcc, sm) for sm in options.sm]
        else:
            cubins = compile_all(options.sm)
        return _show(cubins, options.json)
    except AcfError as error:
        print(f"acf_edge.cuda: error: {error}", file=sys.stderr)
        return error.exit_code


def _sms(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    if not all(part.isdigit() for part in found):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of SMs such as 86,87")
    return found


def _from_nvcc(folder: Path, sm: str) -> Cubin:
    try:
        image = (folder / f"sm{sm}.cubin").read_bytes()
        log = (folder / f"sm{sm}.log").read_text(encoding="utf-8")
        return Cubin(sm, image, with_log(read_kernels(image), log), "nvcc")
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{folder}' does not hold what nvcc made for SM {sm}: {error}.",
            "Run kernels/compile.sh first.",
        ) from error


def _show(cubins: Sequence[Cubin], as_json: bool) -> int:
    spilling = [
        f"{name} (SM {cubin.sm})"
        for cubin in cubins
        for name, cost in cubin.kernels.items()
        if cost.spills
    ]
    if as_json:
        rows = {
            cubin.sm: {name: asdict(cost) for name, cost in cubin.kernels.items()}
            for cubin in cubins
        }
        result = {
            "compiler": cubins[0].compiler,
            "kernel_hash": kernel_hash(),
            "sms": rows,
            "spilling": spilling,
        }
        print(json.dumps(result, indent=2))
    else:
        _print_table(cubins)
    if spilling:
        print(f"registers spill in {', '.join(spilling)}", file=sys.stderr)
    return 1 if spilling else 0


def _print_table(cubins: Sequence[Cubin]) -> None:
    """A row for each kernel; what hardly differs between SMs is shown as the largest."""
    table = Table(title=f"Kernels by {cubins[0].compiler}: registers per SM")
    table.add_column("kernel", no_wrap=True)
    for title in (*(cubin.sm for cubin in cubins), "shared B", "stack B"):
        table.add_column(title, justify="right")
    table.add_column("spills")
    for name in sorted({name for cubin in cubins for name in cubin.kernels}):
        costs = {cubin.sm: cubin.kernels[name] for cubin in cubins if name in cubin.kernels}
        spills = [
            f"SM {sm}: {cost.spill_stores} B out, {cost.spill_loads} B in"
            for sm, cost in costs.items()
            if cost.spills
        ]
        table.add_row(
            name,
            *(str(costs[cubin.sm].registers) if cubin.sm in costs else "" for cubin in cubins),
            str(max(cost.shared for cost in costs.values())),
            str(max(cost.local for cost in costs.values())),
            "\n".join(spills) or "-",
        )
    # A pipe has no width of its own: a name that is cut tells nothing.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    sys.exit(main())
