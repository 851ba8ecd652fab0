"""What a person sees of an enhancement: a progress line, then a summary."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from acf_edge.stream.summary import EnhanceSummary


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} fps" if speed else "", style="cyan")


class ProgressLine:
    """A bar on stderr with frames per second and the time that is left.

    Args:
        shown: False draws nothing.
    """

    def __init__(self, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
            transient=True,
        )
        self._task = self._progress.add_task("enhancing", total=None)
        self._begun = False

    def __enter__(self) -> ProgressLine:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, number: int, count: int, path: Path) -> None:
        """Start again for file ``number`` of ``count``."""
        self._begun = False
        text = escape(f"{number}/{count} {path.name}")
        self._progress.reset(self._task, total=None, description=text)

    def update(self, done: int, total: int | None) -> None:
        """Show ``done`` frames of ``total`` (None: unknown)."""
        # An estimate that proves too low must not stand at 103 %.
        if total is not None and done > total:
            total = None
        if not self._begun:
            # What an earlier run did must not count for the speed of this one.
            self._begun = True
            self._progress.reset(self._task, completed=done, total=total)
        self._progress.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Print a line to stderr, above the bar where there is one."""
        self._progress.console.print(escape(text), highlight=False, soft_wrap=True)

    def stopping(self) -> None:
        """Say that the request to stop has been heard."""
        self._progress.update(self._task, description="stopping")


def print_summary(summary: EnhanceSummary, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print what was done: JSON or one line to stdout, notes and interruption to stderr."""
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(summary), indent=2) + "\n")
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if summary.interrupted:
        of = summary.frames_expected if summary.frames_expected is not None else "unknown"
        if summary.frames:
            text = f"interrupted: {summary.frames} of {of} frames in {summary.output}"
        elif summary.kept_frames:
            text = (
                f"interrupted: {summary.kept_frames} of {of} frames are kept in "
                f"{summary.work_folder}; run the same command again to go on"
            )
        else:
            text = "interrupted before the first frame: nothing was written"
        errors.print(escape(text))
    elif not as_json and not quiet:
        size = f"{summary.width_in}x{summary.height_in} -> {summary.width_out}x{summary.height_out}"
        text = f"{summary.output}: {size}"
        if summary.kind == "video":
            text += f", {summary.frames} frames"
            if summary.resumed_frames:
                text += f" ({summary.frames - summary.resumed_frames} of them"
                text += f" in {summary.seconds:.1f} s, {summary.fps:.1f} fps)"
            else:
                text += f" in {summary.seconds:.1f} s ({summary.fps:.1f} fps)"
        else:
            text += f" in {summary.seconds:.2f} s"
        Console(highlight=False, soft_wrap=True).print(escape(f"{text}, {summary.engine}"))
    if not as_json:
        for note in summary.notes:
            errors.print(escape(f"note: {note}"))
