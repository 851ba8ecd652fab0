"""Scenes made from nothing: repeatable, covered with leaves, neither flat nor saturated."""

from __future__ import annotations

import numpy as np
import pytest

from acf_edge.errors import InputError
from acf_edge.imaging.scenes import dead_leaves


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 90), (97, 64), (128, 128)])
def test_a_scene_has_the_size_that_was_asked_for(height: int, width: int) -> None:
    scene = dead_leaves(height, width, 0)
    assert scene.shape == (height, width, 3)
    assert scene.dtype == np.uint8


def test_the_seed_decides_the_scene() -> None:
    np.testing.assert_array_equal(dead_leaves(64, 96, 5), dead_leaves(64, 96, 5))
    assert (dead_leaves(64, 96, 5) != dead_leaves(64, 96, 6)).mean() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_little_is_saturated_and_the_whole_range_is_used(seed: int) -> None:
    scene = dead_leaves(256, 320, seed)
    assert ((scene == 0) | (scene == 255)).mean() < 0.05
    low, high = np.percentile(scene, [2, 98])
    assert low < 70
    assert high > 180


@pytest.mark.parametrize("seed", range(4))
def test_edges_and_smooth_places_both_occur(seed: int) -> None:
    grey = dead_leaves(256, 320, seed).astype(np.float64).mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1))
    assert (steps > 40).mean() > 0.005
    assert (steps < 6).mean() > 0.3


@pytest.mark.parametrize(("height", "width"), [(128, 128), (540, 960)])
def test_little_of_the_ground_shows_whatever_the_size(height: int, width: int) -> None:
    scene = dead_leaves(height, width, 1).astype(int)
    # The ground is 110 in all channels; 14 is three times and more the grain's deviation.
    assert (np.abs(scene - 110).max(axis=2) < 14).mean() < 0.15


def test_a_scene_without_room_for_a_leaf_is_refused() -> None:
    with pytest.raises(InputError, match="40x15"):
        dead_leaves(15, 40, 0)
