"""What an evaluation found: per picture, on average, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from acf_edge.errors import GateError, InputError
from acf_edge.imaging.metrics import Quality


@dataclass(frozen=True)
class ImageResult:
    """One picture, by the engine and by bicubic up-sampling.

    Attributes:
        name: the file's name.
        width: of the full-resolution picture, before the border is shaved.
        height: likewise.
        engine: the engine's result against the truth.
        bicubic: the baseline's result against the truth.
    """

    name: str
    width: int
    height: int
    engine: Quality
    bicubic: Quality

    @property
    def gain_psnr_y(self) -> float:
        """dB (Y) above bicubic; infinite where one of the two is perfect, 0 where both are."""
        return _gain(self.engine.psnr_y, self.bicubic.psnr_y)

    @property
    def finite(self) -> bool:
        """No PSNR is infinite: neither result equals the truth."""
        figures = (self.engine, self.bicubic)
        return all(math.isfinite(value) for q in figures for value in (q.psnr_y, q.psnr_rgb))


@dataclass(frozen=True)
class Evaluation:
    """An engine's quality on a set of pictures.

    A PSNR is infinite where a result equals the truth. Such a picture would make
    every mean infinite, so mean PSNRs and the mean gain are taken over the
    pictures in which all four PSNRs are finite (the others are named by
    :attr:`left_out`); SSIM is averaged over all. If no picture is left, the
    means are over all of them, and infinite. JSON has no infinity: there it
    is ``null``.

    Attributes:
        engine: its name.
        recipe: the recipe's name; ``None`` for folders that were given.
        scale: up-sampling factor.
        border: pixels shaved off each side before comparing.
        images: at least one.
    """

    engine: str
    recipe: str | None
    scale: int
    border: int
    images: tuple[ImageResult, ...]

    @property
    def mean(self) -> Quality:
        """Of the engine."""
        return self._mean([image.engine for image in self.images])

    @property
    def mean_bicubic(self) -> Quality:
        """Of bicubic up-sampling."""
        return self._mean([image.bicubic for image in self.images])

    @property
    def gain_psnr_y(self) -> float:
        """dB (Y) by which the engine's mean is above that of bicubic."""
        return _gain(self.mean.psnr_y, self.mean_bicubic.psnr_y)

    @property
    def worst(self) -> ImageResult:
        """The picture with the smallest gain over bicubic."""
        return min(self.images, key=lambda image: image.gain_psnr_y)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of pictures that the mean PSNRs pass over."""
        if not any(image.finite for image in self.images):
            return ()
        return tuple(image.name for image in self.images if not image.finite)

    def to_json(self) -> dict[str, Any]:
        """Plain values, ``None`` for what is infinite."""
        worst = self.worst
        return {
            "engine": self.engine,
            "recipe": self.recipe,
            "scale": self.scale,
            "border": self.border,
            "images": [
                {
                    "name": image.name,
                    "width": image.width,
                    "height": image.height,
                    **_figures(image.engine, image.bicubic),
                }
                for image in self.images
            ],
            "mean": {
                **_figures(self.mean, self.mean_bicubic),
                "gain_psnr_y": _number(self.gain_psnr_y),
            },
            "worst": {"name": worst.name, "gain_psnr_y": _number(worst.gain_psnr_y)},
            "left_out": list(self.left_out),
        }

    def dumps(self) -> str:
        """:meth:`to_json` as text that ends in a newline."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"

    def require_gain(self, least: float) -> None:
        """The gate on the mean gain.

        Args:
            least: dB (Y) above bicubic.

        Raises:
            GateError: the gain is smaller.
            InputError: ``least`` is no number.
        """
        if math.isnan(least):
            raise InputError("The least gain is no number.", "Give decibels, such as 0.5.")
        if self.gain_psnr_y < least:
            raise GateError(
                f"{self.engine} is {self.gain_psnr_y:+.3f} dB (Y) above bicubic on average; "
                f"at least {least:+.3f} dB were asked for.",
                f"Worst is {self.worst.name} with {self.worst.gain_psnr_y:+.3f} dB.",
            )

    def _mean(self, figures: Sequence[Quality]) -> Quality:
        pairs = list(zip(figures, self.images, strict=True))
        kept = [figure for figure, image in pairs if image.finite] or figures
        return Quality(
            psnr_y=_average([figure.psnr_y for figure in kept]),
            ssim_y=_average([figure.ssim_y for figure in figures]),
            psnr_rgb=_average([figure.psnr_rgb for figure in kept]),
            ssim_rgb=_average([figure.ssim_rgb for figure in figures]),
        )


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _gain(ours: float, theirs: float) -> float:
    return 0.0 if ours == theirs else ours - theirs


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figures(engine: Quality, bicubic: Quality) -> dict[str, float | None]:
    ours = {name: _number(value) for name, value in asdict(engine).items()}
    return ours | {f"bicubic_{name}": _number(value) for name, value in asdict(bicubic).items()}
