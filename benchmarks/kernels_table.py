"""What the kernel benchmark shows: wrong results, and one row of times for each subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from benchmarks.kernels import Check, Timing

ENOUGH = 0.70
"""Share of the copy's bandwidth that the operators are meant to reach."""
BODIES = ("ours", "eager", "compile", "triton")


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """How many are right, and the wrong ones by name."""
    wrong = [check for check in checks if not check.error <= 1]
    for check in wrong:
        console.print(
            f"WRONG  {check.label}: {check.error:.3g} of what is allowed", highlight=False
        )
    worst = max((check.error for check in checks), default=0.0)
    console.print(
        f"{len(checks) - len(wrong)} of {len(checks)} random shapes are right; the worst takes"
        f" {worst:.0%} of what rounding allows.",
        highlight=False,
    )


def verdict(timing: Timing) -> str:
    """Fast enough by the copy, and which bodies are faster than ours."""
    ours = timing.median("ours")
    words = [] if timing.share >= ENOUGH else [f"below {ENOUGH:.0%}"]
    for body in BODIES[1:]:
        other = timing.median(body)
        if ours is not None and other is not None and other <= ours:
            words.append(f"{body} is faster")
    return ", ".join(words) or "ok"


def show_timings(console: Console, timings: Sequence[Timing], copy: float) -> None:
    """One row per subject: microseconds of one call, bandwidth, verdict."""
    table = Table(box=box.SIMPLE, title=f"µs per call; the driver's copy: {copy / 1e9:.0f} GB/s")
    table.add_column("kernel", no_wrap=True)
    for body in BODIES:
        table.add_column(body, justify="right")
    for column in ("MB", "GB/s", "of copy", "two passes"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for timing in timings:
        times = [timing.median(body) for body in BODIES]
        table.add_row(
            timing.label,
            *("-" if ms is None else f"{1000 * ms:.1f}" for ms in times),
            f"{timing.traffic.must / 1e6:.1f}",
            f"{timing.gb_per_s:.0f}",
            f"{timing.share:.0%}",
            f"{timing.share_of_passes:.0%}",
            verdict(timing),
        )
    console.print(table)
    reasons = {f"{body}: {why}" for timing in timings for body, why in timing.missing.items()}
    for reason in sorted(reasons):
        console.print(f"not timed: {reason}", highlight=False)
