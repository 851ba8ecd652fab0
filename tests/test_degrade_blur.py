"""Motion kernels: mass 1, no shift, as long and as bent as asked."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.degrade.blur import (
    FloatArray,
    apply_kernel,
    draw_motion_kernel,
    motion_trajectory,
    trajectory_kernel,
)
from acf_edge.errors import InputError

LENGTHS = [0.5, 2.0, 7.3, 20.0, 90.0, 200.0]
TURNS = [0.0, 1.0, 3.0]
ANGLES = [0.0, 0.7, math.pi / 2, 2.5]


def kernel_of(length: float, turn: float, angle: float) -> FloatArray:
    return trajectory_kernel(motion_trajectory(length, turn, angle))


def moments(kernel: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centroid (x, y) about the middle and the covariance, in pixels."""
    radius = kernel.shape[0] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    mass = kernel.astype(np.float64)
    points = np.stack([x.ravel(), y.ravel()])
    centroid = points @ mass.ravel()
    away = points - centroid[:, None]
    return centroid, (away * mass.ravel()) @ away.T


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_kernel_has_mass_one_and_does_not_shift(length: float, turn: float, angle: float) -> None:
    kernel = kernel_of(length, turn, angle)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0.0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
    centroid, _ = moments(kernel)
    np.testing.assert_allclose(centroid, 0.0, atol=1e-3)


def test_no_motion_is_the_identity() -> None:
    kernel = kernel_of(0.0, 2.0, 1.0)
    assert kernel.tolist() == [[1.0]]
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(apply_kernel(image, kernel), image)


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
@pytest.mark.parametrize("length", [4.0, 7.3, 20.0, 90.0])
def test_a_straight_kernel_is_as_long_as_asked(length: float, angle: float) -> None:
    _, spread = moments(kernel_of(length, 0.0, angle))
    along, across = (0, 1) if angle == 0.0 else (1, 0)
    # A uniform line of length L has variance L^2 / 12; the bilinear spread adds up to 1/4.
    assert spread[along, along] == pytest.approx(length**2 / 12, abs=0.3)
    assert spread[across, across] < 1e-6


@pytest.mark.parametrize("angle", ANGLES)
def test_its_direction_is_the_angle_asked(angle: float) -> None:
    _, spread = moments(kernel_of(25.0, 0.0, angle))
    direction = np.linalg.eigh(spread)[1][:, 1]
    wanted = np.array([math.cos(angle), math.sin(angle)])
    assert abs(direction @ wanted) > 0.999


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_arc_is_as_long_as_asked(length: float, turn: float) -> None:
    path = motion_trajectory(length, turn, 0.3)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    # n points have n - 1 steps between them.
    assert steps.sum() * len(path) / (len(path) - 1) == pytest.approx(length, rel=1e-6)
    np.testing.assert_allclose(path.mean(axis=0), 0.0, atol=1e-9)


def test_turning_bends_the_line() -> None:
    widths = [np.linalg.eigvalsh(moments(kernel_of(30.0, t, 0.4))[1]) for t in (0.0, 1.0, 3.0)]
    across, along = zip(*widths, strict=True)
    assert across[0] < 0.5
    assert across[0] + 0.5 < across[1] < across[2]
    assert along[0] > along[1] > along[2]


def test_turning_the_other_way_mirrors_the_line() -> None:
    left, right = kernel_of(12.0, 1.3, 0.0), kernel_of(12.0, -1.3, 0.0)
    np.testing.assert_allclose(left, right[::-1], atol=1e-6)
    assert np.abs(left - right).max() > 0.01


def test_a_long_line_has_no_gaps() -> None:
    kernel = kernel_of(200.0, 0.0, 0.0)
    line = kernel[kernel.shape[0] // 2]
    inside = line[2:-2]
    assert inside.min() > 0.5 * inside.max()


def test_the_generators_state_decides_the_kernel() -> None:
    first = draw_motion_kernel(np.random.default_rng(4), (5.0, 20.0), 1.0)
    again = draw_motion_kernel(np.random.default_rng(4), (5.0, 20.0), 1.0)
    other = draw_motion_kernel(np.random.default_rng(5), (5.0, 20.0), 1.0)
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or np.abs(first - other).max() > 0.01


def test_drawn_kernels_fill_the_range_in_all_directions() -> None:
    rng = np.random.default_rng(0)
    spreads = [moments(draw_motion_kernel(rng, (4.0, 16.0), 0.0))[1] for _ in range(200)]
    lengths = np.sqrt([12 * np.trace(spread) for spread in spreads])
    assert 3.5 < lengths.min() < 5.0
    assert 15.0 < lengths.max() < 17.0
    lying = np.mean([spread[0, 0] > spread[1, 1] for spread in spreads])
    assert 0.35 < lying < 0.65


def test_a_point_becomes_the_kernel() -> None:
    # A convolution, not a correlation: the picture of a point is the kernel, not its mirror.
    kernel = kernel_of(9.0, 2.0, 0.5)
    radius = kernel.shape[0] // 2
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 255.0
    blurred = apply_kernel(point, kernel)
    assert blurred.dtype == np.float32
    part = blurred[20 - radius : 21 + radius, 20 - radius : 21 + radius, 1]
    np.testing.assert_allclose(part, 255.0 * kernel, atol=0.02)


def test_even_light_stays_even_up_to_the_border() -> None:
    flat = np.full((12, 10, 3), 77, np.uint8)
    np.testing.assert_allclose(apply_kernel(flat, kernel_of(30.0, 1.0, 0.2)), 77.0, atol=0.01)


@pytest.mark.parametrize("length", [(-1.0, 2.0), (3.0, 2.0), (0.0, math.inf), (math.nan, 1.0)])
def test_lengths_that_are_no_range_are_refused(length: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="length"):
        draw_motion_kernel(np.random.default_rng(0), length, 1.0)


@pytest.mark.parametrize("turn", [-0.1, math.nan, math.inf])
def test_a_curvature_that_is_no_bound_is_refused(turn: float) -> None:
    with pytest.raises(InputError, match="curvature"):
        draw_motion_kernel(np.random.default_rng(0), (0.0, 2.0), turn)
