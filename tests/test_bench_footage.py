"""The sheets of real footage and the sweep over degradations: what they show is what there is."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_network, write_checkpoint
from video_clips import Image, write_clip

from acf_edge.degrade import load_recipe
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource
from benchmarks import ablate, footage, sweep

RAMP = range(1, 10)


def grey_clip(path: Path) -> Path:
    """A frame of each grey of the ramp, ten in a second."""
    write_clip(path, [np.full((64, 64, 3), 20 * i, np.uint8) for i in RAMP], rate=10)
    return path


def test_the_crop_is_where_the_detail_is() -> None:
    picture = np.full((120, 200, 3), 90, np.uint8)
    picture[60:110, 130:180] = np.random.default_rng(0).integers(0, 256, (50, 50, 3))
    x, y = footage.busiest(picture, 48)
    assert abs(x - 131) < 6 and abs(y - 61) < 6
    assert footage.busiest(picture[:20, :20], 20) == (0, 0)


def test_a_clip_and_a_pair_on_one_sheet(
    tmp_path: Path, bikes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sharp = dead_leaves(256, 320, 1)
    write_image(tmp_path / "sharp.png", sharp)
    write_image(tmp_path / "blurred.png", sharp // 2 + np.roll(sharp, 3, axis=1) // 2)
    out = tmp_path / "sheet.png"
    pair = ["--pair", str(tmp_path / "blurred.png"), str(tmp_path / "sharp.png")]
    assert footage.main([str(bikes), *pair, "--out", str(out)]) == 0
    rows, columns = 2, 5
    high = footage.PANEL + 32
    assert read_image(out).shape == (rows * high + 8, columns * (footage.PANEL + 8) + 8, 3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["bicubic", "acf-t-x4 int8"]
    assert all(20 < float(line.split(": ")[1].removesuffix(" dB (Y)")) < 50 for line in lines)


def test_the_pair_is_judged_against_its_truth(tmp_path: Path) -> None:
    sharp = dead_leaves(128, 128, 2)
    write_image(tmp_path / "sharp.png", sharp)
    pair = (tmp_path / "sharp.png", tmp_path / "sharp.png")
    panels, figures = footage.pair_row(*pair, BicubicEngine(4))
    words = [title.split(", ")[-1] for title, _ in panels if title.endswith("dB")]
    assert words == [f"{psnr_y:.2f} dB" for _, psnr_y in figures]
    assert len(words) == 2 and words[0] == words[1]


@pytest.mark.parametrize("announced", [9, 40, None])
def test_the_middle_frame_whatever_the_container_announces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: int | None
) -> None:
    clip = grey_clip(tmp_path / "grey.mp4")
    monkeypatch.setattr(FileSource, "expected_frames", announced)
    assert abs(int(footage.frame_of(clip, None).mean()) - 20 * RAMP[4]) <= 4
    assert abs(int(footage.frame_of(clip, 0.2).mean()) - 20 * RAMP[2]) <= 4


def test_frames_that_are_not_wanted_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = grey_clip(tmp_path / "grey.mp4")
    alive: list[weakref.ref[Image]] = []
    most = 0
    read = FileSource.items

    def watched(source: FileSource) -> Iterator[object]:
        nonlocal most
        for item in read(source):
            if isinstance(item, Frame):
                alive.append(weakref.ref(item.pixels))
                most = max(most, sum(one() is not None for one in alive))
            yield item

    monkeypatch.setattr(FileSource, "items", watched)
    monkeypatch.setattr(FileSource, "expected_frames", None)
    footage.frame_of(clip, None)
    assert len(alive) > len(RAMP) and most <= 4


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


def test_a_picture_equal_to_its_truth_does_not_spoil_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "Mixed" / "0.png", dead_leaves(96, 96, 0))
    write_image(tmp_path / "Mixed" / "flat.png", np.full((96, 96, 3), 128, np.uint8))
    write_image(tmp_path / "Flat" / "flat.png", np.full((96, 96, 3), 128, np.uint8))
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", small_network())
    monkeypatch.setattr(sweep, "levels", lambda: [load_recipe("clean")])
    out, page = tmp_path / "sweep.json", tmp_path / "sweep.md"
    found = {}
    for name in ("Mixed", "Flat"):
        command = ["--data", str(tmp_path), "--set", name, "--json", str(out), "--table", str(page)]
        assert sweep.main([*command, "--network", f"one={checkpoint}"]) == 0
        report = json.loads(out.read_text())
        (found[name],) = report["cells"]
        assert report["command"].startswith("python -m benchmarks.sweep --data DATA --set")
    mixed, flat = found["Mixed"], found["Flat"]
    assert mixed["left_out"] == ["Mixed/flat.png"] and mixed["pictures"] == 2
    assert 10 < mixed["bicubic_psnr_y"] < 60
    gain = mixed["psnr_y"] - mixed["bicubic_psnr_y"]
    assert mixed["gain_psnr_y"] == pytest.approx(gain, abs=2e-4)
    # Bicubic is perfect here, the network is not: infinite, and JSON has no infinity.
    assert mixed["worst"] == "Mixed/flat.png" and mixed["worst_gain_psnr_y"] is None
    assert flat["bicubic_psnr_y"] is None and flat["gain_psnr_y"] is None
    assert flat["psnr_y"] > 20


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
