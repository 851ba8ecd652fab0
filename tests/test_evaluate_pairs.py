"""Pairs to evaluate on: degraded by a recipe, or matched by name in two folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.degrade import degrade_image, load_recipe, seed_from_name
from acf_edge.errors import InputError
from acf_edge.evaluate import choose_pairs, pairs_from_folders, pairs_from_recipe
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.resize import resize_bicubic, to_uint8

Uint8Image = npt.NDArray[np.uint8]


def picture(height: int = 61, width: int = 50, seed: int = 0) -> Uint8Image:
    noise = np.random.default_rng(seed).random((height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)
    unit: npt.NDArray[np.float64] = (soft - soft.min()) / (soft.max() - soft.min())
    result: Uint8Image = (unit * 235 + 10).astype(np.uint8)
    return result


def small(image: Uint8Image, scale: int = 2) -> Uint8Image:
    return to_uint8(resize_bicubic(image, image.shape[0] // scale, image.shape[1] // scale))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for index, name in enumerate(("b.png", "a.png", "c.webp")):
        write_image(folder / name, picture(seed=index))
    return folder


def write_pair(tmp_path: Path, low: str, high: str, seed: int = 0) -> None:
    image = picture(60, 48, seed)
    write_image(tmp_path / "lr" / low, small(image))
    write_image(tmp_path / "hr" / high, image)


def test_pairs_of_a_recipe_are_cropped_sorted_and_seeded_by_name(photos: Path) -> None:
    recipe = load_recipe("acf-std")
    pairs = pairs_from_recipe(photos, "acf-std", 4)
    assert pairs.recipe == "acf-std" and len(pairs) == 3
    found = list(pairs)
    assert [pair.name for pair in found] == ["a.png", "b.png", "c.webp"]
    for pair in found:
        truth = read_image(photos / pair.name)[:60, :48]
        assert np.array_equal(pair.high, truth)
        want = degrade_image(truth, recipe, 4, seed_from_name(pair.name))
        assert np.array_equal(pair.low, want)


def test_pairs_can_be_read_again_and_are_the_same(photos: Path) -> None:
    pairs = pairs_from_recipe(photos, "camera", 2, limit=1)
    first, second = list(pairs), list(pairs)
    assert len(first) == 1 and np.array_equal(first[0].low, second[0].low)


def test_pairs_are_read_one_at_a_time(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"broken")
    pairs = iter(pairs_from_recipe(photos, "acf-std", 2))
    assert next(pairs).name == "a.png"
    with pytest.raises(InputError, match=r"b\.png"):
        next(pairs)


def test_one_picture_is_a_set(photos: Path) -> None:
    assert [pair.name for pair in pairs_from_recipe(photos / "a.png", "acf-std", 2)] == ["a.png"]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("img_001.png", "img_001.webp"),
        ("img_001x2.png", "img_001.png"),
        ("img_001_x4.png", "img_001.png"),
        ("img_001_LR.png", "img_001_HR.png"),
        ("img_001_SRF_2_LR.png", "img_001_SRF_2_HR.png"),
        ("img_001-lq.png", "img_001-gt.png"),
        ("img_001_LRx2.png", "img_001.png"),
    ],
)
def test_names_that_belong_together(low: str, high: str, tmp_path: Path) -> None:
    write_pair(tmp_path, low, high)
    (pair,) = pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 2)
    assert pair.name == high
    assert pair.high.shape == (60, 48, 3) and pair.low.shape == (30, 24, 3)


def test_equal_names_come_before_names_without_tails(tmp_path: Path) -> None:
    for seed, name in enumerate(("view.png", "view_x2.png")):
        write_pair(tmp_path, name, name, seed)
    pairs = list(pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 2))
    for pair in pairs:
        assert np.array_equal(pair.low, small(pair.high))
    assert [pair.name for pair in pairs] == ["view.png", "view_x2.png"]


def test_truth_is_cropped_to_a_multiple_of_the_scale(tmp_path: Path) -> None:
    image = picture(61, 49)
    write_image(tmp_path / "hr" / "a.png", image)
    write_image(tmp_path / "lr" / "a.png", small(np.ascontiguousarray(image[:60, :48])))
    (pair,) = pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 2)
    assert np.array_equal(pair.high, image[:60, :48])


@pytest.mark.parametrize(("extra", "folder"), [("lr", "hr"), ("hr", "lr")])
def test_pictures_without_a_partner_are_named(extra: str, folder: str, tmp_path: Path) -> None:
    write_pair(tmp_path, "a.png", "a.png")
    write_image(tmp_path / extra / "lonely_x2.png", picture())
    with pytest.raises(InputError, match=rf"1 of .*{extra}' have no partner.*lonely_x2\.png"):
        pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 2)


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a.png", "a.png")
    write_image(tmp_path / "lr" / "a.webp", picture())
    with pytest.raises(InputError, match=r"a\.png' and 'a\.webp"):
        pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 2)


def test_sizes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_pair(tmp_path, "a.png", "a.png")
    with pytest.raises(InputError, match=r"48x60.*not 4 times as large.*24x30"):
        list(pairs_from_folders(tmp_path / "lr", tmp_path / "hr", 4))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "nothing to evaluate"),
        ({"low": "lr"}, "Only one"),
        ({"high": "hr"}, "Only one"),
        ({"recipe": "acf-std"}, "needs pictures"),
        ({"data": "photos", "low": "lr", "high": "hr"}, "do not go together"),
        ({"low": "lr", "high": "hr", "recipe": "acf-std"}, "needs pictures"),
    ],
)
def test_pictures_must_come_from_one_place(given: dict[str, str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        choose_pairs(4, **given)  # type: ignore[arg-type]
