"""The demo, cut short: every file it promises, a whole ledger, figures that fit the clip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acf_edge.demo import clip
from acf_edge.demo.run import run_demo
from acf_edge.demo.table import demo_table
from acf_edge.engine import STAGES, open_bundle
from acf_edge.errors import InputError, MissingExtraError


def test_the_demo_leaves_what_it_promises(tmp_path: Path, bikes: Path) -> None:
    said: list[str] = []
    result = run_demo(tmp_path / "out", limit=4, finetune_steps=2, say=said.append)
    assert len(said) == 5
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "acf.bundle",
        "camera.mp4",
        "enhanced.mp4",
        "side_by_side.mp4",
        "report.html",
        "result.json",
    }
    rows = open_bundle(tmp_path / "out" / "acf.bundle").ledger.rows
    assert [row.stage for row in rows] == list(STAGES)
    assert all(row.verdict == "pass" for row in rows)
    assert (result.frames, result.size_in, result.size_out) == (4, (160, 68), (640, 272))
    both = list(clip.frames_of(tmp_path / "out" / "side_by_side.mp4"))
    assert [frame.pixels.shape for frame in both] == [(272, 1280, 3)] * 4
    assert json.loads((tmp_path / "out" / "result.json").read_text())["frames"] == 4
    page = (tmp_path / "out" / "report.html").read_text()
    assert "sharing.deblur" in page and "frame 3" in page
    assert demo_table(result) is not None


def test_too_few_frames_are_refused(tmp_path: Path, bikes: Path) -> None:
    with pytest.raises(InputError, match="2 frames"):
        run_demo(tmp_path / "out", limit=1, say=lambda _: None)


def test_a_clip_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"acf-edge\[demo\]"):
        clip.sample_clip("no-such-clip.mp4")
