"""How far a pose is from another one, and how sure the means over a few people are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from acf_edge.degrade import seed_from_name
from benchmarks.pose_data import JOINTS, RULERS, Truth, torso

FloatArray = npt.NDArray[np.float64]

# COCO's spread of annotators for each joint, of nose, eyes, ears, shoulders ... ankles.
_PAIRS: Final = (0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089)
SIGMAS: Final[tuple[float, ...]] = (0.026, *(sigma for sigma in _PAIRS for _ in range(2)))
"""Of each of :data:`JOINTS`."""

CONFIDENT: Final = 0.5
"""Visibility from which a joint of the original's pose is compared with."""
ROUNDS: Final = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over persons with its 95 % bootstrap interval.

    ``low`` and ``high`` are None for fewer than two persons.
    """

    mean: float
    low: float | None
    high: float | None
    persons: int

    @property
    def verdict(self) -> str:
        """Of a difference: ``"better"``, ``"worse"``, or ``"within noise"`` if 0 is inside."""
        if self.low is not None and self.low > 0:
            return "better"
        if self.high is not None and self.high < 0:
            return "worse"
        return "within noise"


def pck(found: FloatArray | None, truth: Truth) -> float:
    """Share of the annotated joints that are found within the tolerance, 0..1.

    Args:
        found: ``(17, >= 2)`` x and y in the truth's pixels; None if nobody was found,
            which counts as all joints missed.
        truth: at least one joint is annotated.
    """
    if found is None:
        return 0.0
    miss = _misses(found, truth.points)
    return float((miss <= truth.tolerance).mean())


def oks(found: FloatArray | None, truth: Truth) -> float:
    """Object keypoint similarity as COCO defines it, 0..1; 0 if nobody was found.

    The mean of ``exp(-d^2 / (2 area k^2))``, ``k`` = 2 sigma, over the annotated ones of
    COCO's joints.
    """
    if found is None:
        return 0.0
    known = np.isfinite(truth.points[:, 0])
    miss = _misses(found, truth.points)
    k = 2.0 * np.asarray(SIGMAS)[known]
    return float(np.exp(-(miss**2) / (2.0 * truth.area * k**2)).mean())


def agreement(found: FloatArray | None, reference: FloatArray) -> float:
    """Share of the reference's confident joints that are found in the same place, 0..1.

    The same place is within a fifth of the reference's torso.

    Args:
        found: ``(17, >= 2)`` in the reference's pixels, or None, which agrees in nothing.
        reference: ``(17, 3)``, see :func:`usable_reference`.
    """
    if found is None:
        return 0.0
    sure = reference[:, 2] >= CONFIDENT
    miss = np.hypot(*(found[sure, :2] - reference[sure, :2]).T)
    return float((miss <= RULERS["torso"] * torso(reference)).mean())


def usable_reference(pose: FloatArray | None) -> bool:
    """Whether a pose can be compared with: it has at least six confident joints."""
    return pose is not None and int((pose[:, 2] >= CONFIDENT).sum()) >= 6 and torso(pose) > 0


def mean_interval(values: Sequence[float], name: str) -> Interval:
    """The mean and its percentile bootstrap interval; persons are drawn with replacement.

    Args:
        values: one for each person.
        name: of the figure; it seeds the drawing.

    Returns:
        With a NaN mean for no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Interval(math.nan, None, None, 0)
    mean = float(data.mean())
    if data.size == 1:
        return Interval(mean, None, None, 1)
    rng = np.random.default_rng(seed_from_name(name))
    means = data[rng.integers(0, data.size, (ROUNDS, data.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high), int(data.size))


def _misses(found: FloatArray, points: FloatArray) -> FloatArray:
    """Distances in pixels, of the annotated joints alone."""
    known = np.isfinite(points[:, 0])
    assert found.shape[0] == len(JOINTS) and known.any()
    distances: FloatArray = np.hypot(*(found[known, :2] - points[known]).T)
    return distances
