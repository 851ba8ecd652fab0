"""Degradation synthesis: what blur, down-sampling, noise and codecs do to a picture."""

from __future__ import annotations

from acf_edge.degrade.chain import (
    DegradationStages,
    degrade_image,
    degrade_stages,
    mod_crop,
    seed_from_name,
)
from acf_edge.degrade.codec import jpeg_roundtrip
from acf_edge.degrade.recipe import Recipe, load_recipe, recipe_names

__all__ = [
    "DegradationStages",
    "Recipe",
    "degrade_image",
    "degrade_stages",
    "jpeg_roundtrip",
    "load_recipe",
    "mod_crop",
    "recipe_names",
    "seed_from_name",
]
