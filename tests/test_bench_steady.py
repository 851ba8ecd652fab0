"""The measurement of flicker, on clips made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from video_clips import smooth_picture

from acf_edge.imaging.files import read_image, write_image
from benchmarks import steady


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A noisy picture that stands still, and a bright square that crosses it."""
    random = np.random.default_rng(0)
    folder = tmp_path / "clip"
    folder.mkdir()
    base = smooth_picture(64, 96) // 2 + 60
    for index in range(14):
        frame = base + random.normal(0.0, 3.0, base.shape)
        frame[10:26, 4 + 5 * index : 20 + 5 * index] = 250
        write_image(folder / f"{index:02d}.png", np.clip(frame, 0, 255).astype(np.uint8))
    return folder


def test_a_clip_gives_a_row_a_file_and_a_picture(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheets = tmp_path / "steady.json", tmp_path / "sheets"
    code = steady.main([str(clip), "--threads", "1", "--json", str(out), "--pictures", str(sheets)])
    assert code == 0
    assert "clip" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["clips"]
    assert row["frames"] == 14 and row["size"] == [96, 64]
    assert 0.2 < row["static"] < 0.9
    flicker = row["flicker"]
    assert flicker["steady"] < 0.5 * flicker["network"]
    assert flicker["steady"] < flicker["bicubic"]
    # Why the residual is not filtered alone.
    assert flicker["residual alone"] > 0.9 * flicker["bicubic"]
    assert read_image(sheets / "clip.png").shape == (2 * 256, 2 * 384, 3)


def test_noise_can_be_added_and_the_middle_cut_out(clip: Path) -> None:
    calm = steady.read_clip(clip, 10, (32, 48), 0.0)
    loud = steady.read_clip(clip, 10, (32, 48), 20.0)
    assert len(calm) == 10 and calm[0].shape == (48, 32, 3)
    assert np.std(loud[0] - calm[0].astype(float)) > 10


@pytest.mark.parametrize("what", ["nothing", "a short one"])
def test_what_is_no_clip_is_told_in_one_line(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip"
    if what == "a short one":
        path.mkdir()
        write_image(path / "0.png", smooth_picture(20, 20))
    assert steady.main([str(path), "--threads", "1"]) == 2
    assert "Traceback" not in capsys.readouterr().err
