"""The engines that a stream may fall back on, best first.

All rungs are loaded and warmed before the stream begins. A rung is needed at the very
moment when time is short; reading, checking and preparing it then would cost the frames
that it is meant to save. What that takes is the weights of every rung and the working
memory of every rung for one frame; frames too large for that are what tiles are for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from acf_edge.engine import Engine
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.resources import default_bundle, named_bundle
from acf_edge.stream.live.fitting import FittingEngine
from acf_edge.stream.live.tiles import TiledEngine

_SLOW = 0.5
"""Seconds; an engine that takes longer is not run again only to measure it."""


class _Renamed:
    """An engine under another name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self.name = engine, name
        self.scale = engine.scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        return self._engine.run(frame)

    def close(self) -> None:
        self._engine.close()


def build_ladder(
    bundle: Path | None,
    extra: Sequence[Path] = (),
    *,
    threads: int | None = None,
    spin: bool = True,
    bicubic: bool = True,
    tile: tuple[int, int] | None = None,
) -> list[Engine]:
    """Load the ladder: the full model, the others as given, bicubic.

    Args:
        bundle: folder of the best engine; None = the one that is shipped.
        extra: bundles to fall back on, best first.
        threads: CPU threads for one operator; None = all physical cores.
        spin: let idle threads wait busily.
        bicubic: end with bicubic interpolation.
        tile: ``(width, height)`` of the tiles in which all networks work; None = whole
            frames where they fit into the memory.

    Returns:
        The engines, each with a name of its own.

    Raises:
        InputError: a bundle cannot be loaded, has another scale than the first, or is
            given twice.
    """
    paths = [default_bundle() if bundle is None else named_bundle(bundle)]
    paths += map(named_bundle, extra)
    engines: list[Engine] = []
    try:
        for index, path in enumerate(paths):
            if path.resolve() in [other.resolve() for other in paths[:index]]:
                raise InputError(
                    f"The engine bundle '{path}' stands on the ladder twice.",
                    "Name every bundle once.",
                )
            engine: Engine
            if tile is None:
                engine = FittingEngine(path, threads=threads, spin=spin, video=True)
            else:
                engine = TiledEngine(path, tile=tile, threads=threads, spin=spin, video=True)
            engines.append(_with_own_name(engine, path, [other.name for other in engines]))
            if engine.scale != engines[0].scale:
                raise InputError(
                    f"'{path}' enlarges x{engine.scale}, '{paths[0]}' x{engines[0].scale}: a "
                    f"ladder has one scale.",
                    f"Give bundles of scale {engines[0].scale} only.",
                )
    except InputError:
        for engine in engines:
            engine.close()
        raise
    if bicubic:
        engines.append(BicubicEngine(engines[0].scale))
    return engines


def warm_up(engines: Sequence[Engine], width: int, height: int, runs: int = 3) -> list[float]:
    """Run every engine at the source's size, so that its first frame is not its slowest.

    Args:
        engines: the ladder.
        width, height: of the source's frames, pixels.
        runs: how often after the first; an engine slower than half a second runs once.

    Returns:
        Median service time of each engine in seconds, for :meth:`Governor.expect`.

    Raises:
        InputError: an engine cannot work at this size.
    """
    # Noise: a flat picture would let a codec or a network off lightly.
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return [_median(engine, picture, runs) for engine in engines]


def _median(engine: Engine, picture: Uint8Image, runs: int) -> float:
    times = [_time(engine, picture)]
    if times[0] < _SLOW:
        times = [_time(engine, picture) for _ in range(runs)]
    return statistics.median(times)


def _time(engine: Engine, picture: Uint8Image) -> float:
    begun = time.monotonic()
    engine.run(picture)
    return time.monotonic() - begun


def _with_own_name(engine: Engine, path: Path, taken: Sequence[str]) -> Engine:
    """A pruned network keeps the name of the full one: then the folder tells them apart."""
    if engine.name not in taken:
        return engine
    name, count = f"{engine.name} ({path.name})", 1
    while name in taken:
        count += 1
        name = f"{engine.name} ({path.name}, {count})"
    return _Renamed(engine, name)
