"""From a person in a photo to the pictures that a pose model is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe
from acf_edge.imaging.resize import resize_bicubic, to_uint8
from benchmarks.pose_data import Box, Subject, Truth, around
from benchmarks.pose_metrics import CONFIDENT
from benchmarks.pose_model import PoseModel

FloatArray = npt.NDArray[np.float64]
Uint8Image = npt.NDArray[np.uint8]

HARSH: Final = Recipe(
    name="harsh",
    blur_length=(10.0, 30.0),
    blur_curvature=1.5,
    noise_shot=(2.0, 6.0),
    noise_read=(1.0, 3.0),
    codec="jpeg",
    jpeg_quality=(10, 30),
)
"""Stronger than anything that the shipped networks were trained on."""

MARGIN: Final = 0.25
"""Of the box's longer side, what of the surroundings is shown on each side."""
_SAME_PERSON: Final = 0.3


@dataclass(frozen=True)
class Crop:
    """A person at the size of the result.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB, both sides multiples of the scale.
        offset: ``(2,)`` x and y of its corner in the photo.
        factor: ``(2,)`` pixels of ``image`` for one of the photo, in x and y.
    """

    image: Uint8Image
    offset: FloatArray
    factor: FloatArray

    def place(self, truth: Truth) -> Truth:
        """The same joints in pixels of ``image``."""
        mean = float(np.sqrt(self.factor.prod()))
        return replace(
            truth,
            points=(truth.points - self.offset) * self.factor,
            tolerance=truth.tolerance * mean,
            area=truth.area * mean**2,
        )


def is_large_enough(subject: Subject, height: int, scale: int) -> bool:
    """Whether the photo shows the person at the size of the result, so that it only shrinks."""
    return subject.box.height >= height * scale


def cut_out(photo: Uint8Image, box: Box, height: int, scale: int) -> Crop:
    """Cut a person out and shrink it.

    Args:
        photo: ``(H, W, 3)`` uint8 RGB.
        box: of the person, within the photo.
        height: of the person in the low-resolution picture, in pixels.
        scale: of the up-sampling; the crop shows the person ``height * scale`` pixels high.
    """
    margin = MARGIN * max(box.width, box.height)
    left, top = (max(int(edge - margin), 0) for edge in (box.x, box.y))
    right = min(int(np.ceil(box.x + box.width + margin)), photo.shape[1])
    bottom = min(int(np.ceil(box.y + box.height + margin)), photo.shape[0])
    part = photo[top:bottom, left:right]
    factor = height * scale / box.height
    rows, columns = (max(round(side * factor / scale), 1) * scale for side in part.shape[:2])
    shrunk = to_uint8(resize_bicubic(part, rows, columns))
    return Crop(
        shrunk,
        np.array([left, top], dtype=np.float64),
        np.array([columns / part.shape[1], rows / part.shape[0]]),
    )


def scale_pose(pose: FloatArray | None, factor: float) -> FloatArray | None:
    """A pose found on a smaller picture, in pixels of the larger one."""
    return None if pose is None else pose * np.array([factor, factor, 1.0])


def find_people(path: Path, photo: Uint8Image, model: PoseModel) -> list[Subject]:
    """The people that the model finds in a photo that nobody has annotated.

    It finds one in a picture, so it is shown the whole photo and then squares along its
    longer side. A box is the extent of the confident joints, a tenth wider on each side.

    Returns:
        Without truth, in the order in which they were found.
    """
    boxes: list[Box] = []
    for left, top, window in _windows(photo):
        pose = model.find(window)
        if pose is None:
            continue
        sure = pose[pose[:, 2] >= CONFIDENT, :2] + (left, top)
        if len(sure) < 2:
            continue
        box = around(sure).clipped(photo.shape[1], photo.shape[0])
        if box.area > 0 and not any(_same(box, other) for other in boxes):
            boxes.append(box)
    return [Subject(f"{path.name}#{index + 1}", path, box, None) for index, box in enumerate(boxes)]


def _windows(photo: Uint8Image) -> Sequence[tuple[int, int, Uint8Image]]:
    height, width = photo.shape[:2]
    side, spare = min(height, width), abs(width - height)
    squares = []
    for start in sorted({0, spare // 2, spare}) if spare else []:
        left, top = (start, 0) if width > height else (0, start)
        squares.append((left, top, photo[top : top + side, left : left + side]))
    return [(0, 0, photo), *squares]


def _same(box: Box, other: Box) -> bool:
    return max(box.covered(other), other.covered(box)) > _SAME_PERSON
