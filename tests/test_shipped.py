"""What is shipped: the checkpoint and the bundle belong together and do what the card says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acf_edge.degrade import degrade_image, load_recipe
from acf_edge.engine import load_engine, open_bundle
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import InputError
from acf_edge.evaluate import evaluate_pairs, pairs_from_recipe
from acf_edge.explain import BRANCHES, listen
from acf_edge.imaging.metrics import quality
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.resources import bundles_folder, default_bundle, shipped_weights

BUNDLES = sorted(path.name for path in bundles_folder().iterdir())


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_of_a_shipped_checkpoint(name: str) -> None:
    passport = open_bundle(bundles_folder() / name).passport
    checkpoint = load_checkpoint(f"{passport.network}-x{passport.scale}")
    assert passport.weights_sha256 == checkpoint.sha256
    assert name == f"{checkpoint.config.title}-int8-cpu"
    assert (passport.precision, passport.target) == ("int8", "cpu")


def _weights(value: Any) -> Iterator[str]:
    """Every ``weights_sha256`` at any depth."""
    if isinstance(value, dict):
        found = value.get("weights_sha256")
        yield from [found] if isinstance(found, str) else []
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _weights(part)


def test_published_figures_are_of_what_is_shipped() -> None:
    shipped = {load_checkpoint(name).sha256 for name in shipped_weights()}
    results = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
    named = {p.name: set(_weights(json.loads(p.read_text()))) for p in results.glob("*.json")}
    assert len([name for name, found in named.items() if found]) >= 4
    assert not {name: found - shipped for name, found in named.items() if found - shipped}


def test_the_default_bundle_is_of_a_long_training() -> None:
    assert open_bundle(default_bundle()).passport.name == "acf-t-x4 int8"
    assert load_checkpoint("acf-t-x4").provenance["train_seconds"] >= 3600


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_weights_go_by_their_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint(name).config.title == name
    (tmp_path / name).mkdir()  # what the user has goes first
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(name)


def test_a_name_that_is_not_shipped_lists_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no checkpoint 'acf-x-x3'.*acf-t-x4"):
        load_checkpoint("acf-x-x3")
    with pytest.raises(InputError, match="does not exist"):
        open_bundle("acf-x-x3")


def test_shipped_bundles_go_by_their_networks_names() -> None:
    assert open_bundle("acf-t-x4").path == default_bundle()
    assert load_engine("acf-t-x2", threads=1).scale == 2


@pytest.mark.parametrize("name", BUNDLES)
def test_int8_is_close_to_float(name: str) -> None:
    bundle = open_bundle(bundles_folder() / name)
    scale, recipe = bundle.passport.scale, load_recipe("acf-std")
    int8 = load_engine(bundle, threads=1)
    plain = OrtEngine(bundle.read("network.onnx"), name="float", scale=scale, threads=1)
    drops = []
    for seed in range(4):
        truth = dead_leaves(192, 256, seed)
        low = degrade_image(truth, recipe, scale, seed)
        figures = [quality(engine.run(low), truth, scale).psnr_y for engine in (plain, int8)]
        drops.append(figures[0] - figures[1])
    assert sum(drops) / len(drops) < 0.15


@pytest.mark.parametrize("name", shipped_weights())
@pytest.mark.parametrize("recipe", ["acf-std", "clean"])
def test_every_branch_is_heard(recipe: str, name: str) -> None:
    network = load_checkpoint(name).network
    low = degrade_image(dead_leaves(256, 384, 5), load_recipe(recipe), network.config.scale, 5)
    voices = listen(network, low).voice.mean(axis=(1, 2))
    assert voices.min() > 0.05, dict(zip(BRANCHES, voices, strict=True))


@pytest.mark.data
@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("folder", ["Set5", "Set14"])
def test_clean_pictures_lose_nothing(acf_data: Path, folder: str, name: str) -> None:
    engine = load_engine(bundles_folder() / name)
    pairs = pairs_from_recipe(acf_data / "bench" / folder, "clean", engine.scale)
    evaluation = evaluate_pairs(engine, pairs)
    engine.close()
    assert evaluation.worst.gain_psnr_y >= -0.05, evaluation.worst.name


@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [("Set5", 0.6), ("Set14", 0.55), ("B100", 0.35)])
def test_standard_pictures_gain(acf_data: Path, name: str, least: float) -> None:
    engine = load_engine()
    evaluation = evaluate_pairs(engine, pairs_from_recipe(acf_data / "bench" / name, "acf-std", 4))
    engine.close()
    assert evaluation.gain_psnr_y >= least
    assert evaluation.worst.gain_psnr_y >= -0.1
