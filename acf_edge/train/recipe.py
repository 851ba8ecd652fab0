"""Training recipes: the curriculum as data."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acf_edge.degrade import load_recipe
from acf_edge.errors import InputError
from acf_edge.model.config import AcfConfig, config_named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    Attributes:
        name: what the log calls it.
        steps: optimizer steps.
        mix: degradation recipes and their shares, e.g. ``(("acf-std", 0.9), ("clean", 0.1))``.
        difficulty: at the stage's start and end, 0..1; see ``Recipe.scaled``.
        auxiliary: weight of the auxiliary tasks at the stage's start and end.
        loss: ``"l1"`` or ``"mse"``, on RGB.
    """

    name: str
    steps: int
    mix: tuple[tuple[str, float], ...]
    difficulty: tuple[float, float] = (1.0, 1.0)
    auxiliary: tuple[float, float] = (0.0, 0.0)
    loss: str = "l1"


@dataclass(frozen=True)
class TrainRecipe:
    """A whole training run.

    Attributes:
        network: a size of :data:`acf_edge.model.config.SIZES`.
        scale: 2 or 4.
        seed: of the initial weights, the patches and the degradations.
        patch: side of the square input patches in low-resolution pixels.
        batch: patches per step.
        rate: peak learning rate (Adam); cosine to ``rate / 100`` over all stages.
        warmup: steps of linear warm-up.
        ema: decay of the weights' moving average, which is what is kept.
        refresh: steps after which all pictures are degraded anew.
        stages: the curriculum.
    """

    name: str
    network: str
    scale: int
    seed: int
    patch: int
    batch: int
    rate: float
    warmup: int
    ema: float
    refresh: int
    stages: tuple[Stage, ...]

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def config(self) -> AcfConfig:
        """The network's shape."""
        return config_named(self.network, self.scale)

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage that ``step`` falls into, and how far it has got (0..1)."""
        start = 0
        for stage in self.stages:
            if step < start + stage.steps:
                return stage, (step - start) / stage.steps
            start += stage.steps
        return self.stages[-1], 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain types, for a checkpoint's provenance."""
        return asdict(self)


def load_train_recipe(name: str | Path) -> TrainRecipe:
    """Read a recipe by name (``"acf-t-x4"``) or from a TOML file.

    Raises:
        InputError: no such recipe, or a key, type or range that is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
            raise InputError(
                f"There is no training recipe '{name}'.",
                f"There are: {known}; or give the path of a .toml file.",
            )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe '{path}' cannot be read: {error}.", "Mend it.") from None
    return _recipe(table, path)


def _recipe(table: Mapping[str, Any], path: Path) -> TrainRecipe:
    stages = table.get("stages")
    if not isinstance(stages, list) or not stages:
        raise InputError(f"{path}: no [[stages]].", "Give at least one stage.")
    values = {key: value for key, value in table.items() if key not in ("stages", "description")}
    values["stages"] = tuple(_stage(row, path) for row in stages)
    values.setdefault("name", path.stem)
    _same_keys(values, TrainRecipe, path, optional=())
    numbers: dict[str, tuple[Any, float, float]] = {
        "seed": (int, 0, 2**63 - 1),
        "patch": (int, 8, 1024),
        "batch": (int, 1, 4096),
        "rate": ((int, float), 1e-9, 1.0),
        "warmup": (int, 0, 10**9),
        "ema": ((int, float), 0.0, 0.999999),
        "refresh": (int, 1, 10**9),
    }
    for key, (kind, low, high) in numbers.items():
        value = values[key]
        right = isinstance(value, kind) and not isinstance(value, bool)
        if not right or not low <= float(value) <= high:
            raise InputError(f"{path}: '{key}' is {value!r}.", f"Give a number in {low}..{high}.")
    recipe = TrainRecipe(**values)
    if recipe.patch % recipe.config.alignment:
        raise InputError(
            f"{path}: 'patch' is {recipe.patch}.",
            f"Give a multiple of {recipe.config.alignment}.",
        )
    return recipe


def _stage(table: Any, path: Path) -> Stage:
    if not isinstance(table, dict):
        raise InputError(f"{path}: a stage is no table.", "Write [[stages]].")
    _same_keys(table, Stage, path, optional=("difficulty", "auxiliary", "loss"))
    values = dict(table)
    for key in ("difficulty", "auxiliary"):
        if key in values:
            pair = values[key]
            right = isinstance(pair, list) and len(pair) == 2
            if not right or not all(isinstance(v, int | float) and v >= 0 for v in pair):
                raise InputError(f"{path}: '{key}' is {pair!r}.", "Give two numbers >= 0.")
            values[key] = (float(pair[0]), float(pair[1]))
    mix = values["mix"]
    if not isinstance(mix, dict) or not mix:
        raise InputError(f"{path}: 'mix' is {mix!r}.", "Give {recipe = share, ...}.")
    for name, share in mix.items():
        load_recipe(name)
        if not isinstance(share, int | float) or share <= 0:
            raise InputError(f"{path}: the share of '{name}' is {share!r}.", "Give a number > 0.")
    values["mix"] = tuple((name, float(share)) for name, share in mix.items())
    if not isinstance(values["steps"], int) or values["steps"] < 1:
        raise InputError(f"{path}: 'steps' is {values['steps']!r}.", "Give an integer >= 1.")
    if values.get("loss", "l1") not in ("l1", "mse"):
        raise InputError(f"{path}: 'loss' is {values['loss']!r}.", "Give l1 or mse.")
    return Stage(**values)


def _same_keys(table: Mapping[str, Any], kind: type, path: Path, optional: tuple[str, ...]) -> None:
    known = {field.name for field in fields(kind)}
    unknown, missing = set(table) - known, known - set(optional) - set(table)
    if unknown:
        raise InputError(f"{path}: unknown keys {sorted(unknown)}.", f"Known: {sorted(known)}.")
    if missing:
        raise InputError(f"{path}: lacks {sorted(missing)}.", "Add them.")
