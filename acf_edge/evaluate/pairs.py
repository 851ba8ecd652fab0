"""Pairs of a poor picture and its truth: made by a recipe, or read from two folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe, degrade_image, load_recipe, mod_crop, seed_from_name
from acf_edge.errors import InputError
from acf_edge.imaging.files import list_images, read_image

Uint8Image = npt.NDArray[np.uint8]
T = TypeVar("T")

# Tails that data sets put on names: img_001x4, img_001_LR, img_001_SRF_4_HR.
_TAIL = re.compile(r"(?:[_-](?:lr|lq|hr|gt)|[_-]?x[234])$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """What an engine is given and what it should give back.

    Attributes:
        name: the file's name.
        low: ``(H, W, 3)`` uint8 RGB.
        high: ``(H * scale, W * scale, 3)`` uint8 RGB.
    """

    name: str
    low: Uint8Image
    high: Uint8Image


@dataclass(frozen=True)
class Pairs:
    """Pairs that are read one at a time, whenever they are iterated over.

    Attributes:
        scale: between the two pictures of each pair.
        recipe: the name of the recipe; ``None`` for folders that were given.
        readers: one function a pair, in the order of the names.
        folders: where the pictures come from.
    """

    scale: int
    recipe: str | None
    readers: tuple[Callable[[], Pair], ...]
    folders: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.readers)

    def __iter__(self) -> Iterator[Pair]:
        return (read() for read in self.readers)


def pairs_from_recipe(
    source: Path | str, recipe: Recipe | Path | str, scale: int, limit: int | None = None
) -> Pairs:
    """Sharp pictures, cut to a multiple of ``scale`` and degraded by a recipe.

    The seed of each picture comes from its file's name, so the same folder and
    recipe give the same pairs everywhere.

    Args:
        source: a folder of pictures, or one picture.
        recipe: itself, its name, or a TOML file.
        scale: factor of the down-sampling.
        limit: only the first so many, by name.

    Raises:
        InputError: no such folder or recipe, or no pictures; and, while iterating, a
            picture that cannot be read or is too small.
    """
    known = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    source = Path(source)
    paths = [source] if source.is_file() else list_images(source)

    def reader(path: Path) -> Callable[[], Pair]:
        def read() -> Pair:
            high = _cropped(read_image(path), scale, path)
            low = degrade_image(high, known, scale, seed_from_name(path.name))
            return Pair(path.name, low, high)

        return read

    readers = tuple(map(reader, _limited(paths, limit)))
    return Pairs(scale, known.name, readers, (paths[0].parent,))


def pairs_from_folders(
    low: Path | str, high: Path | str, scale: int, limit: int | None = None
) -> Pairs:
    """Poor pictures in one folder, their truth in another, matched by name.

    Names match without their suffix; failing that, also without the tails
    ``x4``, ``_LR``, ``_LQ``, ``_HR`` and ``_GT``.

    Args:
        low: folder of low-resolution pictures.
        high: folder of the truth; each is cut at the bottom and the right to a
            multiple of ``scale`` and must then be ``scale`` times as large.
        scale: between the two.
        limit: only the first so many, by name.

    Raises:
        InputError: no such folder, no pictures, pictures without a partner; and, while
            iterating, a picture that cannot be read or sizes that do not fit.
    """
    matched = _match(list_images(low), list_images(high), Path(low), Path(high))

    def reader(paths: tuple[Path, Path]) -> Callable[[], Pair]:
        def read() -> Pair:
            small, large = read_image(paths[0]), _cropped(read_image(paths[1]), scale, paths[1])
            if large.shape != (small.shape[0] * scale, small.shape[1] * scale, 3):
                raise InputError(
                    f"'{paths[1]}' ({_size(large)} when cut to a multiple of {scale}) is not "
                    f"{scale} times as large as '{paths[0]}' ({_size(small)}).",
                    "Give the folders of the engine's scale.",
                )
            return Pair(paths[1].name, small, large)

        return read

    readers = tuple(map(reader, _limited(matched, limit)))
    return Pairs(scale, None, readers, (Path(low), Path(high)))


def choose_pairs(
    scale: int,
    *,
    data: Path | str | None = None,
    recipe: Recipe | Path | str | None = None,
    low: Path | str | None = None,
    high: Path | str | None = None,
    limit: int | None = None,
) -> Pairs:
    """Pairs from whichever is given: ``data`` with ``recipe``, or ``low`` with ``high``.

    Args:
        scale: of the engine.
        data: see :func:`pairs_from_recipe`.
        recipe: ``None`` is ``"acf-std"``.
        low: see :func:`pairs_from_folders`.
        high: see :func:`pairs_from_folders`.
        limit: only the first so many, by name.

    Raises:
        InputError: neither, both or half of one; see also the two functions.
    """
    folders = low is not None or high is not None
    if data is not None and not folders:
        return pairs_from_recipe(data, recipe or "acf-std", scale, limit)
    if low is not None and high is not None and data is None and recipe is None:
        return pairs_from_folders(low, high, scale, limit)
    problem = "There is nothing to evaluate on."
    if data is not None:
        problem = "Pictures for a recipe and pairs of pictures do not go together."
    elif recipe is not None:
        problem = "A recipe needs pictures to degrade."
    elif folders:
        problem = "Only one of the two folders of pairs is given."
    raise InputError(problem, "Give --data DIR --recipe NAME, or --lr DIR --hr DIR.")


def _limited(items: Sequence[T], limit: int | None) -> Sequence[T]:
    if limit is not None and limit < 1:
        raise InputError(f"A limit of {limit} pictures leaves none.", "Give 1 or more.")
    return items[:limit]


def _cropped(image: Uint8Image, scale: int, path: Path) -> Uint8Image:
    try:
        return np.ascontiguousarray(mod_crop(image, scale))
    except InputError as error:
        raise InputError(f"'{path}': {error.problem}", error.remedy) from error


def _size(image: Uint8Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _match(lows: list[Path], highs: list[Path], low: Path, high: Path) -> list[tuple[Path, Path]]:
    exact = _by_name(highs, str, high)
    by_name = _by_name(lows, str, low)
    pairs = [(path, exact[name]) for name, path in by_name.items() if name in exact]
    taken = {path for pair in pairs for path in pair}
    rest_low = _by_name([path for path in lows if path not in taken], _bare, low)
    rest_high = _by_name([path for path in highs if path not in taken], _bare, high)
    pairs += [(path, rest_high[name]) for name, path in rest_low.items() if name in rest_high]
    for ours, theirs, folder, other in (
        (rest_low, rest_high, low, high),
        (rest_high, rest_low, high, low),
    ):
        lonely = [path.name for name, path in ours.items() if name not in theirs]
        if lonely:
            shown = ", ".join(lonely[:5]) + (", ..." if len(lonely) > 5 else "")
            raise InputError(
                f"{len(lonely)} of the pictures in '{folder}' have no partner in '{other}': "
                f"{shown}.",
                "Partners have the same name but for the suffix, or for a tail as in "
                "name_x4, name_LR, name_HR.",
            )
    return sorted(pairs, key=lambda pair: pair[1].name)


def _bare(stem: str) -> str:
    while (shorter := _TAIL.sub("", stem)) and shorter != stem:
        stem = shorter
    return stem


def _by_name(paths: list[Path], name: Callable[[str], str], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        key = name(path.stem)
        if key in found:
            raise InputError(
                f"'{found[key].name}' and '{path.name}' in '{folder}' both stand for '{key}'.",
                "Remove or rename one.",
            )
        found[key] = path
    return found
