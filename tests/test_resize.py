"""Resampling: exact on what a cubic kernel must reproduce, the same as Pillow's inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.errors import InputError
from acf_edge.imaging.resize import (
    resample_matrix,
    resize,
    resize_bicubic,
    to_uint8,
    upscale_bicubic,
)

SIZES = [(64, 16), (16, 64), (50, 31), (31, 50), (7, 7), (1, 5), (5, 1), (2, 9)]


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kernel", ["bicubic", "area"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_every_row_of_weights_sums_to_one(
    source: int, target: int, kernel: str, antialias: bool
) -> None:
    matrix = resample_matrix(source, target, kernel, antialias)
    assert matrix.shape == (target, source)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("kernel", ["bicubic", "area"])
def test_the_same_size_changes_nothing(kernel: str) -> None:
    image = noise(9, 13)
    np.testing.assert_array_equal(resize(image, 9, 13, kernel), image)


# A widened kernel is exact only where its samples lie symmetrically: at whole factors.
@pytest.mark.parametrize(
    ("source", "target", "antialias"),
    [
        (64, 16, True),
        (64, 16, False),
        (60, 20, True),
        (64, 48, False),
        (16, 64, True),
        (16, 64, False),
        (20, 33, True),
    ],
)
def test_a_linear_ramp_stays_the_ramp_inside(source: int, target: int, antialias: bool) -> None:
    ratio = source / target
    ramp = np.arange(source, dtype=np.float32)[None, :] * np.ones((4, 1), np.float32)
    result = resize_bicubic(ramp, 4, target, antialias)
    wanted = (np.arange(target) + 0.5) * ratio - 0.5
    # Half the kernel's support, in target samples, is where the repeated edge reaches.
    edge = int(np.ceil(2 * max(ratio, 1.0) / ratio)) + 1
    np.testing.assert_allclose(
        result[:, edge:-edge], np.broadcast_to(wanted, (4, target))[:, edge:-edge], atol=2e-4
    )


def test_bicubic_is_keys_kernel_with_a_half() -> None:
    # Twofold enlargement puts samples at +-1/4: the closed values of Keys' kernel, a = -0.5.
    impulse = np.zeros((1, 16), np.float32)
    impulse[0, 8] = 128.0
    result = resize_bicubic(impulse, 1, 32)[0]
    weights = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 128.0
    np.testing.assert_allclose(result[13:21], 128.0 * weights, atol=1e-4)
    assert np.abs(result[:13]).max() == np.abs(result[21:]).max() == 0.0


@pytest.mark.parametrize("size", [(16, 24), (32, 48), (45, 70), (128, 192), (256, 384), (97, 150)])
def test_inside_it_is_what_pillow_does(size: tuple[int, int]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    # Pillow clips between the axes: half the contrast keeps the overshoot inside 0..255.
    image = noise(64, 96, seed=3) // 2 + 64
    height, width = size
    ours = to_uint8(resize_bicubic(image, height, width)).astype(int)
    theirs = np.asarray(
        pillow.fromarray(image).resize((width, height), pillow.Resampling.BICUBIC)
    ).astype(int)
    # At the border Pillow leaves weights out where we repeat the edge.
    y = int(np.ceil(2 * max(height / 64, 1.0))) + 1
    x = int(np.ceil(2 * max(width / 96, 1.0))) + 1
    difference = np.abs(ours - theirs)[y:-y, x:-x]
    # Pillow rounds between the axes: a fifth of the codes is one off.
    assert difference.max() <= 2
    assert difference.mean() < 0.3


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_area_is_the_mean_of_blocks(factor: int) -> None:
    image = noise(12 * factor, 10 * factor)
    blocks = image.reshape(12, factor, 10, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, 12, 10, "area"), blocks, atol=1e-3)


def test_area_weighs_by_overlap_where_the_factor_is_no_integer() -> None:
    row = np.array([[0.0, 90.0, 30.0]], np.float32)
    np.testing.assert_allclose(resize(row, 1, 2, "area"), [[30.0, 50.0]], atol=1e-4)


def test_antialiasing_removes_what_the_small_picture_cannot_hold() -> None:
    columns = np.arange(64, dtype=np.float32)
    stripes = (127.5 + 127.5 * np.cos(np.pi * columns))[None, :] * np.ones((8, 1), np.float32)
    assert np.ptp(resize_bicubic(stripes, 8, 13)[:, 3:-3]) < 10.0
    assert np.ptp(resize_bicubic(stripes, 8, 13, antialias=False)[:, 3:-3]) > 100.0


def test_planes_and_pictures_are_resampled_alike() -> None:
    image = noise(20, 30)
    picture = resize_bicubic(image, 9, 44)
    assert picture.shape == (9, 44, 3)
    assert picture.dtype == np.float32
    for channel in range(3):
        plane = resize_bicubic(image[:, :, channel], 9, 44)
        np.testing.assert_allclose(plane, picture[:, :, channel], atol=1e-3)


def test_overshoot_is_kept_until_it_is_rounded() -> None:
    step = np.repeat(np.array([[0, 255]], np.uint8), 16, axis=1)
    enlarged = resize_bicubic(step, 1, 128)
    assert enlarged.min() < -1.0
    assert enlarged.max() > 256.0
    codes = upscale_bicubic(step, 4)
    assert codes.dtype == np.uint8
    assert codes.shape == (4, 128)
    assert (codes.min(), codes.max()) == (0, 255)


def test_rounding_is_half_to_even_and_clipped() -> None:
    values = np.array([-3.0, 0.5, 1.5, 2.5, 254.5, 255.4, 300.0], np.float32)
    assert to_uint8(values).tolist() == [0, 0, 2, 2, 254, 255, 255]


def test_the_cached_matrix_cannot_be_spoilt() -> None:
    with pytest.raises(ValueError, match="read-only"):
        resample_matrix(8, 4)[0, 0] = 7.0


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_sizes_below_one_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="Cannot resample"):
        resize(noise(8, 8), *size)
    with pytest.raises(InputError, match="Cannot resample"):
        upscale_bicubic(noise(8, 8), 0)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="lanczos"):
        resize(noise(8, 8), 4, 4, "lanczos")
