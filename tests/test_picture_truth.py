"""What a source was given comes out of a sink: matrix, range, depth.

The engine is the identity. Every source that carries pixels is tried with every sink
that does, through the running pipeline; what is read back is converted by the
definitions of the matrices, as the coded stream says of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from truth_tools import judge, write_film
from truth_ways import (
    PICTURE,
    film,
    folder_of,
    gst,
    gst_pipeline,
    pictures,
    pipeline,
    recording,
)
from video_clips import Image

Source = Callable[[Path, int, bool, str, bool], str]
Carry = Callable[[Path, str], Image]

COLOURS = [
    pytest.param(6, False, id="601 limited"),
    pytest.param(6, True, id="601 full"),
    pytest.param(1, False, id="709 limited"),
    pytest.param(1, True, id="709 full"),
]
SOURCES = [
    pytest.param(film, id="from file"),
    pytest.param(pictures, id="from folder"),
    pytest.param(pipeline, id="from gst", marks=gst),
]
LIES = [pytest.param((6, False), id="wrong matrix"), pytest.param((1, True), id="wrong range")]
SINKS = [
    pytest.param(recording(".mp4"), id="to mp4"),
    pytest.param(recording(".mov"), id="to mov"),
    pytest.param(recording(".mkv"), id="to mkv"),
    pytest.param(recording(".ts"), id="to ts"),
    pytest.param(recording(".webm"), id="to webm"),
    pytest.param(folder_of("png"), id="to png"),
    pytest.param(gst_pipeline, id="to gst", marks=gst),
]


def _carry(
    folder: Path, source: Source, sink: Carry, matrix: int, full: bool, depth: str = "yuv420p"
) -> Image:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    return sink(folder / "out", source(folder / "in", matrix, full, depth, False))


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_through_every_sink(tmp_path: Path, source: Source, sink: Carry) -> None:
    judge(_carry(tmp_path, source, sink, 6, True), PICTURE)


@pytest.mark.parametrize(("matrix", "full"), COLOURS)
@pytest.mark.parametrize(
    ("source", "depth"),
    [
        pytest.param(film, "yuv420p", id="file, 8 bit"),
        pytest.param(film, "yuv420p10le", id="file, 10 bit"),
        pytest.param(film, "yuv422p", id="file, 8 bit 4:2:2"),
        pytest.param(film, "yuv444p", id="file, 8 bit 4:4:4"),
        pytest.param(film, "yuv422p10le", id="file, 10 bit 4:2:2"),
        pytest.param(film, "yuv444p10le", id="file, 10 bit 4:4:4"),
        pytest.param(pipeline, "yuv420p", id="gst, 8 bit", marks=gst),
        pytest.param(pipeline, "yuv420p10le", id="gst, 10 bit", marks=gst),
    ],
)
def test_every_colour_through_every_source(
    tmp_path: Path, source: Source, depth: str, matrix: int, full: bool
) -> None:
    judge(_carry(tmp_path, source, folder_of("png"), matrix, full, depth), PICTURE)


@pytest.mark.parametrize("depth", ["yuv420p", "yuv420p10le"], ids=["8 bit", "10 bit"])
@pytest.mark.parametrize(("matrix", "full"), COLOURS)
@pytest.mark.parametrize("sink", SINKS)
def test_every_colour_through_every_sink(
    tmp_path: Path, sink: Carry, matrix: int, full: bool, depth: str
) -> None:
    judge(_carry(tmp_path, film, sink, matrix, full, depth), PICTURE)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("said", LIES)
def test_a_lie_about_the_colour_does_not_pass(
    tmp_path: Path, sink: Carry, said: tuple[int, bool]
) -> None:
    """Pixels of BT.709, limited, that are tagged as something else: the judge must see it."""
    path = tmp_path / "in.mkv"
    write_film(path, PICTURE, matrix=1, full=False, tagged=said)
    with pytest.raises(AssertionError, match=r"mean of a channel|dB"):
        judge(sink(tmp_path, str(path)), PICTURE)
