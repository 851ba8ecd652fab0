"""The same pictures for every stage: what the ledger's quality columns are measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acf_edge.builder.source import Source
from acf_edge.degrade import degrade_image, load_recipe
from acf_edge.degrade.strata import stratified
from acf_edge.engine.ledger import DegradationQuality
from acf_edge.imaging.metrics import Quality, mean_quality, quality
from acf_edge.imaging.resize import upscale_bicubic

Uint8Image = npt.NDArray[np.uint8]
Run = Callable[[Uint8Image], Uint8Image]


@dataclass(frozen=True)
class Case:
    """One degraded picture, its truth, and bicubic's quality on it."""

    recipe: str
    low: Uint8Image
    truth: Uint8Image
    bicubic: Quality


def judge_cases(source: Source, recipes: tuple[str, ...], scale: int) -> list[Case]:
    """Degrade the judging pictures by every recipe, evenly over its range."""
    cases = []
    for recipe in recipes:
        strata = stratified(load_recipe(recipe), len(source.judge), seed=99)
        for index, (truth, drawn) in enumerate(zip(source.judge, strata, strict=True)):
            low = degrade_image(truth, drawn, scale, seed=1000 + index)
            cases.append(
                Case(recipe, low, truth, quality(upscale_bicubic(low, scale), truth, scale))
            )
    return cases


def judge(run: Run, cases: list[Case], scale: int) -> tuple[DegradationQuality, ...]:
    """Mean quality per recipe of whatever ``run`` does to a low-resolution picture."""
    rows: dict[str, list[tuple[Quality, Quality]]] = {}
    for case in cases:
        ours = quality(run(case.low), case.truth, scale)
        rows.setdefault(case.recipe, []).append((ours, case.bicubic))
    return tuple(_mean(recipe, pairs) for recipe, pairs in rows.items())


def _mean(recipe: str, pairs: list[tuple[Quality, Quality]]) -> DegradationQuality:
    ours = mean_quality([pair[0] for pair in pairs])
    theirs = mean_quality([pair[1] for pair in pairs])
    return DegradationQuality(
        recipe=recipe,
        psnr_y=ours.psnr_y,
        ssim_y=ours.ssim_y,
        psnr_rgb=ours.psnr_rgb,
        ssim_rgb=ours.ssim_rgb,
        bicubic_psnr_y=theirs.psnr_y,
        bicubic_ssim_y=theirs.ssim_y,
    )


def largest_drop(
    before: tuple[DegradationQuality, ...], after: tuple[DegradationQuality, ...]
) -> float:
    """By how many dB of PSNR-Y the worst-hit recipe fell; negative if all rose."""
    return max(b.psnr_y - a.psnr_y for b, a in zip(before, after, strict=True))
