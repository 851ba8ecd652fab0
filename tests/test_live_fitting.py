"""Frames that do not fit are enhanced in tiles, without being asked."""

from __future__ import annotations

import numpy as np
import pytest

from acf_edge.engine import load_engine
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.stream.live import fitting, tiles
from acf_edge.stream.live.fitting import FittingEngine


def test_what_fits_runs_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "TiledEngine", None)  # would fail
    engine, plain = FittingEngine(threads=1), load_engine(threads=1)
    frame = dead_leaves(40, 56, 0)
    assert np.array_equal(engine.run(frame), plain.run(frame))
    assert (engine.name, engine.scale) == (plain.name, plain.scale)
    engine.close()
    plain.close()


def test_what_does_not_fit_runs_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = dead_leaves(40, 56, 0), dead_leaves(300, 400, 1)
    # Room for the small frame alone, and for tiles.
    monkeypatch.setattr(tiles, "free_memory", lambda: 2 * 500 * 200 * 200)
    engine, plain = FittingEngine(threads=1), load_engine(threads=1)
    seen: list[tuple[int, ...]] = []
    run = tiles.TiledEngine.run

    def watched(self: tiles.TiledEngine, frame: np.ndarray) -> np.ndarray:
        seen.append(frame.shape)
        return run(self, frame)

    monkeypatch.setattr(tiles.TiledEngine, "run", watched)
    assert np.array_equal(engine.run(small), plain.run(small)) and not seen
    off = np.abs(engine.run(large).astype(int) - plain.run(large))
    assert off.max() <= 1 and seen == [(300, 400, 3)]
    engine.close()
    plain.close()
