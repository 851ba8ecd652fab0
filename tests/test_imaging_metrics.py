"""PSNR, SSIM and luma against closed forms and an independent implementation."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.errors import InputError
from acf_edge.imaging.metrics import luma, psnr, quality, ssim

Array = npt.NDArray[Any]


def pair(height: int = 40, width: int = 53, sigma: float = 12.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    soft = cv2.GaussianBlur(rng.random((height, width, 3)) * 255, (0, 0), 1.2)
    noisy = soft + rng.normal(0, sigma, soft.shape)
    return soft.astype(np.uint8), np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "value"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
    ],
)
def test_luma_is_studio_range_bt601(colour: tuple[int, int, int], value: float) -> None:
    result = luma(np.full((2, 3, 3), colour, dtype=np.uint8))
    assert result.shape == (2, 3) and result.dtype == np.float64
    assert np.allclose(result, value, atol=1e-9)


def test_luma_is_not_rounded() -> None:
    assert float(luma(np.ones((1, 1, 3), np.uint8))[0, 0]) == pytest.approx(16 + 219 / 255)


@pytest.mark.parametrize("difference", [1, 5, 20])
def test_psnr_of_a_constant_difference(difference: int) -> None:
    a = np.full((9, 7, 3), 100, np.uint8)
    b = (a + difference).astype(np.uint8)
    assert psnr(a, b) == pytest.approx(20 * math.log10(255 / difference))


def test_psnr_does_not_wrap_around() -> None:
    assert psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)) == 0.0


def test_psnr_is_symmetric() -> None:
    a, b = pair()
    assert psnr(a, b) == psnr(b, a)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)


def test_identical_pictures_are_infinitely_near() -> None:
    a, _ = pair()
    figures = quality(a, a.copy(), 4)
    assert figures.psnr_y == figures.psnr_rgb == math.inf
    assert figures.ssim_y == pytest.approx(1.0, abs=1e-12)
    assert figures.ssim_rgb == pytest.approx(1.0, abs=1e-12)


def test_the_border_is_shaved_from_every_side() -> None:
    a, b = pair()
    spoiled = b.copy()
    spoiled[:3], spoiled[-3:], spoiled[:, :3], spoiled[:, -3:] = 0, 0, 0, 0
    assert psnr(a, spoiled, 3) == psnr(a[3:-3, 3:-3], b[3:-3, 3:-3])
    assert ssim(a, spoiled, 3) == ssim(a[3:-3, 3:-3], b[3:-3, 3:-3])
    assert quality(a, spoiled, 3) == quality(a[3:-3, 3:-3], b[3:-3, 3:-3])
    assert psnr(a, spoiled, 2) < psnr(a, b, 2) - 1.0


@pytest.mark.parametrize("size", [(11, 11), (40, 53), (64, 17)])
@pytest.mark.parametrize("sigma", [2.0, 40.0])
def test_ssim_agrees_with_scikit_image(size: tuple[int, int], sigma: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 255,
    }
    a, b = pair(*size, sigma=sigma)
    want = metrics.structural_similarity(a, b, channel_axis=2, **options)
    assert ssim(a, b) == pytest.approx(want, abs=1e-10)
    want_y = metrics.structural_similarity(luma(a), luma(b), **options)
    assert quality(a, b).ssim_y == pytest.approx(want_y, abs=1e-10)


def test_ssim_of_flat_pictures_has_a_closed_form() -> None:
    a, b = np.full((16, 16), 100, np.uint8), np.full((16, 16), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    want = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(a, b) == pytest.approx(want, abs=1e-9)


def test_quality_joins_the_four_figures() -> None:
    a, b = pair()
    figures = quality(a, b, 2)
    assert figures.psnr_rgb == psnr(a, b, 2)
    assert figures.psnr_y == psnr(luma(a), luma(b), 2)
    assert figures.ssim_rgb == ssim(a, b, 2)
    assert figures.ssim_y == ssim(luma(a), luma(b), 2)
    # Luma averages the channels' noise and has the smaller range.
    assert figures.psnr_y > figures.psnr_rgb


@pytest.mark.parametrize(
    ("a", "b", "border", "word"),
    [
        (np.zeros((20, 20, 3)), np.zeros((20, 21, 3)), 0, "21x20"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20)), 0, "cannot be compared"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), 5, "too small"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), -1, "-1"),
        (np.zeros((20,)), np.zeros((20,)), 0, "no picture"),
    ],
)
def test_what_cannot_be_compared_is_named(a: Array, b: Array, border: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        quality(a.astype(np.uint8), b.astype(np.uint8), border)


def test_psnr_needs_one_pixel_and_ssim_eleven() -> None:
    a = np.zeros((3, 3), np.uint8)
    assert psnr(a, a, 1) == math.inf
    with pytest.raises(InputError, match="too small"):
        psnr(a, a, 2)
    with pytest.raises(InputError, match="At least 11"):
        ssim(np.zeros((10, 40), np.uint8), np.zeros((10, 40), np.uint8))


def test_grey_has_no_luma() -> None:
    with pytest.raises(InputError, match="luma"):
        luma(np.zeros((4, 4), np.uint8))
