"""Picture truth through an RTSP server and its viewers; see test_picture_truth.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from truth_tools import judge, write_film
from truth_ways import (
    PICTURE,
    camera,
    film,
    folder_of,
    gst_pipeline,
    pictures,
    pipeline,
    recording,
    rtsp,
    served,
)
from video_clips import Image

pytestmark = rtsp

Carry = Callable[[Path, str], Image]


@pytest.fixture(scope="module")
def full_601(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with camera(tmp_path_factory.mktemp("camera"), 6, True) as address:
        yield address


@pytest.mark.parametrize(
    "sink",
    [
        pytest.param(recording(".mp4"), id="to mp4"),
        pytest.param(recording(".mkv"), id="to mkv"),
        pytest.param(recording(".ts"), id="to ts"),
        pytest.param(recording(".webm"), id="to webm"),
        pytest.param(folder_of("png"), id="to png"),
        pytest.param(gst_pipeline, id="to gst"),
        pytest.param(served, id="to rtsp"),
    ],
)
@pytest.mark.parametrize("backend", ["av", "gst"])
def test_a_camera_through_every_sink(
    tmp_path: Path, full_601: str, backend: str, sink: Carry
) -> None:
    judge(sink(tmp_path, f"{full_601}?backend={backend}&timeout=5"), PICTURE)


@pytest.mark.parametrize("source", [film, pictures, pipeline])
def test_every_source_through_a_server(
    tmp_path: Path, source: Callable[[Path, int, bool, str, bool], str]
) -> None:
    judge(served(tmp_path, source(tmp_path, 6, True, "yuv420p", True)), PICTURE)


@pytest.mark.parametrize(
    ("matrix", "full"), [(6, False), (1, False), (1, True)], ids=["601", "709", "709 full"]
)
def test_every_colour_served_and_read(tmp_path: Path, matrix: int, full: bool) -> None:
    with camera(tmp_path, matrix, full) as address:
        for backend in ("av", "gst"):
            sink, folder = folder_of("png"), tmp_path / backend
            judge(sink(folder, f"{address}?backend={backend}&timeout=5"), PICTURE)


@pytest.mark.parametrize("said", [(6, False), (1, True)], ids=["wrong matrix", "wrong range"])
def test_a_lie_about_the_colour_does_not_pass(tmp_path: Path, said: tuple[int, bool]) -> None:
    path = tmp_path / "in.mkv"
    write_film(path, PICTURE, matrix=1, full=False, tagged=said)
    with pytest.raises(AssertionError, match=r"mean of a channel|dB"):
        judge(served(tmp_path, f"{path}?loop=1&realtime=1"), PICTURE)
