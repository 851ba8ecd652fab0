"""Show every person to the pose model: sharp, degraded, and enlarged in several ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe, degrade_image, seed_from_name
from acf_edge.engine import Engine
from acf_edge.imaging import read_image, upscale_bicubic
from benchmarks.pose_crop import Crop, cut_out, find_people, is_large_enough, scale_pose
from benchmarks.pose_data import Subject, Truth
from benchmarks.pose_metrics import agreement, oks, pck, usable_reference
from benchmarks.pose_model import PoseModel

FloatArray = npt.NDArray[np.float64]
Uint8Image = npt.NDArray[np.uint8]

ORIGINAL: Final = "original"
LOW: Final = "low"
BICUBIC: Final = "bicubic"
MEASURES: Final = ("found", "detected", "pck", "oks", "agreement")
_MATCH: Final = 0.5  # OKS from which COCO calls a pose a match, at its mildest


@dataclass(frozen=True)
class Score:
    """What the model made of one input; the mean where there are several draws. 0..1.

    Attributes:
        found: 1 where it found somebody.
        detected: 1 where that is the annotated person (OKS >= 0.5); None without annotation.
        pck, oks: None without annotation.
        agreement: None where the original gives no pose to compare with.
    """

    found: float
    detected: float | None
    pck: float | None
    oks: float | None
    agreement: float | None

    def get(self, measure: str) -> float | None:
        """One of :data:`MEASURES`; ``found`` is told of annotated persons alone.

        The others were chosen because the model found them, which says little of a rate.
        """
        if measure == "found" and self.pck is None:
            return None
        value: float | None = getattr(self, measure)
        return value


@dataclass(frozen=True)
class Sample:
    """One person under one recipe at one size.

    Attributes:
        recipe: its name.
        height: of the person in the low-resolution picture, in pixels.
        subject: the person's name.
        scores: of :data:`ORIGINAL`, :data:`LOW`, :data:`BICUBIC` and each engine.
    """

    recipe: str
    height: int
    subject: str
    scores: Mapping[str, Score]

    def to_json(self) -> dict[str, Any]:
        """Scores in the order of :data:`MEASURES`, four digits."""
        return {
            "recipe": self.recipe,
            "height": self.height,
            "person": self.subject,
            "scores": {
                name: [_short(getattr(score, measure)) for measure in MEASURES]
                for name, score in self.scores.items()
            },
        }


@dataclass(frozen=True)
class Shown:
    """A picture that the model is shown.

    Attributes:
        image: ``(h, w, 3)`` uint8 RGB.
        factor: from its pixels to those of the result.
    """

    image: Uint8Image
    factor: float


@dataclass(frozen=True)
class Setup:
    """What is compared.

    Attributes:
        engines: name -> engine; all of the same scale.
        recipes: degradations.
        heights: of the persons in the low-resolution pictures, in pixels.
        draws: how often each person is degraded by each recipe.
        scale: of the engines.
    """

    engines: Mapping[str, Engine]
    recipes: Sequence[Recipe]
    heights: Sequence[int]
    draws: int
    scale: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the model is shown."""
        return (ORIGINAL, LOW, BICUBIC, *self.engines)


def seed_of(subject: Subject, draw: int) -> int:
    """Of the degradation: from names alone, the same for all sizes and recipes."""
    return seed_from_name(f"{subject.name} {draw}")


def show(crop: Crop, recipe: Recipe, seed: int, setup: Setup) -> dict[str, Shown]:
    """Degrade a crop and enlarge it; all but the original, which is the crop itself.

    The low-resolution picture is handed over as it is: the model enlarges it by itself,
    bilinearly.
    """
    low = degrade_image(crop.image, recipe, setup.scale, seed)
    return {
        LOW: Shown(low, setup.scale),
        BICUBIC: Shown(upscale_bicubic(low, setup.scale), 1.0),
        **{name: Shown(engine.run(low), 1.0) for name, engine in setup.engines.items()},
    }


def find(shown: Shown, model: PoseModel) -> FloatArray | None:
    """The pose in pixels of the result."""
    return scale_pose(model.find(shown.image), shown.factor)


def measure(
    subjects: Sequence[Subject],
    setup: Setup,
    model: PoseModel,
    told: Callable[[str], None] = lambda name: None,
) -> Iterator[Sample]:
    """Measure person by person, each at every size that the photo is large enough for.

    Args:
        subjects: whom.
        setup: under what.
        model: by whom.
        told: is called with each person's name before they are measured.

    Raises:
        InputError: a photo cannot be read.
    """
    for subject in subjects:
        told(subject.name)
        photo = read_image(subject.photo)
        for height in setup.heights:
            if is_large_enough(subject, height, setup.scale):
                crop = cut_out(photo, subject.box, height, setup.scale)
                yield from _measure_crop(subject, crop, height, setup, model)


def people_of(
    photos: Sequence[Path], model: PoseModel, told: Callable[[str], None] = lambda name: None
) -> list[Subject]:
    """Persons that the model finds in photos without annotations, see :func:`find_people`."""
    subjects: list[Subject] = []
    for path in photos:
        told(path.name)
        subjects += find_people(path, read_image(path), model)
    return subjects


def _measure_crop(
    subject: Subject, crop: Crop, height: int, setup: Setup, model: PoseModel
) -> Iterator[Sample]:
    truth = None if subject.truth is None else crop.place(subject.truth)
    original = model.find(crop.image)
    reference = original if usable_reference(original) else None
    if truth is None and reference is None:
        return
    for recipe in setup.recipes:
        draws = [
            {
                name: _score(find(shown, model), truth, reference)
                for name, shown in show(crop, recipe, seed_of(subject, draw), setup).items()
            }
            for draw in range(setup.draws)
        ]
        means = {name: _mean([draw[name] for draw in draws]) for name in draws[0]}
        scores = {ORIGINAL: _score(original, truth, reference), **means}
        yield Sample(recipe.name, height, subject.name, scores)


def _score(pose: FloatArray | None, truth: Truth | None, reference: FloatArray | None) -> Score:
    similarity = None if truth is None else oks(pose, truth)
    return Score(
        found=float(pose is not None),
        detected=None if similarity is None else float(similarity >= _MATCH),
        pck=None if truth is None else pck(pose, truth),
        oks=similarity,
        agreement=None if reference is None else agreement(pose, reference),
    )


def _mean(scores: Sequence[Score]) -> Score:
    def of(name: str) -> float | None:
        values = [getattr(score, name) for score in scores]
        return None if None in values else math.fsum(values) / len(values)

    found = of("found")
    assert found is not None  # it always is told
    return Score(found, of("detected"), of("pck"), of("oks"), of("agreement"))


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
