"""Named recipes: which degradations, how strong. Data in ``calibration/*.toml``."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from acf_edge.degrade.codec import PRESETS
from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.resources import data_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


TURN = 2 * math.pi
"""The largest curvature: a full circle."""


@dataclass(frozen=True)
class Recipe:
    """One way in which a camera spoils a picture; ranges are drawn uniformly.

    The chain is: motion blur at full resolution, down-sampling, noise, codec.

    Attributes:
        name: what tables and ledgers call it.
        blur_length: arc length of the motion in pixels of the full-resolution image, 0..200.
        blur_curvature: bound of the total turn of the trajectory in radians, 0..2 pi.
        down: ``"bicubic"`` (antialiased, a = -0.5), ``"area"``, or ``"mixed"`` (drawn).
        noise_shot: standard deviation, in code values, of the signal-dependent noise at
            white, 0..128.
        noise_read: standard deviation, in code values, of the constant noise, 0..128.
        codec: ``"none"``, ``"jpeg"``, ``"h264"`` or ``"mixed"`` (jpeg or h264, drawn).
        jpeg_quality: 1..100 as libjpeg counts, integers.
        jpeg_444: probability of full chroma resolution, 0..1; else 4:2:0.
        h264_crf: 0..51 as x264 counts, integers.
        h264_preset: one of :data:`acf_edge.degrade.codec.PRESETS`.
    """

    name: str
    blur_length: tuple[float, float] = (0.0, 0.0)
    blur_curvature: float = 1.0
    down: str = "bicubic"
    noise_shot: tuple[float, float] = (0.0, 0.0)
    noise_read: tuple[float, float] = (0.0, 0.0)
    codec: str = "none"
    jpeg_quality: tuple[int, int] = (95, 95)
    jpeg_444: float = 0.0
    h264_crf: tuple[int, int] = (23, 23)
    h264_preset: str = "veryfast"

    def scaled(self, difficulty: float) -> Recipe:
        """The same recipe, milder: blur, noise and compression shrink to ``difficulty``.

        Args:
            difficulty: 0 (hardly degraded) to 1 (this recipe); beyond, as at the nearer end.
                The bounds of blur and noise shrink in proportion; the worst JPEG quality
                and CRF move towards the best of their range.
        """
        d = min(max(difficulty, 0.0), 1.0)

        def shrink(bounds: tuple[float, float]) -> tuple[float, float]:
            return (bounds[0] * d, bounds[1] * d)

        best_quality, best_crf = self.jpeg_quality[1], self.h264_crf[0]
        return replace(
            self,
            blur_length=shrink(self.blur_length),
            noise_shot=shrink(self.noise_shot),
            noise_read=shrink(self.noise_read),
            jpeg_quality=(
                round(best_quality + (self.jpeg_quality[0] - best_quality) * d),
                best_quality,
            ),
            h264_crf=(best_crf, round(best_crf + (self.h264_crf[1] - best_crf) * d)),
        )


def recipe_names() -> list[str]:
    """Names of the recipes that travel with the package."""
    return sorted(path.stem for path in data_folder("calibration").glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its name (``"acf-std"``) or from a TOML file.

    Args:
        name: the stem of a file in ``calibration/``, or a path that ends in ``.toml``.

    Raises:
        InputError: no such recipe, or a key, a type or a range that is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = data_folder("calibration") / f"{name}.toml"
        if not path.is_file():
            raise InputError(
                f"There is no recipe '{name}'.",
                f"There are: {', '.join(recipe_names())}; or give the path of a .toml file.",
            )
    return recipe_from_table(read_toml(path), path.stem, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: missing, unreadable, or not TOML in UTF-8; in one line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise explain_os_error(error, path) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"'{path}' is no TOML: {error}.", "Mend the file.") from None


def recipe_from_table(table: Mapping[str, Any], name: str, where: str) -> Recipe:
    """Check a parsed TOML table and make a :class:`Recipe` of it.

    Args:
        table: keys are the attributes of :class:`Recipe`, ``description`` is ignored.
        name: the recipe's name unless the table says one.
        where: the file's name for error messages.

    Raises:
        InputError: naming the key that is wrong.
    """
    known = {field.name: field for field in fields(Recipe)}
    values: dict[str, Any] = {"name": name}
    for key, value in table.items():
        if key == "description":
            continue
        if key not in known:
            raise InputError(
                f"{where}: unknown key '{key}'.", f"Known keys: {', '.join(sorted(known))}."
            )
        values[key] = tuple(value) if isinstance(value, list) else value
    recipe = Recipe(**values)
    _check(recipe, where)
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    if not isinstance(recipe.name, str) or not recipe.name:
        raise InputError(f"{where}: 'name' is {recipe.name!r}.", "Give a word.")
    # 200 pixels and 128 codes leave nothing to be recognised: beyond, it is a slip of the pen.
    _pair(where, "blur_length", recipe.blur_length, 0, 200)
    _pair(where, "noise_shot", recipe.noise_shot, 0, 128)
    _pair(where, "noise_read", recipe.noise_read, 0, 128)
    _pair(where, "jpeg_quality", recipe.jpeg_quality, 1, 100, whole=True)
    _pair(where, "h264_crf", recipe.h264_crf, 0, 51, whole=True)
    limits = {"blur_curvature": (recipe.blur_curvature, TURN), "jpeg_444": (recipe.jpeg_444, 1.0)}
    for key, (number, high) in limits.items():
        if not is_number(number) or not 0 <= number <= high:
            raise InputError(f"{where}: '{key}' is {number!r}.", f"Give a number in 0..{high:.4g}.")
    choices = {
        "down": (recipe.down, ("bicubic", "area", "mixed")),
        "codec": (recipe.codec, ("none", "jpeg", "h264", "mixed")),
        "h264_preset": (recipe.h264_preset, _presets(recipe.h264_preset)),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise InputError(
                f"{where}: '{key}' is {value!r}.", f"Give one of: {', '.join(allowed)}."
            )


def _pair(where: str, key: str, pair: Any, low: int, high: int, whole: bool = False) -> None:
    kind = "integers" if whole else "numbers"
    right = isinstance(pair, tuple) and len(pair) == 2
    right = right and all(is_number(v) and (isinstance(v, int) or not whole) for v in pair)
    if not right or not low <= pair[0] <= pair[1] <= high:
        raise InputError(
            f"{where}: '{key}' is {list(pair) if isinstance(pair, tuple) else pair!r}.",
            f"Give two {kind} [low, high] between {low} and {high}.",
        )


def is_number(value: object) -> bool:
    """An integer or a finite float; TOML's ``true``, ``nan`` and ``inf`` are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _presets(preset: object) -> tuple[str, ...]:
    if preset == Recipe.h264_preset:
        return (Recipe.h264_preset,)

    return PRESETS
