"""The quality benchmark: the bundle beside its float network, set by set and together."""

from __future__ import annotations

import importlib
import json
import math
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from toy_bundles import network, toy_ledger, toy_passport

from acf_edge.engine import Bundle, write_bundle
from acf_edge.imaging.files import write_image
from acf_edge.imaging.scenes import dead_leaves

ROOT = Path(__file__).resolve().parents[1]
COUNTS = {"Set5": 2, "B100": 3}


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not (ROOT / "benchmarks" / "quality.py").is_file():
        pytest.skip("the benchmarks do not travel with the installed package")
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.quality")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("quality") / "toy.bundle"
    files: dict[str, bytes | Path] = {
        "model.onnx": network(quantize=True),
        "network.onnx": network(),
    }
    return write_bundle(folder, files, toy_passport(precision="int8"), toy_ledger())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, count in COUNTS.items():
        for index in range(count):
            # One picture is grey, as in Set14.
            picture = dead_leaves(48, 64, seed=index)
            if index == 0:
                picture = np.repeat(picture[:, :, :1], 3, axis=2)
            write_image(root / "bench" / name / f"{index}.png", np.ascontiguousarray(picture))
    return root


def run(quality: ModuleType, *words: object) -> int:
    code: int = quality.main([*map(str, words), "--threads", "1"])
    return code


def test_means_drops_and_the_worst_follow_from_the_pictures(
    quality: ModuleType,
    bundle: Bundle,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "quality.json"
    words = ["--data", data, "--bundle", bundle.path, "--set", "Set5", "--set", "B100"]
    words += ["--recipe", "acf-std", "--recipe", "camera", "--json", file]
    assert run(quality, *words) == 0
    report: dict[str, Any] = json.loads(file.read_text())
    assert datetime.fromisoformat(report["date"]).tzinfo is not None
    assert report["machine"]["cpu"] and report["versions"]["onnxruntime"]
    assert report["bundle"]["digest"] == bundle.passport.to_json()["digest"]
    assert [(row["recipe"], row["set"], row["pictures"]) for row in report["sets"]] == [
        (recipe, name, count)
        for recipe in ("acf-std", "camera")
        for name, count in (("Set5", 2), ("B100", 3), ("all", 5))
    ]
    for row in report["sets"]:
        gains = [one["psnr_y"] - one["bicubic_psnr_y"] for one in row["bundle"]["images"]]
        assert row["bundle"]["mean"]["gain_psnr_y"] == pytest.approx(math.fsum(gains) / len(gains))
        assert row["bundle"]["worst"]["gain_psnr_y"] == pytest.approx(min(gains))
        means = [row[part]["mean"]["psnr_y"] for part in ("float", "bundle")]
        assert row["drop_psnr_y"] == pytest.approx(means[0] - means[1])
        # Both engines saw the same pictures: bicubic made the same of them.
        assert [one["bicubic_psnr_y"] for one in row["float"]["images"]] == [
            one["bicubic_psnr_y"] for one in row["bundle"]["images"]
        ]
    together = report["sets"][2]["bundle"]["images"]
    assert [one["name"] for one in together] == [
        f"{name}/{index}.png" for name, count in COUNTS.items() for index in range(count)
    ]
    table = capsys.readouterr().out
    assert "acf-std" in table and "B100" in table and "worst of all" in table


def test_the_recipe_makes_the_same_pictures_again(
    quality: ModuleType, bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    words = ["--data", data / "bench", "--bundle", bundle.path, "--set", "Set5", "--json"]
    reports = []
    for name in ("a.json", "b.json"):
        assert run(quality, *words, tmp_path / name) == 0
        reports.append(json.loads((tmp_path / name).read_text()))
    assert reports[0]["sets"] == reports[1]["sets"]
    assert len(reports[0]["sets"]) == 1  # one set needs no line for all


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--set", "Urban100"], "Urban100"),
        (["--set", "Set5", "--recipe", "no-such-recipe"], "no-such-recipe"),
        (["--set", "Set5", "--bundle", "/no/such/bundle"], "/no/such/bundle"),
    ],
)
def test_bad_input_leaves_no_report(
    quality: ModuleType,
    bundle: Bundle,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    named: str,
) -> None:
    file = tmp_path / "quality.json"
    code = run(quality, "--data", data, "--bundle", bundle.path, *words, "--json", file)
    assert code == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
