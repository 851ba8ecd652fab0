"""Frames that do not fit are enhanced in tiles, without being asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_bundles import network
from trt_rig import picture, rig, write_trt_bundle

from acf_edge.engine import load_engine
from acf_edge.engine.passport import InputProfile
from acf_edge.engine.trt import runtime
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.stream.live import fitting, tiles
from acf_edge.stream.live.fitting import FittingEngine
from acf_edge.stream.live.padded import padded_size


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


@pytest.mark.parametrize("fixed", [False, True])
def test_pictures_of_any_size_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    """In tiles where they are too large, padded where they are too small."""
    monkeypatch.setattr(runtime, "can_work_apart", lambda: False)
    profile = InputProfile(*[(256, 240)] * 3 if fixed else [(4, 4), (64, 64), (256, 240)])
    models = {"model.onnx": network()}
    bundle = write_trt_bundle(tmp_path / "gpu.bundle", (profile,), models=models)
    with rig() as found:
        # Every pixel twice as large: tiles cannot be told from the whole.
        found.world.network = lambda taken: taken.repeat(2, axis=1).repeat(2, axis=2)
        engine = FittingEngine(bundle)
        small, large = picture(96, 64), picture(300, 270, 3)
        assert np.array_equal(engine.submit(small).result(), small.repeat(2, 0).repeat(2, 1))
        assert np.array_equal(engine.run(large), large.repeat(2, 0).repeat(2, 1))
        assert np.array_equal(engine.submit(large).result(), large.repeat(2, 0).repeat(2, 1))
        engine.close()


def test_the_smallest_size_that_holds_a_picture() -> None:
    profiles = [InputProfile(*[(320, 180)] * 3)]
    profiles.append(InputProfile((64, 64), (640, 360), (1280, 720)))
    assert padded_size(profiles, 320, 180) == (320, 180)
    assert padded_size(profiles, 300, 20) == (300, 64)
    assert padded_size(profiles[:1], 300, 20) == (320, 180)
    assert padded_size(profiles[:1], 400, 20) == (400, 20)
    assert padded_size([], 7, 5) == (7, 5)
