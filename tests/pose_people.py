"""Made-up people, a model that finds them, and the pose benchmark's modules for its tests."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).resolve().parents[1]
FloatArray = npt.NDArray[np.float64]

_FACE = [(0.50, 0.12), (0.54, 0.10), (0.46, 0.10), (0.58, 0.12), (0.42, 0.12)]
_ARMS = [(0.70, 0.25), (0.30, 0.25), (0.80, 0.40), (0.20, 0.40), (0.85, 0.52), (0.15, 0.52)]
_LEGS = [(0.62, 0.55), (0.38, 0.55), (0.64, 0.72), (0.36, 0.72), (0.65, 0.90), (0.35, 0.90)]
SPOTS = np.array([*_FACE, *_ARMS, *_LEGS])
"""Where the joints are, as fractions of the photo's width and height."""


class Rooms:
    """The modules under test."""

    crop: Any
    data: Any
    metrics: Any
    model: Any
    run: Any
    sheet: Any
    table: Any

    def __init__(self) -> None:
        for name in ("crop", "data", "metrics", "model", "run", "sheet", "table"):
            setattr(self, name, importlib.import_module(f"benchmarks.pose_{name}"))
        self.command = importlib.import_module("benchmarks.pose")


def load_rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """Import the benchmark from the checkout; skips where there is none."""
    if not (ROOT / "benchmarks" / "pose.py").is_file():
        pytest.skip("the benchmarks do not travel with the installed package")
    monkeypatch.syspath_prepend(str(ROOT))
    return Rooms()


class FakeModel:
    """Finds the made-up people where they are, but in no picture of fewer than ``least`` rows."""

    least = 70

    def find(self, image: npt.NDArray[np.uint8]) -> FloatArray | None:
        height, width = image.shape[:2]
        if height < self.least:
            return None
        return np.column_stack([SPOTS * (width, height), np.ones(len(SPOTS))])


def coco(names: list[str], images: list[dict[str, Any]], people: list[dict[str, Any]]) -> str:
    """Annotations in COCO's format."""
    return json.dumps(
        {"categories": [{"keypoints": names}], "images": images, "annotations": people}
    )


def person(
    image: int, keypoints: list[list[float]], box: list[float], **more: Any
) -> dict[str, Any]:
    """One entry of :func:`coco`."""
    flat = [number for triple in keypoints for number in triple]
    return {"image_id": image, "bbox": box, "keypoints": flat, **more}
