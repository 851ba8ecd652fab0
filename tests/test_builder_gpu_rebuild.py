"""Engines that do not fit this machine, or are lost: made anew from their bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu_builds import board, build, write_inputs
from trt_rig import rig

from acf_edge.engine import Bundle, open_bundle
from acf_edge.engine.trt.fit import fitting_bundle
from acf_edge.engine.trt.recompile import Changes, recompile
from acf_edge.engine.trt.runtime import open_trt
from acf_edge.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ACF_EDGE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """For an Orin Nano, written where there is no GPU."""
    folder = tmp_path_factory.mktemp("portable")
    checkpoint, photos = write_inputs(folder)
    return build(checkpoint, photos, folder / "nano.bundle")


def test_rebuild_makes_it_fit_once(portable: Bundle, cache: Path) -> None:
    said: list[str] = []
    with board() as found:
        assert fitting_bundle(portable.path, "never") == portable.path
        fitted = fitting_bundle(portable.path, "auto", said.append)
        builds = found.world.builds
        assert fitted.is_relative_to(cache) and "not compiled" in said[0]
        assert fitting_bundle(portable.path, "auto", said.append) == fitted
        assert found.world.builds == builds and len(said) == 1
        frame = np.zeros((32, 32, 3), np.uint8)
        engine = open_trt(open_bundle(fitted))
        assert engine.run(frame).shape == (128, 128, 3)
        engine.close()
        # What fits already is taken as it is.
        assert fitting_bundle(fitted, "auto", said.append) == fitted
    with board(version="10.13.3.9"):
        other = fitting_bundle(fitted, "auto", said.append)
        assert other != fitted and "10.3.0" in said[-1] and "10.13.3.9" in said[-1]


def test_a_damaged_rebuild_is_made_anew(portable: Bundle) -> None:
    with board():
        fitted = fitting_bundle(portable.path)
        (fitted / "engine.plan").write_bytes(b"x" * (fitted / "engine.plan").stat().st_size)
        assert fitting_bundle(portable.path) == fitted
        open_bundle(fitted)


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_lost_engine_is_made_again(portable: Bundle, tmp_path: Path, harm: str) -> None:
    said: list[str] = []
    with board():
        folder = recompile(portable, tmp_path / "here").path
        plan = folder / "engine.plan"
        plan.write_bytes(b"x" * plan.stat().st_size)
        if harm == "missing":
            plan.unlink()
        with pytest.raises(InputError):
            open_bundle(folder)
        fitted = fitting_bundle(folder, "auto", said.append)
        assert fitted != folder and harm in said[0]
        open_bundle(fitted)
        # And by hand, in place.
        recompile(folder, folder)
        open_bundle(folder)


def test_a_rebuild_asks_for_what_was_asked_for(portable: Bundle, tmp_path: Path) -> None:
    wished = Changes(plugins="off", level=2, workspace=256 << 20)
    with board():
        first = recompile(portable, tmp_path / "here", wished)
    assert first.passport.wishes == {"level": 2, "plugins": "off", "workspace": 256 << 20}
    with board(version="10.13.3.9") as found:
        fitted = open_bundle(fitting_bundle(first.path))
        assert found.world.builds == 1
    assert fitted.passport.wishes == first.passport.wishes
    with board():
        other = recompile(first, tmp_path / "other", Changes(level=3, plugins="auto"))
    assert other.passport.wishes == {"workspace": 256 << 20}


def test_rebuilding_does_not_help_without_a_gpu(portable: Bundle) -> None:
    with rig(devices=0), pytest.raises(InputError) as caught:
        fitting_bundle(portable.path)
    assert caught.value.remedy
