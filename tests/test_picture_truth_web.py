"""Picture truth in the canvas of a real browser; see test_picture_truth.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from truth_tools import judge, write_film
from truth_ways import PICTURE, camera, film, gst, on_a_page, pictures, pipeline, rtsp, web

pytestmark = web


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from acf_edge.stream.clock.browser import find_browser

    with (
        sync_playwright() as driver,
        contextlib.closing(
            driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        ) as browser,
    ):
        yield browser


@pytest.mark.parametrize(
    ("source", "matrix", "full"),
    [
        pytest.param(film, 6, True, id="file, 601 full"),
        pytest.param(film, 1, False, id="file, 709 limited"),
        pytest.param(pictures, 6, True, id="folder"),
        pytest.param(pipeline, 6, True, id="gst", marks=gst),
    ],
)
def test_every_source_on_a_page(
    tmp_path: Path,
    browser: Any,
    source: Callable[[Path, int, bool, str, bool], str],
    matrix: int,
    full: bool,
) -> None:
    address = source(tmp_path, matrix, full, "yuv420p", True)
    judge(on_a_page(browser, tmp_path, address), PICTURE)


@rtsp
@pytest.mark.parametrize("backend", ["av", "gst"])
def test_a_camera_on_a_page(tmp_path: Path, browser: Any, backend: str) -> None:
    with camera(tmp_path, 6, True) as address:
        judge(on_a_page(browser, tmp_path, f"{address}?backend={backend}&timeout=5"), PICTURE)


def test_a_lie_about_the_colour_does_not_pass(tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "in.mkv"
    write_film(path, PICTURE, matrix=1, full=False, tagged=(6, False))
    with pytest.raises(AssertionError, match=r"mean of a channel|dB"):
        judge(on_a_page(browser, tmp_path, f"{path}?loop=1&realtime=1"), PICTURE)
