"""A state goes on with its own recipe and its own pictures, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from train_toys import write_pictures, write_recipe  # noqa: E402

from acf_edge.errors import InputError  # noqa: E402
from acf_edge.imaging.files import write_image  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.train.data import data_digest  # noqa: E402
from acf_edge.train.loop import train  # noqa: E402
from acf_edge.train.recipe import TrainRecipe, load_train_recipe  # noqa: E402
from acf_edge.train.state import Run  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    return load_train_recipe(write_recipe(tmp_path_factory.mktemp("recipe")))


@pytest.fixture
def good_state(tmp_path: Path, data: Path, recipe: TrainRecipe) -> bytes:
    """Of a run that has just begun."""
    path = tmp_path / "fresh" / "state.pth"
    Run(recipe, torch.device("cpu"), data_digest(data)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("seed", "seed = 3", "seed = 4"),
        ("batch", "batch = 2", "batch = 3"),
        ("refresh", "refresh = 3", "refresh = 2"),
        ("stages", "acf-train = 0.8", "acf-train = 0.7"),
        ("ema", "ema = 0.9", "ema = 0.8"),
    ],
)
def test_a_state_of_another_recipe_is_refused(
    key: str, old: str, new: str, tmp_path: Path, data: Path, good_state: bytes
) -> None:
    (tmp_path / "state.pth").write_bytes(good_state)
    other = load_train_recipe(write_recipe(tmp_path, old, new))
    with pytest.raises(InputError, match=f"another recipe: '{key}' differs"):
        train(other, data, tmp_path)
    assert (tmp_path / "state.pth").read_bytes() == good_state


def test_the_learning_rate_may_be_lowered(tmp_path: Path, data: Path, good_state: bytes) -> None:
    (tmp_path / "state.pth").write_bytes(good_state)
    train(load_train_recipe(write_recipe(tmp_path, "rate = 1e-3", "rate = 5e-4")), data, tmp_path)


def test_a_state_of_other_pictures_is_refused(
    tmp_path: Path, data: Path, recipe: TrainRecipe, good_state: bytes
) -> None:
    (tmp_path / "state.pth").write_bytes(good_state)
    more = tmp_path / "more"
    shutil.copytree(data, more)
    write_image(more / "e.png", dead_leaves(96, 96, 9))
    with pytest.raises(InputError, match="other pictures"):
        train(recipe, more, tmp_path)


def test_what_a_kill_left_half_written_is_removed(
    tmp_path: Path, data: Path, recipe: TrainRecipe, good_state: bytes
) -> None:
    (tmp_path / "state.pth").write_bytes(good_state)
    (tmp_path / ".state-abc.pth").write_bytes(good_state[:100])
    train(recipe, data, tmp_path)
    assert not list(tmp_path.glob(".state-*"))
