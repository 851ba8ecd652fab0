"""What the trainer minimises, and the recipe's fields that decide it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from train_toys import write_pictures, write_recipe  # noqa: E402

from acf_edge.errors import InputError  # noqa: E402
from acf_edge.imaging.resize import resize, to_uint8  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.train.data import degrade_chunk, draw_batch, soften  # noqa: E402
from acf_edge.train.loop import train  # noqa: E402
from acf_edge.train.losses import guard_loss, luma_gradient, picture_loss  # noqa: E402
from acf_edge.train.recipe import Stage, TrainRecipe, load_train_recipe  # noqa: E402
from acf_edge.train.state import Run  # noqa: E402

CLEAN = Stage("clean", 100, (("clean", 1.0),))


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["charbonnier", "mse", "psnr"])
def test_a_nearer_result_costs_less(kind: str) -> None:
    truth = picture()
    near, far = truth + 0.01, truth + 0.05
    assert picture_loss(kind, near, truth) < picture_loss(kind, far, truth)


def test_decibels_count_luma_before_chroma() -> None:
    truth = picture()
    grey = truth + 0.05
    # The same squared error, but none of it in luma (0.299 R + 0.587 G = 0).
    tint = torch.tensor([0.587, -0.299, 0.0])
    tint = truth + (tint * (0.05 * 3**0.5 / tint.norm()))[:, None, None]
    assert torch.isclose((tint - truth).square().mean(), (grey - truth).square().mean())
    assert picture_loss("psnr", tint, truth) < picture_loss("psnr", grey, truth)


def test_the_guard_minds_only_clean_pictures_that_got_worse() -> None:
    truth, clean = picture(), torch.tensor([True, False])
    bicubic = truth + 0.02
    assert guard_loss(truth + 0.01, bicubic, truth, clean) == 0
    both = truth + 0.04
    first = guard_loss(both, bicubic, truth, clean)
    assert torch.isclose(first, torch.tensor(4.0).log() / 2, atol=0.01)  # one of two pictures
    better = both.clone()
    better[1] = truth[1]
    assert guard_loss(better, bicubic, truth, clean) == first
    assert guard_loss(both, bicubic, truth, ~torch.ones(2, dtype=torch.bool)) == 0


def test_gradients_of_luma() -> None:
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    ramp = (2 * x + 3 * y).expand(1, 3, 4, 5)
    right, down = luma_gradient(ramp)[0]
    assert torch.allclose(right[:, :-1], torch.tensor(2.0))
    assert torch.allclose(down[:-1], torch.tensor(3.0))
    assert float(right[:, -1].abs().max()) == float(down[-1].abs().max()) == 0.0


def recipe_with(tmp_path: Path, old: str, new: str) -> TrainRecipe:
    return load_train_recipe(write_recipe(tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('loss = "mse"', 'loss = "ssim"', "'loss' is 'ssim'. Give charbonnier, mse, psnr"),
        ('loss = "mse"', "junction = 1", "'junction' is 1. Give true or false"),
        ('loss = "mse"', "guard = -1", "'guard' is -1"),
        ('loss = "mse"', "gradient = [0.1]", "'gradient' is"),
        ("scale = 4", "scale = 4\nsoft = 2", "'soft' is 2"),
        ("scale = 4", 'scale = 4\nvoting = "loud"', "'loud' is unknown"),
        ('network = "acf-t"', 'network = "plain-t"', "plain network has no branches"),
    ],
)
def test_a_wrong_field_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        recipe_with(tmp_path, old, new)


def test_soft_pictures_are_clean_and_soft_all_through(tmp_path: Path) -> None:
    recipe = replace(
        recipe_with(tmp_path, "scale = 4", "scale = 4\nsoft = 1.0"), stages=(CLEAN,), batch=16
    )
    pictures = [dead_leaves(96, 128, 0), dead_leaves(160, 96, 1)]
    chunk = degrade_chunk(pictures, recipe, 0)
    assert all(low.clean and low.softness > 0 for low in chunk)
    whole = [soften(p, low.softness) for p, low in zip(pictures, chunk, strict=True)]
    for low, truth in zip(chunk, whole, strict=True):
        small = to_uint8(resize(truth, truth.shape[0] // 4, truth.shape[1] // 4))
        assert np.array_equal(low.degraded, small)
    # The truth of a patch is cut from a small blurred piece: the same as from the whole.
    batch = draw_batch(pictures, chunk, recipe, 0)
    assert batch.clean.all()
    places = np.concatenate([w.reshape(-1, 3) for w in whole])
    known = {tuple(row) for row in places.tolist()}
    values = batch.truth.transpose(0, 2, 3, 1).reshape(-1, 3)[::97]
    assert all(tuple(row) in known for row in values.tolist())


def test_only_clean_pictures_are_softened(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "scale = 4", "scale = 4\nsoft = 1.0")
    stage = replace(recipe.stages[0], mix=(("blur-only", 1.0),))
    chunk = degrade_chunk([dead_leaves(96, 96, 0)], replace(recipe, stages=(stage,)), 0)
    assert not chunk[0].clean and chunk[0].softness == 0.0


def test_a_silent_stage_leaves_the_votes_alone(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, 'loss = "mse"', "junction = false")
    text = path.read_text().replace("auxiliary = [0.2, 0.1]", "junction = false")
    path.write_text(text)
    recipe = load_train_recipe(path)
    before = Run(recipe, torch.device("cpu")).network.state_dict()
    train(recipe, write_pictures(tmp_path / "data"), tmp_path / "out")
    after = torch.load(tmp_path / "out" / "state.pth", weights_only=True)["network"]
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("junction"), name


def test_every_term_at_once_trains(tmp_path: Path) -> None:
    new = 'loss = "psnr"\nguard = 0.1\ngradient = [0.1, 0.0]\nauxiliary = [0.1, 0.0]'
    path = write_recipe(tmp_path, 'loss = "mse"', new)
    path.write_text(path.read_text().replace("{ acf-train = 1 }", "{ clean = 1 }"))
    assert train(load_train_recipe(path), write_pictures(tmp_path / "d"), tmp_path / "o").is_file()
