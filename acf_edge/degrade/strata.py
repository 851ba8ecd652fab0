"""Recipes drawn evenly: a few dozen pictures that cover a recipe's whole range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from acf_edge.degrade.recipe import Recipe


def stratified(recipe: Recipe, count: int, seed: int) -> list[Recipe]:
    """Split a recipe into ``count`` narrow ones that together cover it evenly.

    A Latin hypercube (McKay, Beckman and Conover, Technometrics 1979): every range is cut into
    ``count`` strata, each recipe gets one stratum of each range, and the ranges are shuffled
    against one another. Plain random draws of a few dozen would leave holes: no picture with
    the longest blur, say, and the activations that it causes would be clipped.

    Args:
        recipe: the ranges.
        count: how many, >= 1.
        seed: of the shuffling and of the places inside the strata.

    Returns:
        ``count`` recipes whose ranges are single values, in shuffled order.
    """
    rng = np.random.default_rng(seed)

    def places(bounds: tuple[float, float]) -> list[float]:
        shares = (rng.permutation(count) + rng.random(count)) / count
        return [float(bounds[0] + (bounds[1] - bounds[0]) * share) for share in shares]

    lengths, shots = places(recipe.blur_length), places(recipe.noise_shot)
    reads, qualities = places(recipe.noise_read), places(recipe.jpeg_quality)
    crfs = places(recipe.h264_crf)
    return [
        replace(
            recipe,
            blur_length=(lengths[i], lengths[i]),
            noise_shot=(shots[i], shots[i]),
            noise_read=(reads[i], reads[i]),
            jpeg_quality=(round(qualities[i]), round(qualities[i])),
            h264_crf=(round(crfs[i]), round(crfs[i])),
        )
        for i in range(count)
    ]
