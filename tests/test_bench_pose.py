"""The pose benchmark's command, from photos to report, tables and sheet."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pose_people import SPOTS, FakeModel, Rooms, coco, load_rooms, person

from acf_edge.errors import InputError
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.scenes import dead_leaves

PEOPLE = 3


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    return load_rooms(monkeypatch)


@pytest.fixture
def data(tmp_path: Path, rooms: Rooms) -> Path:
    """Three annotated photos and one that is not."""
    folder = tmp_path / "pose"
    images, people = [], []
    for index in range(PEOPLE + 1):
        photo = np.ascontiguousarray(dead_leaves(200, 160, seed=index))
        write_image(folder / "images" / f"{index}.png", photo)
        if index < PEOPLE:
            points = [[x * 160 - 0.5, y * 200 - 0.5, 2] for x, y in SPOTS]
            images.append({"id": index, "file_name": f"{index}.png", "width": 160, "height": 200})
            # The margin reaches to all edges, so that the crop is the photo.
            people.append(person(index, points, [5, 5, 150, 190 - index], area=9000))
    annotations = folder / "annotations"
    annotations.mkdir()
    text = coco(list(rooms.data.JOINTS), images, people)
    (annotations / "coco_keypoints_gt.json").write_text(text)
    return folder


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    pytest.importorskip("onnx")
    toys = importlib.import_module("toy_bundles")
    return [toys.write_toy(tmp_path / f"toy-{name}").path for name in "ab"]


# The command.


def run(rooms: Rooms, data: Path, *words: object, model: Any = None) -> int:
    argv = ["--data", str(data), "--threads", "1", "--draws", "1", *map(str, words)]
    code: int = rooms.command.main(argv, FakeModel() if model is None else model)
    return code


def test_the_whole_command(
    rooms: Rooms,
    data: Path,
    bundles: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {word: tmp_path / f"out.{word}" for word in ("json", "md", "png")}
    words: list[object] = ["--json", files["json"], "--table", files["md"], "--sheet", files["png"]]
    words += ["--recipe", "clean", "--recipe", "harsh", "--height", 40, "--height", 60]
    assert run(rooms, data.parent, *words, "--engine", bundles[0], "--engine", bundles[1]) == 0
    report = json.loads(files["json"].read_text())
    assert datetime.fromisoformat(report["date"]).tzinfo is not None
    assert report["machine"]["cpu"] and report["versions"]["onnxruntime"]
    names = ["toy-x2 fp32 toy-a", "toy-x2 fp32 toy-b"]
    assert [engine["name"] for engine in report["engines"]] == names
    assert (report["scale"], report["heights"], report["draws"]) == (2, [60, 40], 1)
    assert [one["ruler"] for one in report["persons"]] == ["torso"] * PEOPLE + [None]
    # Of four people, everybody is large enough for both sizes.
    assert len(report["samples"]) == 2 * 2 * (PEOPLE + 1)
    for sample in report["samples"]:
        assert list(sample["scores"]) == ["original", "low", "bicubic", *names]
        annotated = not sample["person"].startswith(f"{PEOPLE}.png")
        full = [1, 1, 1, 1, 1] if annotated else [1, None, None, None, 1]
        none = [0, 0, 0, 0, 0] if annotated else [0, None, None, None, 0]
        assert [round(x, 1) if x is not None else x for x in sample["scores"]["bicubic"]] == full
        assert sample["scores"]["low"] == none
    cells = {(c["measure"], c["recipe"], c["height"]): c for c in report["cells"]}
    assert cells["pck", "harsh", 40]["persons"] == PEOPLE
    assert cells["agreement", "all", "all"]["persons"] == PEOPLE + 1
    differences = {(d["of"], d["against"]): d for d in cells["pck", "all", "all"]["differences"]}
    assert differences[names[0], "bicubic"]["verdict"] == "within noise"
    assert differences[names[0], "low"] == {
        "of": names[0],
        "against": "low",
        "mean": 1.0,
        "low": 1.0,
        "high": 1.0,
        "verdict": "better",
    }
    assert differences[names[1], names[0]]["mean"] == 0  # each engine against the first
    out = capsys.readouterr().out
    assert "of 4 settings 0 better, 0 worse, 4 within noise" in out
    for against in ("bicubic", "low", names[0]):
        assert f"pck, {names[1]} against {against}: " in out
    assert "| harsh | 40 | 3 | 100.0 | 0.0 | 100.0 |" in files["md"].read_text()
    sheet = read_image(files["png"])
    assert sheet.shape[1] == 5 * (rooms.sheet.TILE + 6)  # original, low, bicubic, two engines
    assert sheet.shape[0] > PEOPLE * rooms.sheet.TILE


def test_a_second_run_gives_the_same_samples(
    rooms: Rooms, data: Path, bundles: list[Path], tmp_path: Path
) -> None:
    samples = []
    for name in ("a.json", "b.json"):
        words = ["--engine", bundles[0], "--recipe", "camera", "--height", 40]
        assert run(rooms, data, *words, "--json", tmp_path / name) == 0
        report = json.loads((tmp_path / name).read_text())
        samples.append((report["samples"], report["cells"]))
    assert samples[0] == samples[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--engine", "/no/such/bundle"], "/no/such/bundle"),
        (["--recipe", "no-such-recipe"], "no-such-recipe"),
        (["--height", "4"], "4 pixels"),
        (["--height", "900"], "Nobody"),
        (["--draws", "0"], "0 draws"),
        (["--sheet-of", "clean:17"], "clean:17"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_report(
    rooms: Rooms,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    named: str,
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run(rooms, data, *words, "--json", tmp_path / "pose.json") == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_no_photos(rooms: Rooms, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(rooms, tmp_path / "nothing") == 2
    error = capsys.readouterr().err
    assert "nothing" in error and "--data" in error and error.count("\n") == 1


@pytest.mark.parametrize("module", [None, SimpleNamespace(__version__="9.9")])
def test_a_missing_mediapipe_and_one_without_the_model_name_the_extra(
    rooms: Rooms,
    data: Path,
    module: ModuleType | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", module)  # None: importing it fails
    assert rooms.command.main(["--data", str(data)]) == 2
    error = capsys.readouterr().err
    assert "mediapipe" in error and "pip install 'acf-edge[pose]'" in error
    assert error.count("\n") == 1


def test_engines_that_cannot_be_told_apart_or_compared(rooms: Rooms, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    toys = importlib.import_module("toy_bundles")
    one = toys.write_toy(tmp_path / "one")
    other = toys.write_toy(tmp_path / "other", scale=4, network="bigger")
    assert rooms.command.name_engines([one]) == ["toy-x2 fp32"]
    with pytest.raises(InputError, match="scale"):
        rooms.command.name_engines([one, other])
    with pytest.raises(InputError, match="Two engines"):
        rooms.command.name_engines([one, one])


# MediaPipe itself, where it is installed.


def test_mediapipe_finds_the_astronaut_and_nobody_in_grey(rooms: Rooms) -> None:
    pytest.importorskip("mediapipe")
    picture = pytest.importorskip("skimage.data").astronaut()
    model = rooms.model.MediaPipePose()
    pose = model.find(picture)
    assert pose is not None and pose.shape == (17, 3)
    at = dict(zip(rooms.data.JOINTS, pose, strict=True))
    # Her nose; and her left side is on the right of the picture.
    assert at["nose"][:2] == pytest.approx([220, 130], abs=25)
    assert at["left_shoulder"][0] > at["nose"][0] > at["right_shoulder"][0]
    assert model.find(np.full((200, 150, 3), 128, np.uint8)) is None
    assert np.array_equal(model.find(picture), pose)  # no memory between pictures
    model.close()
