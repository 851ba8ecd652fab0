"""Sharp pictures for calibration, fine-tuning and judgement: a folder, a clip, or made scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe, degrade_image, load_recipe
from acf_edge.degrade.strata import stratified
from acf_edge.errors import InputError
from acf_edge.imaging.files import IMAGE_SUFFIXES, list_images, read_image
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource

Uint8Image = npt.NDArray[np.uint8]
SCENES = "scenes"
SIDE = 768
"""Larger pictures are cut to this many pixels a side, from their centre."""


@dataclass(frozen=True)
class Source:
    """Sharp pictures, split once and for all.

    Attributes:
        learn: for calibration and fine-tuning.
        judge: for the ledger's quality; never in ``learn``.
        words: where they come from.
        digest: SHA-256 over all pixels.
    """

    learn: list[Uint8Image]
    judge: list[Uint8Image]
    words: str
    digest: str


def load_source(source: str | None, scale: int, limit: int = 48) -> Source:
    """Gather pictures.

    Args:
        source: a folder of pictures, a video file, ``"scenes"`` or None (made scenes).
        scale: the network's; pictures must hold at least 32 low-resolution pixels a side.
        limit: pictures at most, spread evenly over the source; >= 4.

    Raises:
        InputError: nothing there, unreadable, too few or too small.
    """
    if limit < 4:
        raise InputError(f"{limit} calibration pictures are too few.", "Give at least 4.")
    if source is None or source == SCENES:
        pictures = [dead_leaves(384, 512, seed) for seed in range(min(limit, 32))]
        words = f"{len(pictures)} made scenes (dead leaves)"
    else:
        path = Path(source)
        if not path.exists():
            raise InputError(
                f"There is no calibration source '{source}'.",
                f"Give a folder of pictures, a video, or '{SCENES}'.",
            )
        pictures = _folder(path, limit) if path.is_dir() else _file(path, limit)
        words = f"{len(pictures)} pictures of '{path.name}'"
    least = 32 * scale
    pictures = [_centre(p, scale) for p in pictures if min(p.shape[:2]) >= least]
    if len(pictures) < 4:
        raise InputError(
            f"The calibration source '{source}' has {len(pictures)} usable pictures.",
            f"Give at least 4 of {least} pixels a side or more.",
        )
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode() + picture.tobytes())
    judge = pictures[2::4][:8]
    learn = [p for index, p in enumerate(pictures) if index % 4 != 2]
    return Source(learn, judge, words, digest.hexdigest())


def _spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` indices, evenly over ``range(count)``."""
    if count <= limit:
        return list(range(count))
    return [int((i + 0.5) * count / limit) for i in range(limit)]


def _folder(folder: Path, limit: int) -> list[Uint8Image]:
    paths = list_images(folder)
    return [read_image(paths[i]) for i in _spread(len(paths), limit)]


def _file(path: Path, limit: int) -> list[Uint8Image]:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(
            f"'{path}' is one picture; calibration needs many.", "Give its folder or a video."
        )
    # Two passes: the number of frames that a container declares may be wrong or missing.
    wanted = set(_spread(sum(1 for _ in _frames(path)), limit))
    return [
        np.ascontiguousarray(pixels)
        for index, pixels in enumerate(_frames(path))
        if index in wanted
    ]


def _frames(path: Path) -> Iterator[Uint8Image]:
    with FileSource(path) as video:
        for item in video.items():
            if isinstance(item, Frame):
                yield item.pixels


def _centre(picture: Uint8Image, scale: int) -> Uint8Image:
    height, width = (min(side, SIDE) // scale * scale for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def calibration_pictures(
    source: Source, recipes: tuple[str, ...], scale: int, seed: int = 0
) -> list[Uint8Image]:
    """Degrade the learning pictures for calibration: all recipes in turn, each stratified.

    Returns:
        One low-resolution uint8 RGB picture per learning picture.
    """
    turns = [index % len(recipes) for index in range(len(source.learn))]
    drawn: dict[int, list[Recipe]] = {
        turn: stratified(load_recipe(recipes[turn]), turns.count(turn), seed + turn)
        for turn in set(turns)
    }
    return [
        degrade_image(picture, drawn[turn].pop(), scale, seed + index)
        for index, (picture, turn) in enumerate(zip(source.learn, turns, strict=True))
    ]
