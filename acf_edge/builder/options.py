"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acf_edge.compress.calibrate import METHODS
from acf_edge.degrade import load_recipe
from acf_edge.errors import InputError

TARGETS = ("cpu",)
PRECISIONS = ("int8", "fp32")
RECIPES = ("acf-std", "camera", "clean")
QUANTIZE_GATE = 0.15
"""dB of PSNR-Y that INT8 may cost on any recipe."""
PRUNE_GATE = 0.3
"""dB of PSNR-Y that pruning may cost on any recipe, after fine-tuning."""


@dataclass(frozen=True)
class BuildOptions:
    """One build.

    Attributes:
        checkpoint: ``.safetensors`` or ``.pth``.
        out: the bundle's folder.
        target: one of :data:`TARGETS`.
        precision: one of :data:`PRECISIONS`.
        prune: share of the multiply-accumulates to remove, 0 <= share < 1.
        source: folder of sharp pictures, a video, ``"scenes"`` or None (made scenes).
        recipes: degradations to calibrate on and to judge by.
        method: of calibration.
        pictures: at most so many are taken from the source.
        finetune_steps: after pruning.
        allow_drop: dB per gate instead of :data:`QUANTIZE_GATE` and :data:`PRUNE_GATE`; the row
            then says "allowed" where the usual gate would have stopped.
        threads: of the latency measurement; None = all cores.
        command: the arguments that repeat this build, for the passport.
    """

    checkpoint: Path
    out: Path
    target: str = "cpu"
    precision: str = "int8"
    prune: float = 0.0
    source: str | None = None
    recipes: tuple[str, ...] = RECIPES
    method: str = "mse"
    pictures: int = 48
    finetune_steps: int = 600
    allow_drop: float | None = None
    threads: int | None = None
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choices = (
            ("target", self.target, TARGETS),
            ("precision", self.precision, PRECISIONS),
            ("calibration method", self.method, METHODS),
        )
        for what, value, known in choices:
            if value not in known:
                raise InputError(f"Unknown {what} '{value}'.", f"There are: {', '.join(known)}.")
        if not 0.0 <= self.prune < 1.0:
            raise InputError(f"Pruning by {self.prune} is not possible.", "Give 0 to below 1.")
        if self.finetune_steps < 0:
            raise InputError(f"{self.finetune_steps} fine-tuning steps.", "Give 0 or more.")
        if self.allow_drop is not None and not self.allow_drop >= 0:
            raise InputError(f"A drop of {self.allow_drop} dB.", "Give 0 or more.")
        if not self.recipes:
            raise InputError("No degradation recipe is named.", "Give at least one --recipe.")
        for recipe in self.recipes:
            load_recipe(recipe)
