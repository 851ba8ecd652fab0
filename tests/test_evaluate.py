"""Evaluation: which pairs, which figures, which mean, and the verb around them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.cli.main import main
from acf_edge.degrade import Recipe
from acf_edge.errors import GateError, InputError
from acf_edge.evaluate import (
    BicubicBaseline,
    Evaluation,
    ImageResult,
    Pair,
    choose_engine,
    evaluate_pairs,
    pairs_from_recipe,
)
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.metrics import Quality, quality
from acf_edge.imaging.resize import resize_bicubic, to_uint8, upscale_bicubic

Uint8Image = npt.NDArray[np.uint8]
KEYS = {
    *("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"),
    *("bicubic_psnr_y", "bicubic_ssim_y", "bicubic_psnr_rgb", "bicubic_ssim_rgb"),
}


class Shifted:
    """Bicubic, brighter by a few code values: an engine whose loss is known."""

    name = "shifted"

    def __init__(self, scale: int = 2, by: int = 3) -> None:
        self.scale = scale
        self.by = by
        self.closed = False

    def run(self, frame: Uint8Image) -> Uint8Image:
        large = upscale_bicubic(frame, self.scale).astype(int) + self.by
        enhanced: Uint8Image = np.clip(large, 0, 255).astype(np.uint8)
        return enhanced

    def close(self) -> None:
        self.closed = True


def picture(height: int = 61, width: int = 50, seed: int = 0) -> Uint8Image:
    noise = np.random.default_rng(seed).random((height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)
    unit: npt.NDArray[np.float64] = (soft - soft.min()) / (soft.max() - soft.min())
    result: Uint8Image = (unit * 235 + 10).astype(np.uint8)
    return result


def small(image: Uint8Image, scale: int = 2) -> Uint8Image:
    return to_uint8(resize_bicubic(image, image.shape[0] // scale, image.shape[1] // scale))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for index, name in enumerate(("b.png", "a.png", "c.webp")):
        write_image(folder / name, picture(seed=index))
    return folder


def write_pair(tmp_path: Path, low: str, high: str, seed: int = 0) -> None:
    image = picture(60, 48, seed)
    write_image(tmp_path / "lr" / low, small(image))
    write_image(tmp_path / "hr" / high, image)


# --- figures ---


def test_figures_are_those_of_the_engine_and_of_bicubic(photos: Path) -> None:
    pairs = pairs_from_recipe(photos, "acf-std", 2)
    engine = Shifted()
    evaluation = evaluate_pairs(engine, pairs)
    assert (evaluation.engine, evaluation.recipe) == ("shifted", "acf-std")
    assert (evaluation.scale, evaluation.border) == (2, 2)
    for pair, result in zip(pairs, evaluation.images, strict=True):
        assert (result.name, result.width, result.height) == (pair.name, 50, 60)
        assert result.engine == quality(engine.run(pair.low), pair.high, 2)
        assert result.bicubic == quality(upscale_bicubic(pair.low, 2), pair.high, 2)
    assert not engine.closed


def test_the_border_can_be_chosen(photos: Path) -> None:
    pairs = pairs_from_recipe(photos, "acf-std", 2, limit=1)
    (pair,) = pairs
    evaluation = evaluate_pairs(BicubicBaseline(2), pairs, 7)
    assert evaluation.border == 7
    assert evaluation.images[0].engine == quality(upscale_bicubic(pair.low, 2), pair.high, 7)


def test_bicubic_gains_nothing_on_itself(photos: Path) -> None:
    evaluation = evaluate_pairs(BicubicBaseline(4), pairs_from_recipe(photos, "acf-std", 4))
    assert evaluation.gain_psnr_y == 0.0
    assert evaluation.mean == evaluation.mean_bicubic


def test_a_mean_is_the_mean_over_pictures(photos: Path) -> None:
    evaluation = evaluate_pairs(Shifted(), pairs_from_recipe(photos, "acf-std", 2))
    figures = [image.engine for image in evaluation.images]
    assert evaluation.mean.psnr_y == pytest.approx(np.mean([f.psnr_y for f in figures]))
    assert evaluation.mean.ssim_rgb == pytest.approx(np.mean([f.ssim_rgb for f in figures]))
    gains = [image.gain_psnr_y for image in evaluation.images]
    assert evaluation.gain_psnr_y == pytest.approx(np.mean(gains))
    assert evaluation.worst.gain_psnr_y == min(gains)


def test_a_clearly_worse_engine_has_a_negative_gain(photos: Path) -> None:
    pairs = pairs_from_recipe(photos, Recipe("clean"), 2)
    assert evaluate_pairs(Shifted(by=20), pairs).gain_psnr_y < -3.0


def test_a_picture_that_is_too_small_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "tiny.png", picture(16, 16))
    with pytest.raises(InputError, match=r"tiny\.png.*too small"):
        evaluate_pairs(BicubicBaseline(4), pairs_from_recipe(tmp_path, "acf-std", 4))
    write_image(tmp_path / "tiny.png", picture(3, 16))
    with pytest.raises(InputError, match=r"tiny\.png.*too small"):
        evaluate_pairs(BicubicBaseline(4), pairs_from_recipe(tmp_path, "acf-std", 4))


def test_pairs_of_another_scale_are_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="for x4"):
        evaluate_pairs(BicubicBaseline(4), pairs_from_recipe(photos, "acf-std", 2))


def test_no_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="no pairs"):
        evaluate_pairs(BicubicBaseline(4), [])


def result(name: str, ours: float, theirs: float) -> ImageResult:
    return ImageResult(
        name, 64, 48, Quality(ours, 0.9, ours - 1, 0.8), Quality(theirs, 0.7, theirs - 1, 0.6)
    )


def evaluation_of(*images: ImageResult) -> Evaluation:
    return Evaluation("e", None, 4, 4, images)


def test_perfect_pictures_stay_out_of_the_means() -> None:
    found = evaluation_of(result("a", 31.0, 30.0), result("b", math.inf, 40.0))
    assert found.mean.psnr_y == 31.0 and found.mean_bicubic.psnr_y == 30.0
    assert found.gain_psnr_y == pytest.approx(1.0)
    assert found.left_out == ("b",)
    assert found.mean.ssim_y == pytest.approx(0.9)


def test_a_perfect_baseline_is_the_worst_case_that_can_be() -> None:
    found = evaluation_of(result("a", 31.0, 30.0), result("black", 48.0, math.inf))
    assert found.worst.name == "black" and found.worst.gain_psnr_y == -math.inf
    assert found.gain_psnr_y == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "gain"),
    [(math.inf, math.inf, 0.0), (math.inf, 30.0, math.inf), (30.0, math.inf, -math.inf)],
)
def test_only_perfect_pictures_have_infinite_means(ours: float, theirs: float, gain: float) -> None:
    found = evaluation_of(result("a", ours, theirs))
    assert found.mean.psnr_y == ours and found.gain_psnr_y == gain
    assert found.left_out == ()


def test_json_has_null_for_what_is_infinite() -> None:
    found = json.loads(evaluation_of(result("a", math.inf, 30.0)).dumps())
    assert found["images"][0]["psnr_y"] is None
    assert found["images"][0]["bicubic_psnr_y"] == 30.0
    assert found["mean"]["gain_psnr_y"] is None and found["worst"]["gain_psnr_y"] is None


def test_json_has_every_figure(photos: Path) -> None:
    evaluation = evaluate_pairs(Shifted(), pairs_from_recipe(photos, "acf-std", 2))
    found = json.loads(evaluation.dumps())
    assert {"engine", "recipe", "scale", "border", "images", "mean"} <= set(found)
    assert all(set(image) == KEYS | {"name", "width", "height"} for image in found["images"])
    assert set(found["mean"]) == KEYS | {"gain_psnr_y"}
    assert found["images"][1]["psnr_y"] == evaluation.images[1].engine.psnr_y


def test_the_gate_opens_and_shuts() -> None:
    found = evaluation_of(result("a", 31.0, 30.0), result("b", 30.2, 30.0))
    found.require_gain(0.59)
    with pytest.raises(GateError, match=r"\+0\.600 dB.*\+0\.610 dB.*b with \+0\.200"):
        found.require_gain(0.61)
    with pytest.raises(InputError, match="no number"):
        found.require_gain(math.nan)


# --- saving ---


def test_enhanced_pictures_are_saved_losslessly(photos: Path, tmp_path: Path) -> None:
    pairs = pairs_from_recipe(photos, "acf-std", 2)
    evaluate_pairs(Shifted(), pairs, save=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    pair = list(pairs)[2]
    assert np.array_equal(read_image(tmp_path / "out" / "c.png"), Shifted().run(pair.low))


def test_saved_pictures_do_not_overwrite_each_other(tmp_path: Path) -> None:
    pairs = [Pair(name, small(picture(60, 48)), picture(60, 48)) for name in ("a.jpg", "a.png")]
    evaluate_pairs(Shifted(), pairs, save=tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_the_truth_is_never_overwritten(photos: Path) -> None:
    before = (photos / "a.png").read_bytes()
    with pytest.raises(InputError, match="overwrite"):
        evaluate_pairs(Shifted(), pairs_from_recipe(photos, "acf-std", 2), save=photos / "." / "")
    assert (photos / "a.png").read_bytes() == before


# --- engines ---


def test_only_one_engine_is_judged() -> None:
    with pytest.raises(InputError, match="one thing"):
        choose_engine(bundle="x.bundle", scale=4)


@pytest.mark.parametrize("scale", [0, 17])
def test_scales_have_bounds(scale: int) -> None:
    with pytest.raises(InputError, match=str(scale)):
        choose_engine(scale=scale)


def test_the_shipped_bundle_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(bundle: object) -> Shifted:
        asked.append(bundle)
        return Shifted()

    monkeypatch.setattr("acf_edge.evaluate.engines.load_engine", load)
    choose_engine()
    choose_engine(bundle="my.bundle")
    assert asked == [None, "my.bundle"]


def test_a_checkpoint_is_run_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = types.ModuleType("acf_edge.model.runner")
    runner.TorchEngine = lambda path: (path, "engine")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acf_edge.model.runner", runner)
    chosen: object = choose_engine(checkpoint="w.safetensors")
    assert chosen == ("w.safetensors", "engine")


def test_a_checkpoint_without_torch_names_the_extra(photos: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from acf_edge.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["evaluate", "--checkpoint", "w.safetensors", "--data", str(photos)]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "acf-edge[build]" in done.stderr and len(done.stderr.splitlines()) == 1


def test_nothing_here_imports_torch() -> None:
    script = (
        "import sys, acf_edge.evaluate, acf_edge.imaging, acf_edge.degrade.video\n"
        "import acf_edge.cli.evaluate\n"
        "print('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


# --- the verb ---


def test_verb_prints_json_and_nothing_else(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--scale", "2", "--data", str(photos), "--json", "-"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["recipe"] == "acf-std" and found["scale"] == 2 and len(found["images"]) == 3
    assert printed.err == ""


def test_verb_shows_a_table_and_writes_json(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, saved = tmp_path / "new" / "quality.json", tmp_path / "saved"
    arguments = ["--scale", "2", "--data", str(photos), "--recipe", "webcam", "--limit", "2"]
    more = ["--json", str(file), "--save", str(saved), "--border", "3"]
    assert main(["evaluate", *arguments, *more]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("a.png", "b.png", "mean of 2", "bicubic", "worst"))
    assert "c.webp" not in printed
    found = json.loads(file.read_text())
    assert (found["recipe"], found["border"]) == ("webcam", 3)
    assert len(list(saved.iterdir())) == 2


def test_verb_reads_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path, "ax2.png", "a.png")
    folders = ["--lr", str(tmp_path / "lr"), "--hr", str(tmp_path / "hr")]
    assert main(["evaluate", "--scale", "2", *folders, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"] is None and found["images"][0]["name"] == "a.png"


def test_verb_applies_the_gate_after_writing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "quality.json"
    arguments = ["evaluate", "--scale", "2", "--data", str(photos), "--json", str(file)]
    assert main([*arguments, "--min-gain", "-0.1"]) == 0
    file.unlink()
    assert main([*arguments, "--min-gain", "0.1"]) == 1
    assert json.loads(file.read_text())["mean"]["gain_psnr_y"] == 0.0
    assert "above bicubic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--data", "none"], "none"),
        (["--data", "photos", "--recipe", "nonesuch"], "nonesuch"),
        (["--data", "photos", "--limit", "0"], "limit of 0"),
        (["--data", "photos", "--border", "-1"], "border of -1"),
        (["--data", "photos", "--border", "40"], "too small"),
        (["--data", "photos", "--save", "photos/a.png/x"], "a.png"),
        (["--data", "photos", "--json", "photos/a.png/x.json"], "a.png"),
        (["--lr", "photos"], "Only one"),
        ([], "nothing to evaluate"),
    ],
)
def test_verb_refuses_bad_input_in_one_line(
    arguments: list[str],
    word: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos.parent)
    assert main(["evaluate", "--scale", "2", *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error and len(error.splitlines()) == 1


def test_verb_names_a_truncated_picture(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(data[: len(data) // 2])
    assert main(["evaluate", "--scale", "2", "--data", str(photos)]) == 2
    assert "b.png' is a truncated PNG" in capsys.readouterr().err
