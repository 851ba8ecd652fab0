"""Quality of an engine on pictures whose truth is known."""

from __future__ import annotations

from acf_edge.evaluate.engines import BicubicBaseline, choose_engine
from acf_edge.evaluate.pairs import (
    Pair,
    Pairs,
    choose_pairs,
    pairs_from_folders,
    pairs_from_recipe,
)
from acf_edge.evaluate.result import Evaluation, ImageResult
from acf_edge.evaluate.run import evaluate_pairs

__all__ = [
    "BicubicBaseline",
    "Evaluation",
    "ImageResult",
    "Pair",
    "Pairs",
    "choose_engine",
    "choose_pairs",
    "evaluate_pairs",
    "pairs_from_folders",
    "pairs_from_recipe",
]
