"""Recipes: the shipped ones, the checks, milder versions, and even coverage by strata."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from acf_edge.degrade import Recipe, load_recipe, recipe_names
from acf_edge.degrade.strata import stratified
from acf_edge.errors import InputError

WIDE = Recipe(
    "wide",
    blur_length=(2.0, 20.0),
    noise_shot=(1.0, 4.0),
    noise_read=(0.5, 2.0),
    codec="mixed",
    jpeg_quality=(30, 90),
    h264_crf=(18, 38),
)


def test_the_yardstick_is_what_the_figures_say_it_is() -> None:
    recipe = load_recipe("acf-std")
    assert recipe.blur_length == (0.0, 20.0)
    assert (recipe.down, recipe.codec, recipe.jpeg_quality) == ("bicubic", "jpeg", (30, 90))
    assert recipe.noise_shot == recipe.noise_read == (0.0, 0.0)


def test_the_shipped_recipes_all_load() -> None:
    assert {"acf-std", "camera", "webcam", "cctv", "clean"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_a_file_may_say_little_or_all(tmp_path: Path) -> None:
    little = tmp_path / "little.toml"
    little.write_text('description = "ignored"\n', encoding="utf-8")
    assert load_recipe(little) == Recipe("little")
    everything = tmp_path / "all.toml"
    everything.write_text(
        'name = "mine"\nblur_length = [2, 20.0]\nblur_curvature = 2\ndown = "area"\n'
        'noise_shot = [1.0, 4.0]\nnoise_read = [0.5, 2]\ncodec = "mixed"\n'
        'jpeg_quality = [30, 90]\njpeg_444 = 0.25\nh264_crf = [18, 38]\nh264_preset = "medium"\n',
        encoding="utf-8",
    )
    assert load_recipe(str(everything)) == Recipe(
        "mine", (2, 20.0), 2, "area", (1.0, 4.0), (0.5, 2), "mixed", (30, 90), 0.25, (18, 38),
        "medium",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("blur_lenght = [0, 3]", "blur_lenght"),
        ("blur_length = 20", "blur_length"),
        ("blur_length = [0, 10, 20]", "blur_length"),
        ("blur_length = [20, 0]", "blur_length"),
        ("blur_length = [-1, 5]", "blur_length"),
        ("blur_length = [0, 1e9]", "blur_length"),
        ("blur_length = [0, nan]", "blur_length"),
        ('blur_length = ["0", "3"]', "blur_length"),
        ("blur_length = [false, true]", "blur_length"),
        ("blur_curvature = -1", "blur_curvature"),
        ("blur_curvature = nan", "blur_curvature"),
        ("blur_curvature = inf", "blur_curvature"),
        ("blur_curvature = [0, 1]", "blur_curvature"),
        ("noise_shot = [0, 500]", "noise_shot"),
        ("noise_read = [3]", "noise_read"),
        ("jpeg_quality = [0, 90]", "jpeg_quality"),
        ("jpeg_quality = [30, 101]", "jpeg_quality"),
        ("jpeg_quality = [30.5, 90]", "jpeg_quality"),
        ("jpeg_444 = 1.5", "jpeg_444"),
        ("jpeg_444 = true", "jpeg_444"),
        ("h264_crf = [23, 52]", "h264_crf"),
        ('h264_preset = "warp"', "h264_preset"),
        ("h264_preset = 3", "h264_preset"),
        ('down = "nearest"', "down"),
        ('down = ["area"]', "down"),
        ('codec = "av1"', "codec"),
        ("codec = 1", "codec"),
        ("name = 7", "name"),
        ('name = ""', "name"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, key: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"'{key}'") as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'acf-sdt'.*acf-std"):
        load_recipe("acf-sdt")
    with pytest.raises(InputError, match=r"gone\.toml"):
        load_recipe(tmp_path / "gone.toml")


@pytest.mark.parametrize("content", [b"blur_length = [0,", b"\xff\xfe\x00", b"codec = jpeg"])
def test_what_is_no_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no TOML") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="folder"):
        load_recipe(tmp_path / "folder.toml")


def test_full_difficulty_is_the_recipe_and_none_is_its_best() -> None:
    assert WIDE.scaled(1.0) == WIDE
    mildest = WIDE.scaled(0.0)
    assert mildest.blur_length == mildest.noise_shot == mildest.noise_read == (0.0, 0.0)
    assert mildest.jpeg_quality == (90, 90)
    assert mildest.h264_crf == (18, 18)
    assert (mildest.name, mildest.codec, mildest.down) == (WIDE.name, WIDE.codec, WIDE.down)


def test_half_difficulty_lies_half_way() -> None:
    half = WIDE.scaled(0.5)
    assert half.blur_length == (1.0, 10.0)
    assert half.noise_shot == (0.5, 2.0)
    assert half.jpeg_quality == (60, 90)
    assert half.h264_crf == (18, 28)


@pytest.mark.parametrize(("beyond", "end"), [(-3.0, 0.0), (7.0, 1.0)])
def test_difficulty_ends_at_its_ends(beyond: float, end: float) -> None:
    assert WIDE.scaled(beyond) == WIDE.scaled(end)


@pytest.mark.parametrize("count", [1, 2, 7, 24])
@pytest.mark.parametrize("field", ["blur_length", "noise_shot", "noise_read"])
def test_every_stratum_is_hit_exactly_once(field: str, count: int) -> None:
    low, high = getattr(WIDE, field)
    values = []
    for recipe in stratified(WIDE, count, seed=3):
        first, second = getattr(recipe, field)
        assert first == second
        values.append(first)
    strata = np.floor((np.array(values) - low) / (high - low) * count).astype(int)
    assert sorted(strata.tolist()) == list(range(count))


@pytest.mark.parametrize(("field", "count"), [("jpeg_quality", 61), ("h264_crf", 21)])
def test_as_many_strata_as_integers_are_each_integer_once(field: str, count: int) -> None:
    low, high = getattr(WIDE, field)
    drawn = [getattr(recipe, field) for recipe in stratified(WIDE, count, seed=9)]
    assert sorted(drawn) == [(value, value) for value in range(low, high + 1)]
    assert all(type(value) is int for pair in drawn for value in pair)


@pytest.mark.parametrize("field", ["jpeg_quality", "h264_crf"])
def test_fewer_strata_than_integers_leave_no_hole(field: str) -> None:
    low, high = getattr(WIDE, field)
    values = sorted(getattr(recipe, field)[0] for recipe in stratified(WIDE, 6, seed=2))
    width = (high + 1 - low) / 6
    for index, value in enumerate(values):
        assert math.floor(low + index * width) <= value <= math.ceil(low + (index + 1) * width)


def test_the_fields_are_shuffled_against_one_another() -> None:
    drawn = stratified(WIDE, 40, seed=5)
    columns = [
        [recipe.blur_length[0] for recipe in drawn],
        [recipe.noise_shot[0] for recipe in drawn],
        [float(recipe.jpeg_quality[0]) for recipe in drawn],
        [float(index) for index in range(40)],
    ]
    off_diagonal = np.abs(np.corrcoef(columns) - np.eye(4))
    assert off_diagonal.max() < 0.5


def test_strata_follow_the_seed_and_keep_the_rest() -> None:
    assert stratified(WIDE, 8, seed=1) == stratified(WIDE, 8, seed=1)
    assert stratified(WIDE, 8, seed=1) != stratified(WIDE, 8, seed=2)
    assert {(r.name, r.codec, r.down) for r in stratified(WIDE, 8, seed=1)} == {
        (WIDE.name, WIDE.codec, WIDE.down)
    }


def test_no_range_is_no_spread_and_no_count_no_recipe() -> None:
    assert set(stratified(load_recipe("clean"), 5, seed=0)) == {load_recipe("clean")}
    assert stratified(WIDE, 0, seed=0) == []
    with pytest.raises(InputError, match="-1"):
        stratified(WIDE, -1, seed=0)
