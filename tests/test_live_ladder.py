"""The ladder of engines: order, names, scale, warming up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_bundles import nearest, write_toy

from acf_edge.errors import InputError
from acf_edge.stream.live.ladder import build_ladder, warm_up


def test_the_ladder_is_the_full_model_then_the_others_then_bicubic(tmp_path: Path) -> None:
    full = write_toy(tmp_path / "full", network="acf-s")
    pruned = write_toy(tmp_path / "pruned", network="acf-s")
    small = write_toy(tmp_path / "small", network="acf-t")
    engines = build_ladder(full.path, [pruned.path, small.path], threads=1)
    names = [engine.name for engine in engines]
    assert names == ["acf-s-x2 fp32", "acf-s-x2 fp32 (pruned)", "acf-t-x2 fp32", "bicubic"]
    assert {engine.scale for engine in engines} == {2}
    picture = np.zeros((6, 8, 3), np.uint8)
    assert {engine.run(picture).shape for engine in engines} == {(12, 16, 3)}
    for engine in engines:
        engine.close()


def test_the_shipped_bundle_is_the_ladder_of_those_who_name_none() -> None:
    engines = build_ladder(None, threads=1)
    assert [engine.name for engine in engines] == ["acf-t-x4 int8", "bicubic"]


def test_a_ladder_can_do_without_bicubic(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "full")
    assert len(build_ladder(bundle.path, bicubic=False, threads=1)) == 1


def test_a_ladder_has_one_scale(tmp_path: Path) -> None:
    full = write_toy(tmp_path / "full")
    other = write_toy(tmp_path / "other", nearest(4), scale=4)
    with pytest.raises(InputError, match=r"enlarges x4.*x2.*scale 2 only"):
        build_ladder(full.path, [other.path], threads=1)


def test_a_bundle_stands_on_the_ladder_once(tmp_path: Path) -> None:
    full = write_toy(tmp_path / "full")
    with pytest.raises(InputError, match="twice"):
        build_ladder(full.path, [tmp_path / "x" / ".." / "full"], threads=1)


def test_a_ladder_in_tiles_gives_the_same(tmp_path: Path) -> None:
    (whole, _), (tiled, _) = (build_ladder(None, threads=1, tile=t) for t in (None, (128, 96)))
    picture = np.random.default_rng(0).integers(0, 256, (100, 140, 3), dtype=np.uint8)
    assert np.array_equal(whole.run(picture), tiled.run(picture))


class Counting:
    """An engine that says how often it ran, and at which sizes."""

    name, scale = "counting", 2

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, frame: np.ndarray) -> np.ndarray:
        self.shapes.append(frame.shape)
        return frame.repeat(2, 0).repeat(2, 1)

    def close(self) -> None:
        pass


def test_every_engine_is_warmed_at_the_size_of_the_source() -> None:
    engines = [Counting(), Counting()]
    times = warm_up(engines, 64, 36, runs=2)
    assert len(times) == 2 and all(t > 0 for t in times)
    assert [engine.shapes for engine in engines] == [[(36, 64, 3)] * 3] * 2
