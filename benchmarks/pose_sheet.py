"""A picture for the eye: persons in rows, what the model was shown in columns, poses drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe
from acf_edge.imaging import read_image
from benchmarks.pose_crop import cut_out
from benchmarks.pose_data import JOINTS, Subject, Truth
from benchmarks.pose_metrics import pck
from benchmarks.pose_model import PoseModel
from benchmarks.pose_run import BICUBIC, ORIGINAL, Sample, Setup, Shown, find, seed_of, show

FloatArray = npt.NDArray[np.float64]
Uint8Image = npt.NDArray[np.uint8]

TILE: Final = 300
"""The longer side of a picture on the sheet, in pixels; all columns are as wide."""
_GAP: Final = 6
_LINE: Final = 20
_PAPER: Final = 255
_LEFT: Final = (255, 120, 0)
_RIGHT: Final = (0, 160, 255)
_MIDDLE: Final = (60, 220, 60)
_BODY: Final = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")


def _bones() -> list[tuple[int, int, tuple[int, int, int]]]:
    at = {name: index for index, name in enumerate(JOINTS)}
    bones = [(at["left_shoulder"], at["right_shoulder"], _MIDDLE)]
    bones.append((at["left_hip"], at["right_hip"], _MIDDLE))
    for side, colour in (("left", _LEFT), ("right", _RIGHT)):
        bones.append((at[f"{side}_shoulder"], at[f"{side}_hip"], _MIDDLE))
        bones.append((at["nose"], at[f"{side}_eye"], colour))
        bones.append((at[f"{side}_eye"], at[f"{side}_ear"], colour))
        for chain in _BODY:
            for one, other in pairwise(chain):
                bones.append((at[f"{side}_{one}"], at[f"{side}_{other}"], colour))
    return bones


BONES: Final = tuple(_bones())
"""Pairs of indices into :data:`JOINTS` and the colour of the line between them."""


def choose(samples: Sequence[Sample], engine: str, rows: int) -> list[Sample]:
    """Persons from the one for whom the engine gains most over bicubic to the one that loses most.

    Evenly spread over that order, so that the sheet flatters nobody: by PCK, of annotated
    persons; of equal ones by name.
    """

    def gain(sample: Sample) -> float:
        ours, theirs = sample.scores[engine].pck, sample.scores[BICUBIC].pck
        assert ours is not None and theirs is not None  # asked of annotated persons alone
        return ours - theirs

    known = [sample for sample in samples if sample.scores[ORIGINAL].pck is not None]
    known.sort(key=lambda sample: (-gain(sample), sample.subject))
    count = min(rows, len(known))
    return [known[round(place)] for place in np.linspace(0, len(known) - 1, count)]


def draw_sheet(
    chosen: Sequence[Subject], recipe: Recipe, height: int, setup: Setup, model: PoseModel
) -> Uint8Image:
    """Draw a sheet of the first draw of each person.

    Args:
        chosen: in rows; at least one.
        recipe: of the degradation.
        height: of the persons in the low-resolution picture, in pixels.
        setup: gives the engines and the scale.
        model: finds the poses.

    Returns:
        ``(H, W, 3)`` uint8 RGB. White dots are the annotation.
    """
    rows = []
    for subject in chosen:
        crop = cut_out(read_image(subject.photo), subject.box, height, setup.scale)
        truth = None if subject.truth is None else crop.place(subject.truth)
        pictures = {ORIGINAL: Shown(crop.image, 1.0)}
        pictures |= show(crop, recipe, seed_of(subject, 0), setup)
        poses = {name: find(shown, model) for name, shown in pictures.items()}
        rows.append(_row(pictures, poses, truth))
    title = f"{recipe.name}, persons {height} px high, x{setup.scale}"
    sheet = np.concatenate([_strip(title, rows[0].shape[1]), *rows])
    return np.ascontiguousarray(sheet)


def draw_pose(
    image: Uint8Image, pose: FloatArray | None, truth: Truth | None, zoom: float
) -> Uint8Image:
    """A copy of a picture with a pose in colours and the annotation as white dots.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        pose, truth: in pixels that are ``1 / zoom`` of the picture's; either may be None.
        zoom: pixels of ``image`` for one of theirs.
    """
    canvas = np.ascontiguousarray(image.copy())
    if truth is not None:
        for x, y in truth.points[np.isfinite(truth.points[:, 0])] * zoom:
            cv2.circle(canvas, (round(x), round(y)), 4, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(canvas, (round(x), round(y)), 3, (255, 255, 255), -1, cv2.LINE_AA)
    if pose is not None:
        points = [(round(x), round(y)) for x, y in pose[:, :2] * zoom]
        for one, other, colour in BONES:
            cv2.line(canvas, points[one], points[other], colour, 2, cv2.LINE_AA)
    return canvas


def _row(
    pictures: Mapping[str, Shown], poses: Mapping[str, FloatArray | None], truth: Truth | None
) -> Uint8Image:
    height, width = pictures[ORIGINAL].image.shape[:2]
    zoom = TILE / max(height, width)
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    tiles = []
    for name, shown in pictures.items():
        # The low-resolution picture is shown with its pixels as squares.
        small = size[0] * size[1] < shown.image.shape[0] * shown.image.shape[1]
        way = cv2.INTER_AREA if small else cv2.INTER_CUBIC
        if shown.factor != 1:
            way = cv2.INTER_NEAREST
        resized = np.asarray(cv2.resize(shown.image, size, interpolation=way), dtype=np.uint8)
        tile = np.full((size[1], TILE, 3), _PAPER, dtype=np.uint8)
        tile[:, : size[0]] = draw_pose(resized, poses[name], truth, zoom)
        label = f"{name}: nobody found" if poses[name] is None else name
        if truth is not None and poses[name] is not None:
            label = f"{name}: PCK {100 * pck(poses[name], truth):.0f}"
        framed = np.concatenate([_strip(label, TILE), tile])
        tiles.append(np.pad(framed, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER))
    return np.concatenate(tiles, axis=1)


def _strip(text: str, width: int) -> Uint8Image:
    strip = np.full((_LINE, width, 3), _PAPER, dtype=np.uint8)
    # OpenCV's letters are ASCII.
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(
        strip, plain, (2, _LINE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA
    )
    return strip
