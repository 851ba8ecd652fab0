"""Patches: four views of one place, drawn from the seed and the step alone."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")

from train_toys import write_pictures, write_recipe  # noqa: E402

from acf_edge.errors import AcfError, InputError  # noqa: E402
from acf_edge.imaging.files import write_image  # noqa: E402
from acf_edge.imaging.metrics import psnr  # noqa: E402
from acf_edge.imaging.resize import resize, to_uint8  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.model.config import config_named  # noqa: E402
from acf_edge.model.network import AcfNetwork  # noqa: E402
from acf_edge.train.data import (  # noqa: E402
    Batch,
    LowPicture,
    Patches,
    degrade_chunk,
    draw_batch,
    load_pictures,
    validation_names,
)
from acf_edge.train.finetune import batches, finetune, finetune_recipe  # noqa: E402
from acf_edge.train.recipe import Stage, TrainRecipe, load_train_recipe  # noqa: E402

Uint8Image = npt.NDArray[np.uint8]
CLEAN = Stage("clean", 100, (("clean", 1.0),))


@pytest.fixture
def recipe(tmp_path: Path) -> TrainRecipe:
    return load_train_recipe(write_recipe(tmp_path))


@pytest.fixture(scope="module")
def pictures() -> list[Uint8Image]:
    return [dead_leaves(96, 128, 0), dead_leaves(160, 96, 1), dead_leaves(200, 240, 2)]


def same(left: Batch, right: Batch) -> bool:
    pairs = zip(vars(left).values(), vars(right).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_batch_has_the_layout_that_it_says(
    recipe: TrainRecipe, pictures: list[Uint8Image]
) -> None:
    batch = draw_batch(pictures, degrade_chunk(pictures, recipe, 0), recipe, 0)
    for patches in (batch.degraded, batch.blurred, batch.sharp):
        assert patches.shape == (2, 3, 16, 16)
        assert patches.dtype == np.uint8
    assert batch.truth.shape == (2, 3, 64, 64)


def test_the_truth_shows_the_same_place_turned_the_same_way(
    recipe: TrainRecipe, pictures: list[Uint8Image]
) -> None:
    clean = replace(recipe, stages=(CLEAN,), batch=32)
    batch = draw_batch(pictures, degrade_chunk(pictures, clean, 0), clean, 5)
    assert np.array_equal(batch.degraded, batch.sharp)
    for low, truth in zip(batch.sharp, batch.truth, strict=True):
        small = to_uint8(resize(np.ascontiguousarray(truth.transpose(1, 2, 0)), 16, 16))
        # The patch's border lacks the neighbours that the whole picture had.
        inside = (slice(None), slice(3, -3), slice(3, -3))
        assert psnr(small.transpose(2, 0, 1)[inside], low[inside]) > 40.0


def test_all_eight_orientations_are_drawn(recipe: TrainRecipe) -> None:
    # A ramp to the right and a steeper one down tell every turn and flip apart.
    y, x = np.mgrid[0:16, 0:16]
    small = np.repeat((40 + 3 * x + 7 * y)[:, :, None], 3, axis=2).astype(np.uint8)
    wide = replace(recipe, scale=1, batch=64)
    batch = draw_batch([small], [LowPicture(small, small, small)], wide, 0)
    corners = {
        (int(p[0, 0, 1]) - int(p[0, 0, 0]), int(p[0, 1, 0]) - int(p[0, 0, 0])) for p in batch.truth
    }
    assert corners == {(a, b) for a, b in _signed(3, 7) | _signed(7, 3)}


def _signed(a: int, b: int) -> set[tuple[int, int]]:
    return {(a, b), (-a, b), (a, -b), (-a, -b)}


def test_the_drawing_never_changes(recipe: TrainRecipe) -> None:
    # A run that goes on under a later version must see the patches it would have seen. The
    # pictures say where they are, so that no codec and no resampling has a part in this; green
    # is busier in some places than in others, which the choice of places looks at.
    pictures, chunk = [], []
    for index, (height, width) in enumerate([(40, 56), (72, 64)]):
        y, x = np.mgrid[0:height, 0:width]
        low = np.stack([y + 100 * index, x * y % 256, x], axis=2).astype(np.uint8)
        pictures.append(np.repeat(np.repeat(low, 4, axis=0), 4, axis=1))
        chunk.append(LowPicture(low, low, low))
    checksum = 0
    for step in (0, 1, 31415):
        batch = draw_batch(pictures, chunk, replace(recipe, batch=32), step)
        for patches in (batch.degraded, batch.truth):
            checksum = zlib.crc32(np.ascontiguousarray(patches).tobytes(), checksum)
    assert checksum == 3622849939


def test_seed_and_step_decide_the_patches(recipe: TrainRecipe, pictures: list[Uint8Image]) -> None:
    chunk = degrade_chunk(pictures, recipe, 0)
    first = draw_batch(pictures, chunk, recipe, 1)
    assert same(first, draw_batch(pictures, chunk, recipe, 1))
    assert not same(first, draw_batch(pictures, chunk, recipe, 2))
    assert not same(first, draw_batch(pictures, chunk, replace(recipe, seed=4), 1))


def test_every_chunk_is_degraded_anew(recipe: TrainRecipe, pictures: list[Uint8Image]) -> None:
    first, again, other = (degrade_chunk(pictures, recipe, number) for number in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.degraded, b.degraded)
        assert not np.array_equal(a.degraded, c.degraded)
        assert np.array_equal(a.sharp, c.sharp)


def test_a_mild_stage_is_milder(recipe: TrainRecipe, pictures: list[Uint8Image]) -> None:
    def nearness(difficulty: float) -> float:
        stage = Stage("s", 100, (("acf-std", 1.0),), (difficulty, difficulty))
        chunk = degrade_chunk(pictures * 4, replace(recipe, stages=(stage,)), 0)
        return float(np.mean([psnr(low.degraded, low.sharp) for low in chunk]))

    assert nearness(0.1) > nearness(1.0) + 3.0


def test_a_run_that_begins_anywhere_sees_the_same_patches(
    recipe: TrainRecipe, tmp_path: Path
) -> None:
    data = write_pictures(tmp_path / "data")
    with Patches(data, recipe) as patches:
        straight = [patches.batch(step) for step in range(recipe.steps)]
    with Patches(data, recipe) as patches:
        assert same(patches.batch(4), straight[4])
        assert same(patches.batch(6), straight[6])


def test_the_work_of_several_is_that_of_one(recipe: TrainRecipe, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data")
    with Patches(data, recipe) as one, Patches(data, recipe, workers=2) as two:
        for step in (0, 2, 3, 6):
            assert same(one.batch(step), two.batch(step))


def test_a_chunk_ends_with_its_stage(recipe: TrainRecipe) -> None:
    lengths = (5, 3, 7)
    stages = tuple(replace(CLEAN, name=str(i), steps=n) for i, n in enumerate(lengths))
    recipe = replace(recipe, stages=stages, refresh=3)
    chunks = [recipe.chunk(step) for step in range(recipe.steps)]
    assert chunks == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5]
    begins = [recipe.chunk_begin(number) for number in range(7)]
    assert begins == [0, 3, 5, 8, 11, 14, 15]
    # What a step sees was degraded as its own stage asks.
    for step, number in enumerate(chunks):
        assert recipe.at(step)[0] is recipe.at(recipe.chunk_begin(number))[0]


def test_without_named_pictures_a_tenth_is_held_out() -> None:
    names = [f"{index:03}.jpg" for index in range(50)]
    held = validation_names(names)
    assert len(held) == 5 and held <= set(names)
    assert validation_names(names[::-1]) == held
    assert len(held & validation_names([*names, "new.jpg"])) >= 4
    assert validation_names([*names, "cid22v_1.jpg"]) == {"cid22v_1.jpg"}
    assert len(validation_names(names[:3])) == 1
    assert validation_names(["one.jpg"]) == set()


def test_the_splits_go_by_name_and_leave_out_what_is_too_small(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data")
    write_image(data / "small.png", dead_leaves(63, 200, 0))
    write_image(data / "tiny.png", np.zeros((2, 2, 3), np.uint8))
    training = load_pictures(data, scale=4, patch=16, held_out=False)
    assert [picture.shape[:2] for picture in training] == [(80, 104), (88, 104), (96, 104)]
    validation = load_pictures(data, scale=4, patch=16, held_out=True)
    assert [picture.shape[:2] for picture in validation] == [(104, 104)]
    assert [p.shape[:2] for p in load_pictures(data, 3, 16, held_out=True)] == [(102, 102)]


@pytest.mark.parametrize(
    ("held_out", "patch", "split"), [(False, 27, "training"), (True, 27, "validation")]
)
def test_no_picture_that_is_large_enough_is_refused(
    held_out: bool, patch: int, split: str, tmp_path: Path
) -> None:
    data = write_pictures(tmp_path / "data")
    with pytest.raises(InputError, match=f"no {split} picture of at least 108 pixels"):
        load_pictures(data, 4, patch, held_out)


def network(seed: int) -> AcfNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AcfNetwork(config_named("acf-t", 4))


def test_fine_tuning_brings_the_pupil_nearer_and_repeats(pictures: list[Uint8Image]) -> None:
    teacher = network(0)
    recipe = replace(finetune_recipe(teacher, pictures, (("clean", 1.0),), 12), batch=2)
    image, truth = batches(pictures, recipe, 1)[0]
    assert image.shape == (2, 3, recipe.patch, recipe.patch)
    assert truth.shape[2] == 4 * recipe.patch
    assert 0.0 <= float(image.min()) < float(image.max()) <= 1.0

    def loss(student: AcfNetwork) -> float:
        with torch.no_grad():
            output = student(image)
            return float((output - truth).abs().mean() + (output - teacher(image)).abs().mean())

    def tune() -> AcfNetwork:
        student = network(1)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.01)
        before = loss(student)
        steps: list[tuple[int, int]] = []
        tuned = finetune(student, teacher, pictures, recipe, lambda a, b: steps.append((a, b)))
        assert steps == [(step, 12) for step in range(1, 13)]
        assert loss(tuned) < 0.9 * before
        assert not tuned.training
        return tuned

    first, second = tune().state_dict(), tune().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_fine_tuning_that_diverges_is_one_line(pictures: list[Uint8Image]) -> None:
    student, teacher = network(0), network(0)
    with torch.no_grad():
        next(student.parameters()).fill_(float("nan"))
    recipe = finetune_recipe(teacher, pictures, (("clean", 1.0),), 2)
    with pytest.raises(AcfError, match="diverged"):
        finetune(student, teacher, pictures, recipe)


def test_fine_tuning_fits_its_patches_to_the_pictures(pictures: list[Uint8Image]) -> None:
    mix = (("clean", 1.0),)
    assert finetune_recipe(network(0), pictures, mix, 5).patch == 24
    assert finetune_recipe(network(0), [dead_leaves(32, 50, 0)], mix, 5).patch == 8
    with pytest.raises(InputError, match="at least 32 pixels"):
        finetune_recipe(network(0), [dead_leaves(31, 50, 0)], mix, 5)
    with pytest.raises(InputError, match="no pictures"):
        finetune_recipe(network(0), [], mix, 5)
