"""Recipes drawn evenly: a few dozen pictures that cover a recipe's whole range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from acf_edge.degrade.recipe import Recipe
from acf_edge.errors import InputError


def stratified(recipe: Recipe, count: int, seed: int) -> list[Recipe]:
    """Split a recipe into ``count`` narrow ones that together cover it evenly.

    A Latin hypercube (McKay, Beckman and Conover, Technometrics 1979): every range is cut into
    ``count`` strata, each recipe gets one stratum of each range, and the ranges are shuffled
    against one another. Plain random draws of a few dozen would leave holes: no picture with
    the longest blur, say, and the activations that it causes would be clipped.

    Args:
        recipe: the ranges.
        count: how many, >= 0.
        seed: of the shuffling and of the places inside the strata.

    Returns:
        ``count`` recipes in shuffled order, in which blur length, noise, JPEG quality and
        CRF are single values. What is not a range (curvature, ``mixed`` codecs) is still
        drawn by the chain.

    Raises:
        InputError: a negative count.
    """
    if count < 0:
        raise InputError(f"{count} recipes cannot be drawn.", "Give a number >= 0.")
    rng = np.random.default_rng(seed)

    def shares() -> npt.NDArray[np.float64]:
        result: npt.NDArray[np.float64] = (rng.permutation(count) + rng.random(count)) / count
        return result

    def places(bounds: tuple[float, float]) -> list[float]:
        return [float(bounds[0] + (bounds[1] - bounds[0]) * share) for share in shares()]

    def numbers(bounds: tuple[int, int]) -> list[int]:
        # Each integer has a stretch of the same length; rounding would halve those at the ends.
        low, high = bounds
        return [min(int(low + (high + 1 - low) * share), high) for share in shares()]

    lengths, shots = places(recipe.blur_length), places(recipe.noise_shot)
    reads, qualities = places(recipe.noise_read), numbers(recipe.jpeg_quality)
    crfs = numbers(recipe.h264_crf)
    return [
        replace(
            recipe,
            blur_length=(lengths[i], lengths[i]),
            noise_shot=(shots[i], shots[i]),
            noise_read=(reads[i], reads[i]),
            jpeg_quality=(qualities[i], qualities[i]),
            h264_crf=(crfs[i], crfs[i]),
        )
        for i in range(count)
    ]
