"""What a run says while it goes on: JSON lines, a bar on a terminal, or plain lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acf_edge.errors import MissingExtraError
from acf_edge.model.config import BRANCHES
from acf_edge.train.loop import Progress


def row(progress: Progress) -> dict[str, Any]:
    """A report as plain JSON types, figures rounded to what they are worth."""
    table: dict[str, Any] = {
        "step": progress.step,
        "steps": progress.steps,
        "stage": progress.stage,
        "loss": round(progress.loss, 6),
        "rate": progress.rate,
        "steps_per_second": round(progress.steps_per_second, 2),
    }
    if progress.validation:
        table["psnr_y"] = round(progress.validation.ours.psnr_y, 3)
        table["gain_psnr_y"] = round(progress.validation.gain, 3)
        table["alive"] = [round(share, 3) for share in progress.validation.alive]
    return table


@contextmanager
def show_progress(
    json_lines: bool = False, leads: bool = True
) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a report.

    Args:
        json_lines: print each as one JSON object to stdout, and nothing else. Otherwise a
            terminal on stderr gets a bar, anything else one line per validation.
        leads: False for all but one of several processes: they say nothing.
    """
    if not leads:
        yield lambda progress: None
    elif json_lines:
        yield lambda progress: print(json.dumps(row(progress)), flush=True)
    elif not sys.stderr.isatty():
        yield _say
    else:
        with _bar() as show:
            yield show


@contextmanager
def tensorboard_log(folder: Path | None) -> Iterator[Callable[[Progress], None]]:
    """Give a function that writes reports as TensorBoard events; None writes nothing.

    A run that goes on writes another events file; TensorBoard joins them, and what an
    interrupted run had written beyond its last saved state is hidden.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """
    if folder is None:
        yield lambda progress: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("'--tensorboard'", "tensorboard", "train") from None
    writer: SummaryWriter | None = None

    def write(progress: Progress) -> None:
        nonlocal writer
        if writer is None:
            # The file begins with the step from which older events no longer hold.
            writer = SummaryWriter(str(folder), purge_step=progress.step)
        table = row(progress)
        names = {
            "loss": "train/loss",
            "rate": "train/rate",
            "steps_per_second": "train/steps_per_second",
            "psnr_y": "validation/psnr_y",
            "gain_psnr_y": "validation/gain_psnr_y",
        }
        for key, name in names.items():
            if key in table:
                writer.add_scalar(name, table[key], progress.step)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _say(progress: Progress) -> None:
    if progress.validation:
        print(f"step {progress.step}/{progress.steps}  {_verdict(progress)}", file=sys.stderr)


def _verdict(progress: Progress) -> str:
    table = row(progress)
    words = (
        f"{progress.stage}  loss {progress.loss:.4f}  "
        f"PSNR-Y {table['psnr_y']:.2f} dB, {table['gain_psnr_y']:+.2f} dB against bicubic"
    )
    dead = [name for name, share in zip(BRANCHES, table["alive"], strict=False) if share == 0]
    if dead:
        words += f"; nothing comes from the branch {', '.join(dead)}: lower 'rate', begin anew"
    return words


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[figures]}"),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("starting", total=None, figures="")

        def show(progress: Progress) -> None:
            display.update(
                task,
                description=progress.stage,
                completed=progress.step,
                total=progress.steps,
                figures=f"loss {progress.loss:.4f}  {progress.steps_per_second:.1f} steps/s",
            )
            if progress.validation:
                display.console.print(
                    f"step {progress.step}: {_verdict(progress)}", highlight=False, markup=False
                )

        yield show
