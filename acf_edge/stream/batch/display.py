"""What a person sees of a folder's enhancement: a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from acf_edge.stream.batch.folder import DONE, FAILED, SKIPPED, FolderSummary, folder_json

_STYLES = {DONE: "green", SKIPPED: "dim", FAILED: "red"}


def print_folder(summary: FolderSummary, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print what was done: JSON or a table to stdout; with ``quiet`` failures to stderr."""
    if as_json:
        sys.stdout.write(json.dumps(folder_json(summary), indent=2) + "\n")
        return
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if quiet:
        for result in summary.files:
            if result.status == FAILED:
                errors.print(escape(f"failed: {result.input}: {result.reason}"))
    else:
        console = Console(highlight=False)
        # Where nobody looks, nothing is gained by folding lines to a guessed width.
        if not console.is_terminal:
            console = Console(highlight=False, width=max(200, console.width))
        console.print(_table(summary))
        console.print(_total(summary))
    if summary.interrupted:
        errors.print(
            escape(f"interrupted: {summary.left} files are left; run the same command to go on")
        )


def _table(summary: FolderSummary) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("result")
    table.add_column("frames", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("why", overflow="fold")
    for result in summary.files:
        frames = str(result.summary.frames) if result.summary and result.status == DONE else ""
        seconds = f"{result.seconds:.1f}" if result.status != SKIPPED else ""
        style = _STYLES.get(result.status, "yellow")
        table.add_row(
            escape(str(Path(result.input).relative_to(summary.input))),
            f"[{style}]{result.status}[/]",
            frames,
            seconds,
            escape(result.reason),
        )
    return table


def _total(summary: FolderSummary) -> str:
    parts = [f"{summary.done} done", f"{summary.skipped} skipped", f"{summary.failed} failed"]
    if summary.left:
        parts.append(f"{summary.left} left")
    if summary.ignored:
        parts.append(f"{summary.ignored} neither picture nor video")
    return f"{', '.join(parts)} in {summary.seconds:.1f} s"
