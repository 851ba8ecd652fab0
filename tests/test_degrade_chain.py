"""The chain: sizes, seeds, noise that follows its law, codecs that follow their quality."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.degrade import (
    Recipe,
    degrade_image,
    degrade_stages,
    jpeg_roundtrip,
    load_recipe,
    mod_crop,
    recipe_names,
    seed_from_name,
)
from acf_edge.degrade.chain import add_noise
from acf_edge.errors import InputError
from acf_edge.imaging.metrics import psnr
from acf_edge.imaging.resize import resize, to_uint8
from acf_edge.imaging.scenes import dead_leaves

Uint8Image = npt.NDArray[np.uint8]
EVERYTHING = Recipe(
    "everything",
    blur_length=(5.0, 20.0),
    down="mixed",
    noise_shot=(1.0, 4.0),
    noise_read=(1.0, 2.0),
    codec="jpeg",
    jpeg_quality=(30, 90),
    jpeg_444=0.5,
)
PLAIN = Recipe("plain")


@pytest.fixture(scope="module")
def scene() -> Uint8Image:
    return dead_leaves(160, 192, 3)


def test_the_seed_of_a_name_is_the_same_for_ever() -> None:
    assert seed_from_name("0001.png") == 3959668050
    assert seed_from_name("") == 0
    assert seed_from_name("straße.jpg") == 2292328897
    # A name that is no UTF-8 arrives from the file system with surrogates.
    assert seed_from_name(b"caf\xe9.png".decode("utf-8", "surrogateescape")) == 3512366086


@pytest.mark.parametrize(
    ("size", "scale", "wanted"),
    [((160, 192), 4, (160, 192)), ((163, 190), 4, (160, 188)), ((7, 5), 2, (6, 4))],
)
def test_cropping_takes_from_the_bottom_and_the_right(
    size: tuple[int, int], scale: int, wanted: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(mod_crop(image, scale), image[: wanted[0], : wanted[1]])


@pytest.mark.parametrize(("size", "scale"), [((3, 40), 4), ((40, 3), 4), ((8, 8), 0)])
def test_a_crop_that_leaves_nothing_is_refused(size: tuple[int, int], scale: int) -> None:
    with pytest.raises(InputError):
        mod_crop(np.zeros((*size, 3), np.uint8), scale)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_all_stations_have_the_low_resolution(scale: int) -> None:
    image = dead_leaves(63, 70, 0)
    stages = degrade_stages(image, EVERYTHING, scale, seed=1)
    for station in (stages.sharp, stages.blurred, stages.degraded):
        assert station.shape == (63 // scale, 70 // scale, 3)
        assert station.dtype == np.uint8
    np.testing.assert_array_equal(stages.degraded, degrade_image(image, EVERYTHING, scale, seed=1))


def test_the_seed_decides_every_byte(scene: Uint8Image) -> None:
    first = degrade_image(scene, EVERYTHING, 4, seed=11)
    np.testing.assert_array_equal(first, degrade_image(scene, EVERYTHING, 4, seed=11))
    others = [degrade_image(scene, EVERYTHING, 4, seed=seed) for seed in range(12, 18)]
    assert all((other != first).mean() > 0.3 for other in others)


def test_the_input_is_left_alone(scene: Uint8Image) -> None:
    before = scene.copy()
    degrade_image(scene, EVERYTHING, 4, seed=0)
    degrade_image(scene, PLAIN, 1, seed=0)[:] = 0
    np.testing.assert_array_equal(scene, before)


def test_each_station_has_what_it_says(scene: Uint8Image) -> None:
    recipe = Recipe("jpeg", blur_length=(12.0, 12.0), codec="jpeg", jpeg_quality=(40, 40))
    stages = degrade_stages(scene, recipe, 4, seed=2)
    np.testing.assert_array_equal(stages.sharp, to_uint8(resize(scene, 40, 48)))
    np.testing.assert_array_equal(stages.degraded, jpeg_roundtrip(stages.blurred, 40))
    detail = [np.abs(np.diff(s.astype(int), axis=1)).mean() for s in (stages.sharp, stages.blurred)]
    assert detail[1] < 0.9 * detail[0]


def test_without_any_degradation_all_stations_are_one(scene: Uint8Image) -> None:
    stages = degrade_stages(scene, PLAIN, 2, seed=2)
    np.testing.assert_array_equal(stages.sharp, stages.blurred)
    np.testing.assert_array_equal(stages.sharp, stages.degraded)


def test_longer_blur_leaves_less(scene: Uint8Image) -> None:
    figures = []
    for length in (0.0, 4.0, 10.0, 20.0):
        recipe = Recipe("blur", blur_length=(length, length))
        stages = degrade_stages(scene, recipe, 4, seed=5)
        figures.append(min(psnr(stages.blurred, stages.sharp), 99.0))
    assert figures == sorted(figures, reverse=True)
    assert figures[1] > figures[3] + 3.0


def test_mixed_downsampling_draws_both_kernels(scene: Uint8Image) -> None:
    recipe = Recipe("mixed", down="mixed")
    drawn = {degrade_image(scene, recipe, 4, seed).tobytes() for seed in range(16)}
    wanted = {to_uint8(resize(scene, 40, 48, kernel)).tobytes() for kernel in ("bicubic", "area")}
    assert drawn == wanted


@pytest.mark.parametrize(("shot", "read"), [(0.0, 3.0), (6.0, 0.0), (4.0, 2.0)])
@pytest.mark.parametrize("level", [10.0, 100.0, 250.0])
def test_noise_has_the_variance_of_shot_and_read(level: float, shot: float, read: float) -> None:
    flat = np.full((200, 200, 3), level, np.float32)
    noisy = add_noise(flat, np.random.default_rng(8), shot, read)
    assert noisy.dtype == np.float32
    assert float(noisy.mean()) == pytest.approx(level, abs=0.1)
    assert float(noisy.var()) == pytest.approx(shot**2 * level / 255 + read**2, rel=0.03)
    left, right = (noisy - level)[:, :-1].ravel(), (noisy - level)[:, 1:].ravel()
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.02


def test_no_noise_is_no_draw() -> None:
    rng = np.random.default_rng(3)
    image = np.full((4, 4, 3), 9.0, np.float32)
    np.testing.assert_array_equal(add_noise(image, rng, 0.0, 0.0), image)
    assert rng.random() == np.random.default_rng(3).random()


def test_noise_stays_inside_the_codes() -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    noisy = degrade_image(black, Recipe("n", noise_read=(9.0, 9.0)), 1, seed=0)
    # A wrap-around would show as codes near 255.
    assert 0 < noisy.max() < 60


@pytest.mark.parametrize("full_chroma", [False, True])
def test_better_jpeg_is_nearer(scene: Uint8Image, full_chroma: bool) -> None:
    figures = [psnr(jpeg_roundtrip(scene, q, full_chroma), scene) for q in (10, 30, 60, 90, 100)]
    assert figures == sorted(figures)
    assert figures[-1] > figures[0] + 8.0


def test_full_chroma_keeps_colour_that_the_other_loses() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    assert psnr(jpeg_roundtrip(stripes, 90, True), stripes) > 25.0
    assert psnr(jpeg_roundtrip(stripes, 90, False), stripes) < 15.0


def test_jpeg_keeps_red_red() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 200
    np.testing.assert_allclose(jpeg_roundtrip(red, 95).astype(int), red.astype(int), atol=3)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_that_libjpeg_has_not_is_refused(quality: int) -> None:
    with pytest.raises(InputError, match=str(quality)):
        jpeg_roundtrip(np.zeros((8, 8, 3), np.uint8), quality)


def test_every_jpeg_quality_of_the_range_is_drawn() -> None:
    image = dead_leaves(32, 32, 0)
    recipe = Recipe("j", codec="jpeg", jpeg_quality=(40, 43))
    drawn = {degrade_image(image, recipe, 1, seed).tobytes() for seed in range(40)}
    assert drawn == {jpeg_roundtrip(image, quality).tobytes() for quality in range(40, 44)}


def test_h264_follows_its_rate_factor(scene: Uint8Image) -> None:
    def figure(crf: int) -> float:
        recipe = Recipe("h", codec="h264", h264_crf=(crf, crf))
        stages = degrade_stages(scene, recipe, 2, seed=0)
        return psnr(stages.degraded, stages.blurred)

    fine, coarse = figure(20), figure(40)
    assert coarse + 4.0 < fine < 50.0


def test_a_mixed_codec_draws_both(scene: Uint8Image) -> None:
    base = Recipe("m", jpeg_quality=(50, 50), h264_crf=(30, 30), codec="mixed")
    small = scene[:64, :64]
    wanted = {
        degrade_image(small, replace(base, codec=codec), 2, 0).tobytes()
        for codec in ("jpeg", "h264")
    }
    assert len(wanted) == 2
    assert {degrade_image(small, base, 2, seed).tobytes() for seed in range(12)} == wanted


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_runs(name: str, scene: Uint8Image) -> None:
    recipe = load_recipe(name)
    low = degrade_image(scene, recipe, 4, seed_from_name("a.png"))
    assert low.shape == (40, 48, 3)
    # Recognisably the same picture, and, unless it is the clean one, not the same.
    clean = cv2.resize(scene, (48, 40), interpolation=cv2.INTER_AREA)
    assert 17.0 < psnr(low, clean) < 45.0
