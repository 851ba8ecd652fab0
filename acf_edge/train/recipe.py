"""Training recipes: the curriculum as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from acf_edge.degrade import load_recipe
from acf_edge.degrade.recipe import is_number, read_toml
from acf_edge.errors import InputError
from acf_edge.model.config import AcfConfig, config_named
from acf_edge.train.losses import LOSSES

RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    Attributes:
        name: what the log calls it.
        steps: optimizer steps, >= 1.
        mix: degradation recipes and their shares, e.g. ``(("acf-std", 0.9), ("clean", 0.1))``;
            shares are above 0 and need not sum to 1.
        difficulty: at the stage's start and end, 0..1; see ``Recipe.scaled``.
        auxiliary: weight of the auxiliary tasks at the stage's start and end, >= 0.
        gradient: weight of the structure branch's gradient head likewise, >= 0.
        junction: False keeps it silent: all branches are heard alike.
        guard: weight, >= 0, of making clean pictures worse than bicubic does; see
            :func:`acf_edge.train.losses.guard_loss`.
        loss: one of :data:`acf_edge.train.losses.LOSSES`.
    """

    name: str
    steps: int
    mix: tuple[tuple[str, float], ...]
    difficulty: tuple[float, float] = (1.0, 1.0)
    auxiliary: tuple[float, float] = (0.0, 0.0)
    gradient: tuple[float, float] = (0.0, 0.0)
    junction: bool = True
    guard: float = 0.0
    loss: str = "charbonnier"

    def weight(self, pair: tuple[float, float], done: float) -> float:
        """Between the two ends of ``pair`` when the stage has got as far as ``done`` (0..1)."""
        return pair[0] + (pair[1] - pair[0]) * done


@dataclass(frozen=True)
class TrainRecipe:
    """A whole training run.

    Attributes:
        name: what the provenance calls it.
        network: a size of :data:`acf_edge.model.config.SIZES`.
        scale: 2 or 4.
        seed: of the initial weights, the patches and the degradations.
        patch: side of the square input patches in low-resolution pixels, 8..1024.
        batch: patches per step, 1..4096.
        rate: peak learning rate (Adam), above 0, up to 1; cosine to ``rate / 100`` over all
            stages.
        warmup: steps of linear warm-up.
        ema: decay of the weights' moving average, 0..0.999999; the average is what is kept.
        refresh: steps after which all pictures are degraded anew, as they are where a stage
            begins.
        stages: the curriculum.
        soft: share, 0..1, of the clean pictures that are blurred first, truth and all: what is
            soft in the world must stay so.
        voting: of the junction, instead of the network's own.
        start: a checkpoint, by its file or its shipped name, whose weights the run begins with
            where they fit, say those of another scale; empty for random ones.
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
    soft: float = 0.0
    voting: str = ""
    start: str = ""

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def config(self) -> AcfConfig:
        """The network's shape."""
        config = config_named(self.network, self.scale)
        return replace(config, voting=self.voting) if self.voting else config

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage that ``step`` falls into, and how far it has got (0..1)."""
        start = 0
        for stage in self.stages:
            if step < start + stage.steps:
                return stage, (step - start) / stage.steps
            start += stage.steps
        return self.stages[-1], 1.0

    def chunk(self, step: int) -> int:
        """The number of the chunk of degraded pictures that ``step`` draws from.

        A chunk ends after ``refresh`` steps or with its stage: what a stage asks for is what
        its steps see.
        """
        start = number = 0
        for stage in self.stages:
            if step < start + stage.steps:
                return number + (step - start) // self.refresh
            start += stage.steps
            number += -(-stage.steps // self.refresh)
        return number

    def chunk_begin(self, number: int) -> int:
        """The first step of a chunk; the recipe's end for those beyond it."""
        start = 0
        for stage in self.stages:
            chunks = -(-stage.steps // self.refresh)
            if number < chunks:
                return start + number * self.refresh
            start += stage.steps
            number -= chunks
        return start

    def to_json(self) -> dict[str, Any]:
        """JSON's own types, as a provenance or a state gives them back."""
        table: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return table


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
    return _recipe(read_toml(path), path)


def _recipe(table: Mapping[str, Any], path: Path) -> TrainRecipe:
    stages = table.get("stages")
    if not isinstance(stages, list) or not stages:
        raise InputError(f"{path}: no [[stages]].", "Give at least one stage.")
    values = {key: value for key, value in table.items() if key not in ("stages", "description")}
    values["stages"] = tuple(_stage(row, path) for row in stages)
    values.setdefault("name", path.stem)
    _same_keys(values, TrainRecipe, path, optional=("soft", "voting", "start"))
    for key in ("name", "network", *({"voting", "start"} & set(values))):
        if not isinstance(values[key], str) or not values[key]:
            raise InputError(f"{path}: '{key}' is {values[key]!r}.", "Give a word.")
    # The bounds keep out slips of the pen; below 8 pixels a patch has no room for a codec block.
    _number(path, values, "scale", 2, 4)
    _number(path, values, "seed", 0, 2**63 - 1)
    _number(path, values, "patch", 8, 1024)
    _number(path, values, "batch", 1, 4096)
    _number(path, values, "rate", 1e-9, 1.0, whole=False)
    _number(path, values, "warmup", 0, 10**9)
    _number(path, values, "ema", 0.0, 0.999999, whole=False)
    _number(path, values, "refresh", 1, 10**9)
    if "soft" in values:
        _number(path, values, "soft", 0.0, 1.0, whole=False)
    recipe = TrainRecipe(**values)
    heads = [
        name for s in recipe.stages for name in ("auxiliary", "gradient") if any(getattr(s, name))
    ]
    if heads and recipe.config.voting == "plain":
        raise InputError(
            f"{path}: a plain network has no branches for '{heads[0]}'.", "Leave it out."
        )
    if recipe.patch % recipe.config.alignment:
        raise InputError(
            f"{path}: 'patch' is {recipe.patch}.",
            f"Give a multiple of {recipe.config.alignment}.",
        )
    return recipe


def _number(
    path: Path,
    table: Mapping[str, Any],
    key: str,
    low: float,
    high: float,
    whole: bool = True,
) -> None:
    value = table[key]
    right = is_number(value) and (isinstance(value, int) or not whole)
    if not right or not low <= value <= high:
        kind = "an integer" if whole else "a number"
        raise InputError(f"{path}: '{key}' is {value!r}.", f"Give {kind} in {low}..{high}.")


def _stage(table: Any, path: Path) -> Stage:
    if not isinstance(table, dict):
        raise InputError(f"{path}: a stage is no table.", "Write [[stages]].")
    optional = ("difficulty", "auxiliary", "gradient", "junction", "guard", "loss")
    _same_keys(table, Stage, path, optional=optional)
    values = dict(table)
    if not isinstance(values["name"], str):
        raise InputError(f"{path}: a stage's 'name' is {values['name']!r}.", "Give a word.")
    _number(path, values, "steps", 1, 10**9)
    # An auxiliary weight above 1000 drowns the task itself; a difficulty is a share.
    for key, high in (("difficulty", 1.0), ("auxiliary", 1000.0), ("gradient", 1000.0)):
        if key in values:
            pair = values[key]
            right = isinstance(pair, list) and len(pair) == 2
            if not right or not all(is_number(v) and 0 <= v <= high for v in pair):
                raise InputError(
                    f"{path}: '{key}' is {pair!r}.", f"Give two numbers in 0..{high:g}."
                )
            values[key] = (float(pair[0]), float(pair[1]))
    mix = values["mix"]
    if not isinstance(mix, dict) or not mix:
        raise InputError(f"{path}: 'mix' is {mix!r}.", "Give {recipe = share, ...}.")
    for name, share in mix.items():
        load_recipe(name)
        if not is_number(share) or share <= 0:
            raise InputError(f"{path}: the share of '{name}' is {share!r}.", "Give a number > 0.")
    values["mix"] = tuple((name, float(share)) for name, share in mix.items())
    if values.get("loss", "charbonnier") not in LOSSES:
        raise InputError(f"{path}: 'loss' is {values['loss']!r}.", f"Give {', '.join(LOSSES)}.")
    if not isinstance(values.get("junction", True), bool):
        raise InputError(f"{path}: 'junction' is {values['junction']!r}.", "Give true or false.")
    if "guard" in values:
        _number(path, values, "guard", 0.0, 1000.0, whole=False)
    return Stage(**values)


def _same_keys(table: Mapping[str, Any], kind: type, path: Path, optional: tuple[str, ...]) -> None:
    known = {field.name for field in fields(kind)}
    unknown, missing = set(table) - known, known - set(optional) - set(table)
    if unknown:
        raise InputError(f"{path}: unknown keys {sorted(unknown)}.", f"Known: {sorted(known)}.")
    if missing:
        raise InputError(f"{path}: lacks {sorted(missing)}.", "Add them.")
