"""People to be found: annotated ones from six data sets, in one set of joints.

A folder holds ``images/`` and ``annotations/``. The annotations of COCO, OCHuman,
CrowdPose, AI Challenger and PoseTrack18 are in COCO's format and name their own
keypoints; those of MPII are the list that is in use since HRNet. Everything is turned
into COCO's 17 joints; what else a set has (top of the head, neck) serves as a ruler.

Points are continuous: the first pixel of a row covers 0..1, its centre is 0.5.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.imaging import list_images, read_image

FloatArray = npt.NDArray[np.float64]

JOINTS: Final = (
    "nose",
    *(f"{side}_{part}" for part in ("eye", "ear") for side in ("left", "right")),
    *(
        f"{side}_{part}"
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
"""COCO's keypoints in COCO's order."""

HEAD_TOP: Final = "head_top"
NECK: Final = "neck"
RULERS: Final = {"head": 0.5, "torso": 0.2}
"""How much of a person's head (PCKh) or, where no head is annotated, torso a keypoint may err."""

_MPII_JOINTS: Final = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", NECK, HEAD_TOP),
    *("right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
# What the sets call the two ends of the head.
_SAME: Final = {"head": HEAD_TOP, "head_bottom": NECK}
# File of annotations -> what the photos' names begin with.
_FILES: Final = {
    "aic_gt.json": "aic_",
    "coco_keypoints_gt.json": "",
    "crowdpose_gt.json": "crowdpose_",
    "mpii_gt.json": "mpii_",
    "ochuman_gt.json": "ochuman_",
    "posetrack18_gt.json": "posetrack_",
}
# Share of a box that its person covers, where no outline says more (as in CrowdPose's OKS).
_COVERED: Final = 0.53
_LEAST_JOINTS: Final = 6
_ROOMY: Final = 0.1
_MOST_OVERLAP: Final = 0.5


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the photo."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """In square pixels."""
        return self.width * self.height

    def clipped(self, width: int, height: int) -> Box:
        """The part that lies in a photo of this size; may be empty."""
        left, top = max(self.x, 0.0), max(self.y, 0.0)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        return Box(left, top, max(right - left, 0.0), max(bottom - top, 0.0))

    def covered(self, other: Box) -> float:
        """The share of this box that lies under the other, 0..1."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(wide, 0.0) * max(high, 0.0) / self.area if self.area > 0 else 1.0


@dataclass(frozen=True)
class Truth:
    """Where an annotated person's joints are.

    Attributes:
        points: ``(17, 2)`` x and y in the order of :data:`JOINTS`; NaN where not annotated.
        tolerance: pixels by which a point may miss (half a head, or a fifth of a torso).
        ruler: ``"head"`` or ``"torso"``.
        area: of the person in square pixels, for OKS.
    """

    points: FloatArray
    tolerance: float
    ruler: str
    area: float


@dataclass(frozen=True)
class Subject:
    """One person in one photo.

    Attributes:
        name: the photo's and a number.
        photo: the file.
        box: clipped to the photo.
        truth: None for a person that is not annotated.
    """

    name: str
    photo: Path
    box: Box
    truth: Truth | None


@dataclass(frozen=True)
class _Raw:
    joints: Mapping[str, FloatArray]
    box: Box
    area: float | None


def list_photos(data: Path) -> list[Path]:
    """The photos of a folder, sorted by name.

    Args:
        data: holds ``images`` and ``annotations``, or has a folder ``pose`` that does.

    Raises:
        InputError: it does not, or there are no photos.
    """
    return list_images(find_data(data) / "images")


def find_data(data: Path) -> Path:
    """``data``, or ``data/pose``: the one that holds photos and annotations.

    Raises:
        InputError: neither does.
    """
    for folder in (data, data / "pose"):
        if (folder / "images").is_dir() and (folder / "annotations").is_dir():
            return folder
    raise InputError(
        f"'{data}' holds no photos of people.",
        "Name with --data a folder that has 'images' and 'annotations' in it.",
    )


def annotated(data: Path) -> tuple[list[Subject], dict[str, str]]:
    """The annotated persons that a single-person model can be asked for.

    Left out are, whatever a model makes of them: crowds, persons with fewer than six
    annotated joints or with neither head nor torso to measure by, and persons whose box
    lies by more than half under somebody else's (a crop cannot tell who is meant).

    Returns:
        The persons, sorted by name; and name -> reason of those left out.

    Raises:
        InputError: a folder or a file is missing or not as it should be.
    """
    folder = find_data(data)
    photos = list_photos(folder)
    subjects: list[Subject] = []
    left_out: dict[str, str] = {}
    known = [(name, prefix) for name, prefix in _FILES.items() if _is_file(folder, name)]
    if not known:
        raise InputError(
            f"'{folder / 'annotations'}' has no known annotations.",
            f"Known are: {', '.join(_FILES)}.",
        )
    for name, prefix in known:
        for source, size, people in _read(folder / "annotations" / name):
            photo = _photo(photos, prefix, source)
            if size is None:
                size = read_image(photo).shape[1::-1]
            boxes = [person.box.clipped(*size) for person in people]
            for index, person in enumerate(people):
                label = f"{photo.name}#{index + 1}"
                others = boxes[:index] + boxes[index + 1 :]
                truth, reason = _truth(person, boxes[index], others)
                if truth is None:
                    left_out[label] = reason
                else:
                    subjects.append(Subject(label, photo, boxes[index], truth))
    return sorted(subjects, key=lambda subject: subject.name), left_out


def with_annotations(data: Path) -> frozenset[Path]:
    """The photos in which somebody is annotated."""
    folder = find_data(data)
    photos = list_photos(folder)
    return frozenset(
        _photo(photos, prefix, source)
        for name, prefix in _FILES.items()
        if _is_file(folder, name)
        for source, _, _ in _read(folder / "annotations" / name)
    )


def around(points: FloatArray) -> Box:
    """The extent of joints, a tenth of its longer side wider on each side.

    Args:
        points: ``(N, 2)`` x and y, all known; at least one.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _ROOMY * float((high - low).max())
    (x, y), (width, height) = low - margin, high - low + 2 * margin
    return Box(float(x), float(y), float(width), float(height))


def torso(points: FloatArray) -> float:
    """Mean distance in pixels from a shoulder to the opposite hip; NaN where unknown.

    Args:
        points: ``(17, >= 2)``, NaN where unknown.
    """
    at = {name: points[index, :2] for index, name in enumerate(JOINTS)}
    lengths = [
        float(np.hypot(*(at[f"{one}_shoulder"] - at[f"{other}_hip"])))
        for one, other in (("left", "right"), ("right", "left"))
    ]
    known = [length for length in lengths if math.isfinite(length)]
    return math.fsum(known) / len(known) if known else math.nan


def _truth(person: _Raw, box: Box, others: Sequence[Box]) -> tuple[Truth | None, str]:
    if not person.joints:
        return None, "no keypoints"
    points = np.full((len(JOINTS), 2), np.nan)
    for index, name in enumerate(JOINTS):
        if name in person.joints:
            points[index] = person.joints[name]
    if np.isfinite(points[:, 0]).sum() < _LEAST_JOINTS:
        return None, f"fewer than {_LEAST_JOINTS} joints"
    if any(box.covered(other) > _MOST_OVERLAP for other in others):
        return None, "under somebody else"
    ruler, length = "torso", torso(points)
    if HEAD_TOP in person.joints and NECK in person.joints:
        ruler = "head"
        length = float(np.hypot(*(person.joints[HEAD_TOP] - person.joints[NECK])))
    if not length > 0:  # NaN, too
        return None, "neither head nor torso"
    area = person.area if person.area and person.area < 0.95 * box.area else _COVERED * box.area
    return Truth(points, RULERS[ruler] * length, ruler, area), ""


def _is_file(folder: Path, name: str) -> bool:
    return (folder / "annotations" / name).is_file()


def _read(path: Path) -> Iterator[tuple[str, tuple[int, int] | None, list[_Raw]]]:
    """Photo's name in its data set, (width, height) if told, everybody in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise explain_os_error(error, path) from None
    except ValueError as error:
        raise InputError(f"'{path}' is no JSON: {error}.", "Copy the file again.") from None
    try:
        yield from _mpii(content) if isinstance(content, list) else _coco(content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"'{path}' is not annotated as it should be ({type(error).__name__}: {error}).",
            "Copy the file again.",
        ) from None


def _coco(content: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, int] | None, list[_Raw]]]:
    names = [_joint(name) for name in content["categories"][0]["keypoints"]]
    for image in content["images"]:
        people = []
        for entry in content["annotations"]:
            if entry["image_id"] != image["id"] or entry.get("iscrowd"):
                continue
            triples = np.asarray(entry["keypoints"], dtype=np.float64).reshape(len(names), 3)
            joints = {
                name: triple[:2] + 0.5
                for name, triple in zip(names, triples, strict=True)
                if triple[2] > 0
            }
            area = entry.get("area")
            box = Box(*(float(number) for number in entry["bbox"]))
            people.append(_Raw(joints, box, None if area is None else float(area)))
        yield str(image["file_name"]), (int(image["width"]), int(image["height"])), people


def _mpii(
    content: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, tuple[int, int] | None, list[_Raw]]]:
    for source in sorted({str(entry["image"]) for entry in content}):
        people = []
        for entry in (entry for entry in content if entry["image"] == source):
            # MATLAB counts from 1: the centre of the first pixel is 1, here it is 0.5.
            places = np.asarray(entry["joints"], dtype=np.float64).reshape(len(_MPII_JOINTS), 2)
            joints = {
                name: place - 0.5
                for name, place, seen in zip(_MPII_JOINTS, places, entry["joints_vis"], strict=True)
                if seen
            }
            if joints:
                # MPII has no boxes.
                people.append(_Raw(joints, around(np.stack(list(joints.values()))), None))
        yield source, None, people


def _joint(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_")
    return _SAME.get(plain, plain)


def _photo(photos: Sequence[Path], prefix: str, source: str) -> Path:
    """The file that a data set calls ``source``; long names may have been cut."""
    parts = Path(source).with_suffix("").parts
    # PoseTrack's frames are numbered in a folder for each clip.
    wanted = "_".join(parts[-2:]) if prefix == "posetrack_" else parts[-1]
    for photo in photos:
        stem = photo.stem
        if stem.startswith(prefix):
            rest = stem[len(prefix) :]
            if rest == wanted or (len(rest) >= 12 and wanted.startswith(rest)):
                return photo
    raise InputError(
        f"The annotated photo '{source}' is not there (as '{prefix}{wanted}').",
        "Copy the folder 'images' again.",
    )
