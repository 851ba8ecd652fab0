"""The pose model: MediaPipe's, on one picture at a time, offline."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError, MissingExtraError
from benchmarks.pose_data import JOINTS

FloatArray = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.5
"""MediaPipe's least confidence of detection and of the landmarks' presence: its defaults."""

_BODY: Final = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# Of the 33 landmarks; fingers and toes lie between wrists and hips, and after the ankles.
_STARTS: Final = {"eye": 2, "ear": 7} | dict(zip(_BODY, (11, 13, 15, 23, 25, 27), strict=True))


def _landmark(joint: str) -> int:
    side, _, part = joint.rpartition("_")
    if not side:
        return 0  # the nose
    # Each eye has three landmarks, of which the middle one is the pupil.
    step = 3 if part == "eye" else 1
    return _STARTS[part] + (step if side == "right" else 0)


LANDMARKS: Final = tuple(_landmark(joint) for joint in JOINTS)
"""Index among MediaPipe's 33 landmarks of each of :data:`JOINTS`."""


class PoseModel(Protocol):
    """Finds the most prominent person of a picture."""

    def find(self, image: npt.NDArray[np.uint8]) -> FloatArray | None:
        """Find a person in ``(H, W, 3)`` uint8 RGB.

        Returns:
            ``(17, 3)`` float64: x and y in pixels (they may lie outside) and the
            visibility 0..1 of each of :data:`JOINTS`; None if nobody is found.
        """
        ...


class MediaPipePose:
    """MediaPipe Pose, the ``full`` model that its wheel carries; no memory between pictures.

    Raises:
        MissingExtraError: mediapipe is not installed.
        InputError: it is a release without this model.
    """

    def __init__(self) -> None:
        for name in ("GLOG_minloglevel", "TF_CPP_MIN_LOG_LEVEL"):
            os.environ.setdefault(name, "3")  # read once, when the library is loaded
        with _quiet():
            try:
                mediapipe: Any = importlib.import_module("mediapipe")
            except ModuleNotFoundError as error:
                if error.name != "mediapipe":
                    raise
                raise MissingExtraError("Pose estimation", "mediapipe", "pose") from None
            self.version = str(mediapipe.__version__)
            try:
                make = mediapipe.solutions.pose.Pose
            except AttributeError:
                raise InputError(
                    f"mediapipe {self.version} carries no pose model.",
                    "Run: pip install 'acf-edge[pose]'",
                ) from None
            self._pose = make(
                static_image_mode=True,
                model_complexity=1,
                min_detection_confidence=CONFIDENCE,
                min_tracking_confidence=CONFIDENCE,
            )
            # The library starts with the first picture, and says so.
            self._pose.process(np.zeros((64, 64, 3), dtype=np.uint8))

    def find(self, image: npt.NDArray[np.uint8]) -> FloatArray | None:
        """See :class:`PoseModel`."""
        height, width = image.shape[:2]
        with _quiet():
            landmarks = self._pose.process(np.ascontiguousarray(image)).pose_landmarks
        if landmarks is None:
            return None
        points = [landmarks.landmark[index] for index in LANDMARKS]
        return np.array([(p.x * width, p.y * height, p.visibility) for p in points])

    def close(self) -> None:
        """Release the model."""
        self._pose.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what the native library writes to stderr; errors come as exceptions."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
