"""What the kernel benchmark shows: wrong results, and one row of times for each subject."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.kernels_cases import Traffic

ENOUGH = 0.70
"""Share of the copy's bandwidth that the operators are meant to reach."""
BODIES = ("ours", "eager", "compile", "triton")


@dataclass(frozen=True)
class Check:
    """One random shape.

    Attributes:
        label: what and which.
        error: the worst value's deviation as a share of what is allowed; above 1 is wrong.
    """

    label: str
    error: float


@dataclass
class Timing:
    """One subject at its full size.

    Attributes:
        label: what and which.
        traffic: bytes of one call.
        calls: in one sample.
        samples_ms: body -> one call's share of each sample.
        missing: body -> why it was not timed.
        gb_per_s: of our kernels: the bytes that must move over the median time.
        share: the same as a share of the copy.
        share_of_passes: as ``share``, with the features counted twice whatever the cache holds.
        difference: to eager PyTorch: the largest, over the largest value (bytes: in steps).
    """

    label: str
    traffic: Traffic
    calls: int
    samples_ms: dict[str, list[float]]
    missing: dict[str, str] = field(default_factory=dict)
    gb_per_s: float = 0.0
    share: float = 0.0
    share_of_passes: float = 0.0
    difference: float | None = None

    def median(self, body: str) -> float | None:
        """Milliseconds of one call; None where the body was not timed."""
        samples = self.samples_ms.get(body)
        return statistics.median(samples) if samples else None


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
