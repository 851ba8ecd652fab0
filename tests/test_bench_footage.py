"""The sheets of real footage and the sweep over degradations: what they show is what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_network, write_checkpoint

from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.scenes import dead_leaves
from benchmarks import ablate, footage, sweep


def test_the_crop_is_where_the_detail_is() -> None:
    picture = np.full((120, 200, 3), 90, np.uint8)
    picture[60:110, 130:180] = np.random.default_rng(0).integers(0, 256, (50, 50, 3))
    x, y = footage.busiest(picture, 48)
    assert abs(x - 131) < 6 and abs(y - 61) < 6
    assert footage.busiest(picture[:20, :20], 20) == (0, 0)


def test_a_clip_and_a_pair_on_one_sheet(tmp_path: Path, bikes: Path) -> None:
    sharp = dead_leaves(256, 320, 1)
    write_image(tmp_path / "sharp.png", sharp)
    write_image(tmp_path / "blurred.png", sharp // 2 + np.roll(sharp, 3, axis=1) // 2)
    out = tmp_path / "sheet.png"
    pair = ["--pair", str(tmp_path / "blurred.png"), str(tmp_path / "sharp.png")]
    assert footage.main([str(bikes), *pair, "--out", str(out)]) == 0
    rows, columns = 2, 5
    high = footage.PANEL + 32
    assert read_image(out).shape == (rows * high + 8, columns * (footage.PANEL + 8) + 8, 3)


def test_the_pair_is_judged_against_its_truth(tmp_path: Path) -> None:
    sharp = dead_leaves(128, 128, 2)
    write_image(tmp_path / "sharp.png", sharp)
    panels = footage.pair_row(tmp_path / "sharp.png", tmp_path / "sharp.png", BicubicEngine(4))
    figures = [title.split(", ")[-1] for title, _ in panels if title.endswith("dB")]
    assert len(figures) == 2 and figures[0] == figures[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "Nothing is named"), (["none.mp4"], "none.mp4"), (["--at", "99999"], "before")],
)
def test_bad_footage(
    tmp_path: Path,
    bikes: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    if "--at" in arguments:
        arguments = [str(bikes), *arguments]
    assert footage.main([*arguments, "--out", str(tmp_path / "x.png")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_the_sweep_holds_every_network_to_every_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(2):
        write_image(tmp_path / "Tiny" / f"{index}.png", dead_leaves(96, 96, index))
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", small_network())
    few = [level for level in sweep.levels() if level.name in ("JPEG 10", "blur 20 px")]
    monkeypatch.setattr(sweep, "levels", lambda: few)
    out, page = tmp_path / "sweep.json", tmp_path / "sweep.md"
    command = ["--data", str(tmp_path), "--set", "Tiny", "--json", str(out), "--table", str(page)]
    for label in ("one", "two"):
        command += ["--network", f"{label}={checkpoint}"]
    assert sweep.main(command) == 0
    cells = json.loads(out.read_text())["cells"]
    assert [(cell["level"], cell["network"]) for cell in cells] == [
        (level, label) for level in ("JPEG 10", "blur 20 px") for label in ("one", "two")
    ]
    for one, two in (cells[:2], cells[2:]):
        # The same network on the same pictures.
        assert {**one, "network": ""} == {**two, "network": ""}
        assert one["pictures"] == 2
        assert one["gain_psnr_y"] == pytest.approx(one["psnr_y"] - one["bicubic_psnr_y"], abs=2e-4)
    lines = page.read_text().replace("\N{MINUS SIGN}", "-").splitlines()
    assert lines[0] == "| level | bicubic | one | two | worst picture, one |"
    figures = [float(word) for word in lines[2].split("|")[2:-1]]
    wanted = [cells[0][key] for key in ("bicubic_psnr_y", "gain_psnr_y", "gain_psnr_y")]
    assert figures == pytest.approx([*wanted, cells[0]["worst_gain_psnr_y"]], abs=0.006)


def test_a_sweep_of_two_scales_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "Tiny" / "0.png", dead_leaves(96, 96, 0))
    four = write_checkpoint(tmp_path / "four.safetensors", small_network())
    two = write_checkpoint(tmp_path / "two.safetensors", small_network(scale=2))
    command = ["--data", str(tmp_path), "--set", "Tiny"]
    command += ["--network", f"a={four}", "--network", f"b={two}"]
    assert sweep.main(command) == 2
    assert "2 times" in capsys.readouterr().err
    assert sweep.main(["--data", str(tmp_path), "--set", "Tiny"]) == 2


def test_the_ablation_table_compares_runs_of_the_same_seed() -> None:
    gains = {("acf", 1): 0.5, ("acf", 2): 0.6, ("plain", 1): 0.45, ("plain", 2): 0.65}
    rows = [
        {"variant": v, "seed": s, "kmac_per_pixel": 57.1, "gain_db": {"acf-std": g, "clean": 1.0}}
        for (v, s), g in gains.items()
    ]
    acf, plain = ablate.markdown(rows).replace("\N{MINUS SIGN}", "-").splitlines()[2:]
    assert acf == "| acf | 57.1 | +0.550 | +1.000 | +0.500, +0.600 |  |"
    # One seed says worse, the other better: the sign of the mean means nothing.
    assert plain.endswith("| +0.450, +0.650 | +0.000 [-0.050, +0.050] |")


def test_the_levels_say_what_they_do() -> None:
    names = [level.name for level in sweep.levels()]
    assert len(names) == len(set(names)) == 15
    blur = next(level for level in sweep.levels() if level.name == "blur 20 px")
    assert blur.blur_length == (20.0, 20.0) and blur.codec == "none"
