"""What ``acf-edge latency`` takes from the command line, and shows."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TextIO

from rich.console import Console
from rich.markup import escape

from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.stream.clock.meter import LatencyReport
from acf_edge.stream.uri_types import Option


def read_size(text: str) -> tuple[int, int]:
    """Read ``WxH``.

    Raises:
        InputError: not of this form.
    """
    option = Option("size", "size", None, "")
    try:
        width, height = option.read(text)
    except ValueError:
        raise InputError(f"--size '{text}' is no size.", f"Give {option.expected}.") from None
    return width, height


def read_rate(text: str) -> Fraction:
    """Read a rate.

    Raises:
        InputError: not a positive number.
    """
    option = Option("fps", "rate", None, "", low=0.1, high=1000)
    try:
        return Fraction(option.read(text))
    except ValueError:
        raise InputError(f"--fps '{text}' is no rate.", f"Give {option.expected}.") from None


def load_for(bundle: str | None, threads: int | None) -> Engine:
    """The engine of a bundle; ``"bicubic"`` needs none: it shows what all the rest takes."""
    if bundle == "bicubic":
        from acf_edge.engine.bicubic import BicubicEngine

        return BicubicEngine(2)
    from acf_edge.engine import load_engine

    # Idle threads of the engine that wait busily would take the cores from the codecs.
    return load_engine(bundle, threads=threads, spin=False)


def print_report(report: LatencyReport, to: TextIO, *, as_json: bool = False) -> None:
    """Print what was measured."""
    if as_json:
        to.write(json.dumps(report.to_json(), indent=2) + "\n")
        return
    out = Console(file=to, highlight=False, soft_wrap=True)
    out.print(
        escape(
            f"{report.sink}: p50 {report.p50_ms:.1f} ms, p95 {report.p95_ms:.1f} ms, "
            f"p99 {report.p99_ms:.1f} ms ({report.engine})"
        )
    )
    out.print(
        escape(
            f"{report.read} of about {report.painted} frames read in {report.seconds:.1f} s, "
            f"{report.unreadable} unreadable, {report.dropped} dropped; {report.how}"
        )
    )
