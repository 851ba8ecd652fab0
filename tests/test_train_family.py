"""Every member of the family trains for real: all stages, on a little data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from train_toys import write_pictures  # noqa: E402

from acf_edge.model.checkpoint import load_checkpoint  # noqa: E402
from acf_edge.model.config import config_named  # noqa: E402
from acf_edge.model.runner import run_network  # noqa: E402
from acf_edge.train.loop import Progress, train  # noqa: E402
from acf_edge.train.recipe import load_train_recipe  # noqa: E402
from acf_edge.train.state import Run  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize(
    ("name", "scale", "steps"), [("acf-paper", 4, 3), ("acf-b", 2, 4), ("acf-s", 2, 6)]
)
def test_the_whole_curriculum(
    tmp_path: Path, data: Path, name: str, scale: int, steps: int
) -> None:
    recipe = load_train_recipe(ROOT / "benchmarks" / "recipes" / "ablation.toml")
    stages = tuple(dataclasses.replace(stage, steps=steps) for stage in recipe.stages)
    recipe = dataclasses.replace(
        recipe,
        network=name,
        scale=scale,
        stages=stages,
        batch=1,
        patch=64 // scale,
        warmup=2,
        ema=0.5,
        refresh=100,
        rate=5e-4,
    )
    seen: list[Progress] = []
    checkpoint = train(
        recipe, data, tmp_path / "run", validate_every=steps, on_progress=seen.append
    )
    validated = [progress.stage for progress in seen if progress.validation]
    # The report after a stage's last step still names that stage.
    assert validated == [stage.name for stage in stages]
    network = load_checkpoint(checkpoint).network
    assert network.config == config_named(name, scale)
    # Every part of it learned something; and the result is no ruin of bicubic.
    begun = Run(recipe, torch.device("cpu")).network.state_dict()
    for part in ("sharing.artefact", "sharing.deblur", "sharing.structure", "junction", "reconstr"):
        tensors = {k: v for k, v in network.state_dict().items() if k.startswith(part)}
        assert tensors and any(float((v - begun[k]).abs().max()) > 1e-4 for k, v in tensors.items())
    last = seen[-1].validation
    assert last is not None and last.gain > -3.0
    low = (torch.rand(9, 14, 3) * 255).to(torch.uint8).numpy()
    assert run_network(network, low).shape == (9 * scale, 14 * scale, 3)
