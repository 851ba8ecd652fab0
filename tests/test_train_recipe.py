"""Training recipes: the shipped one, the checks, the curriculum and the learning rate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from train_toys import RECIPE, STEPS, write_recipe

from acf_edge.errors import InputError
from acf_edge.train.loop import learning_rate
from acf_edge.train.recipe import RECIPES, load_train_recipe


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_the_shipped_recipes_load(name: str) -> None:
    recipe = load_train_recipe(name)
    assert recipe.name == name
    assert name.removesuffix("-more") == recipe.config.title
    assert recipe.steps == sum(stage.steps for stage in recipe.stages) > 1000


def test_the_tiny_networks_recipe_is_among_them() -> None:
    assert load_train_recipe("acf-t-x4").network == "acf-t"


def test_a_recipe_says_what_its_file_says(tmp_path: Path) -> None:
    recipe = load_train_recipe(write_recipe(tmp_path))
    assert (recipe.name, recipe.scale, recipe.patch, recipe.batch) == ("toy", 4, 16, 2)
    assert recipe.steps == STEPS
    assert recipe.stages[0].mix == (("acf-train", 0.8), ("clean", 0.2))
    assert recipe.stages[0].loss == "charbonnier"
    assert recipe.stages[1].difficulty == (1.0, 1.0)
    assert recipe.stages[1].auxiliary == (0.0, 0.0)
    assert json.loads(json.dumps(recipe.to_json()))["stages"][1]["loss"] == "mse"


def test_the_curriculum_goes_stage_by_stage(tmp_path: Path) -> None:
    recipe = load_train_recipe(write_recipe(tmp_path))
    where = [(stage.name, done) for stage, done in map(recipe.at, range(STEPS))]
    assert where == [
        ("mild", 0.0),
        ("mild", pytest.approx(1 / 3)),
        ("mild", pytest.approx(2 / 3)),
        ("square", 0.0),
        ("square", 0.25),
        ("square", 0.5),
        ("square", 0.75),
    ]
    assert recipe.at(10**6) == (recipe.stages[-1], 1.0)


def test_the_rate_warms_up_and_falls_to_a_hundredth() -> None:
    recipe = load_train_recipe("acf-t-x4")
    rates = [learning_rate(recipe, step) for step in range(recipe.steps + 1)]
    peak = recipe.warmup
    assert rates[0] == pytest.approx(recipe.rate / recipe.warmup)
    assert rates[peak // 2 - 1] == pytest.approx(recipe.rate / 2, rel=0.01)
    assert max(rates) == rates[peak] == pytest.approx(recipe.rate)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(recipe.rate / 100)


def test_no_warm_up_starts_at_the_peak(tmp_path: Path) -> None:
    recipe = load_train_recipe(write_recipe(tmp_path, "warmup = 2", "warmup = 0"))
    assert learning_rate(recipe, 0) == pytest.approx(recipe.rate)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("seed = 3", "sead = 3", "sead"),
        ("seed = 3\n", "", "seed"),
        ("seed = 3", "seed = -1", "seed"),
        ("seed = 3", "seed = 1.5", "seed"),
        ('network = "acf-t"', 'network = "acf-tt"', "acf-tt"),
        ('network = "acf-t"', 'network = ["acf-t"]', "network"),
        ('network = "acf-t"', "network = 3", "network"),
        ("scale = 4", "scale = 3", "scale"),
        ("scale = 4", "scale = 4.0", "scale"),
        ("scale = 4", 'scale = "4"', "scale"),
        ("patch = 16", "patch = 17", "patch"),
        ("patch = 16", "patch = 4", "patch"),
        ("patch = 16", "patch = 4096", "patch"),
        ("batch = 2", "batch = 0", "batch"),
        ("batch = 2", "batch = true", "batch"),
        ("rate = 1e-3", "rate = 0", "rate"),
        ("rate = 1e-3", "rate = nan", "rate"),
        ("rate = 1e-3", 'rate = "fast"', "rate"),
        ("warmup = 2", "warmup = -2", "warmup"),
        ("ema = 0.9", "ema = 1.0", "ema"),
        ("refresh = 3", "refresh = 0", "refresh"),
        ("steps = 3", "steps = 0", "steps"),
        ("steps = 3", "steps = true", "steps"),
        ("steps = 3\n", "", "steps"),
        ('name = "mild"', "name = 1", "name"),
        ("mix = { acf-train = 0.8, clean = 0.2 }", "mix = {}", "mix"),
        ("mix = { acf-train = 0.8, clean = 0.2 }", 'mix = "clean"', "mix"),
        ("clean = 0.2", "klean = 0.2", "klean"),
        ("clean = 0.2", "clean = 0", "clean"),
        ("clean = 0.2", "clean = nan", "clean"),
        ("clean = 0.2", "clean = inf", "clean"),
        ("clean = 0.2", 'clean = "much"', "clean"),
        ("difficulty = [0.3, 1.0]", "difficulty = 1.0", "difficulty"),
        ("difficulty = [0.3, 1.0]", "difficulty = [0.3, 2.0]", "difficulty"),
        ("difficulty = [0.3, 1.0]", "difficulty = [nan, 1.0]", "difficulty"),
        ("auxiliary = [0.2, 0.1]", "auxiliary = [-0.2, 0.1]", "auxiliary"),
        ("auxiliary = [0.2, 0.1]", "auxiliary = [inf, inf]", "auxiliary"),
        ('loss = "mse"', 'loss = "l3"', "loss"),
        ('loss = "mse"', "loss = []", "loss"),
        ('loss = "mse"', "rate = 1", "rate"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    path = write_recipe(tmp_path, old, new)
    with pytest.raises(InputError, match=key) as caught:
        load_train_recipe(path)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("stages", ["", "stages = []", "stages = 3", "stages = [1, 2]"])
def test_a_recipe_without_stages_is_refused(tmp_path: Path, stages: str) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.partition("[[stages]]")[0] + stages, encoding="utf-8")
    with pytest.raises(InputError, match="stage"):
        load_train_recipe(path)


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'acf-x'.*acf-t-x4"):
        load_train_recipe("acf-x")
    with pytest.raises(InputError, match=r"gone\.toml"):
        load_train_recipe(tmp_path / "gone.toml")
    (tmp_path / "broken.toml").write_text("network = ", encoding="utf-8")
    with pytest.raises(InputError, match="no TOML"):
        load_train_recipe(tmp_path / "broken.toml")
