"""The benchmarks that judge training: variants one by one, branches muted, reports' heads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import small_config, small_network, write_checkpoint
from train_toys import write_pictures, write_recipe

from acf_edge.errors import InputError
from acf_edge.evaluate import evaluate_pairs
from acf_edge.imaging.files import write_image
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.checkpoint import save_checkpoint
from acf_edge.model.plain import build_network
from acf_edge.model.runner import TorchEngine
from acf_edge.train.loop import validate
from acf_edge.train.recipe import TrainRecipe
from benchmarks import ablate, mute
from benchmarks.report import report_head


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is trained; the networks are random ones of the recipe's seed."""
    trained: list[str] = []

    def train(recipe: TrainRecipe, data: Path, out: Path, **_: object) -> Path:
        trained.append(f"{recipe.name} {recipe.seed}")
        torch.manual_seed(recipe.seed)
        path = out / f"{recipe.config.title}.safetensors"
        out.mkdir(parents=True)
        save_checkpoint(path, build_network(recipe.config), {"recipe": recipe.to_json()})
        return path

    monkeypatch.setattr(ablate, "train", train)
    write_pictures(tmp_path / "photos")
    write_recipe(tmp_path)
    return trained


def command(folder: Path, *words: str) -> int:
    names = {"--data": "photos", "--out": "runs", "--recipe": "toy.toml", "--results": "rows.json"}
    paths = [f"{option}={folder / name}" for option, name in names.items()]
    return ablate.main([*paths, "--variants", "acf", "plain", "--seeds", "1", *words])


def results(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / "rows.json").read_text())
    return table


def test_what_is_trained_is_not_trained_again(tmp_path: Path, runs: list[str]) -> None:
    assert command(tmp_path) == 0
    assert runs == ["toy-acf 1", "toy-plain 1"]
    assert command(tmp_path, "--seeds", "1", "2", "--table", str(tmp_path / "a.md")) == 0
    assert runs[2:] == ["toy-acf 2", "toy-plain 2"]
    report = results(tmp_path)
    assert [(row["variant"], row["seed"]) for row in report["rows"]] == [
        (name, seed) for seed in (1, 2) for name in ("acf", "plain")
    ]
    assert "--data=DATA" in report["command"] and "photos" not in report["command"]
    assert (tmp_path / "a.md").read_text().count("\n| ") == 2


def test_measuring_again_trains_nothing(tmp_path: Path, runs: list[str]) -> None:
    assert command(tmp_path) == 0
    first = results(tmp_path)["rows"]
    assert first[0]["gain_db"] != first[1]["gain_db"]
    spoilt = results(tmp_path)
    # As a file from before these settings were written down.
    del spoilt["recipe"]["soft"], spoilt["recipe"]["stages"][0]["guard"]
    for row in spoilt["rows"]:
        row["gain_db"] = {"acf-std": 99.0}
    (tmp_path / "rows.json").write_text(json.dumps(spoilt))
    assert command(tmp_path, "--measure") == 0
    assert results(tmp_path)["rows"] == first
    assert len(runs) == 2


def test_a_row_is_measured_on_its_own_checkpoint(
    tmp_path: Path, runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "--measure") == 2
    assert "no rows yet" in capsys.readouterr().err
    assert command(tmp_path) == 0
    acf = tmp_path / "runs" / "acf-1" / "acf-t-x4.safetensors"
    write_checkpoint(acf, build_network(small_config()))
    assert command(tmp_path, "--measure") == 2
    assert "was not trained with the recipe of this row" in capsys.readouterr().err
    acf.unlink()
    assert command(tmp_path, "--measure") == 2
    assert "There is no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [("rate = 1e-3", "rate = 2e-3", "rate"), ("steps = 4", "steps = 5", "stages")],
)
def test_rows_of_another_recipe_are_refused(
    tmp_path: Path,
    runs: list[str],
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    word: str,
) -> None:
    assert command(tmp_path) == 0
    before = (tmp_path / "rows.json").read_bytes()
    # What a recipe says of itself makes no other recipe.
    write_recipe(tmp_path, 'network = "acf-t"', 'description = "Short."\nnetwork = "acf-t"')
    assert command(tmp_path) == 0
    write_recipe(tmp_path, old, new)
    capsys.readouterr()
    for words in ([], ["--seeds", "2"], ["--measure"]):
        assert command(tmp_path, *words) == 2
        error = capsys.readouterr().err
        assert f"'{word}' differs" in error and "--results" in error
        assert error.count("\n") == 1
    assert len(runs) == 2
    assert json.loads(before)["rows"] == results(tmp_path)["rows"]


@pytest.mark.parametrize("content", ["", "[]", '{"rows": []}', '{"recipe": 1, "rows": [1]}'])
def test_a_file_of_no_results_is_refused(
    tmp_path: Path, runs: list[str], capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "rows.json").write_text(content)
    assert command(tmp_path) == 2
    assert "holds no results" in capsys.readouterr().err
    assert (tmp_path / "rows.json").read_text() == content and not runs


def test_no_pictures_to_ablate_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "runs")]
    assert ablate.main([*words, "--results", str(tmp_path / "rows.json")]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_mean_is_the_trainers_and_the_worst_is_one_of_its_pictures(tmp_path: Path) -> None:
    pictures = [dead_leaves(112, 136, seed) for seed in range(3)]
    path = write_checkpoint(tmp_path / "net.safetensors", small_network(seed=3))
    engine = TorchEngine(path)
    found = evaluate_pairs(engine, ablate.crops(pictures, "clean", 4, side=64))
    each = [image.gain_psnr_y for image in found.images]
    assert {(image.width, image.height) for image in found.images} == {(64, 64)}
    wanted = validate(small_network(seed=3), pictures, "clean", side=64).gain
    assert mean(each) == pytest.approx(wanted, abs=1e-9)
    assert found.gain_psnr_y == pytest.approx(wanted, abs=1e-9)
    row = ablate.measure(path, pictures)
    assert row["clean"] == round(validate(small_network(seed=3), pictures, "clean").gain, 4)
    assert row["clean-worst"] < row["clean"]


def test_muting_a_branch_that_says_nothing_costs_nothing() -> None:
    network = small_network(seed=1)
    silent = network.sharing.artefact.state_dict()
    for name, tensor in silent.items():
        if name.startswith("stem.") or ".project." in name:
            tensor.zero_()
    pictures = [dead_leaves(96, 96, seed) for seed in range(2)]
    rows = {row.muted: row.gain for row in mute.measure(network, pictures, side=64)}
    assert list(rows) == ["none", *mute.BRANCHES, "float16"]
    assert rows["artefact"] == rows["none"]
    for branch in ("deblur", "structure"):
        assert all(abs(rows[branch][name] - rows["none"][name]) > 1e-4 for name in mute.RECIPES)
    assert rows["deblur"] != rows["structure"]
    assert rows["float16"] == pytest.approx(rows["none"], abs=0.01)
    # The network is as it was.
    assert next(iter(mute.measure(network, pictures, side=64))).gain == rows["none"]


def test_muted_features_are_zero_for_the_junction_alone() -> None:
    network = small_network(seed=1)
    image = torch.from_numpy(dead_leaves(32, 32, 0)).permute(2, 0, 1)[None] / 255.0
    seen: list[torch.Tensor] = []
    with torch.no_grad(), mute.muted(network, "deblur"):
        network.junction.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        _, branches = network.run_padded(network.pad(image))
    width = network.config.branch
    assert torch.count_nonzero(seen[0][:, width : 2 * width]) == 0
    assert torch.equal(seen[0][:, :width], branches[0])
    assert torch.equal(seen[0][:, 2 * width :], branches[2])
    assert torch.count_nonzero(branches[1]) > 0


def test_float16_rounds_what_a_checkpoint_stores() -> None:
    network = small_network()
    copy = mute.rounded(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(copy.state_dict()[name], tensor.half().float())
    assert torch.equal(copy.anchor.weight, network.anchor.weight)
    assert not torch.equal(copy.reconstruction.tail.weight, network.reconstruction.tail.weight)


def test_the_command_that_mutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", small_network())
    write_image(tmp_path / "photos" / "cid22v_a.png", dead_leaves(256, 256, 1))
    out = tmp_path / "mute.json"
    data = ["--data", str(tmp_path / "photos")]
    assert mute.main([str(checkpoint), *data, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert [row["muted"] for row in report["rows"]] == ["none", *mute.BRANCHES, "float16"]
    assert list(report["rows"][0]["gain_psnr_y"]) == list(mute.RECIPES)
    assert report["command"].endswith("--data DATA --json " + str(out))
    assert report["network"] == "acf-small-x4" and report["pictures"] == 1
    shown = capsys.readouterr().out
    assert "structure" in shown and "compress-only" in shown


@pytest.mark.parametrize(
    ("name", "words"), [("plain", "no branches"), ("missing", "no checkpoint"), ("acf", "photos")]
)
def test_what_cannot_be_muted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    write_checkpoint(tmp_path / "acf.safetensors", small_network())
    plain = build_network(replace(small_config(), voting="plain"))
    write_checkpoint(tmp_path / "plain.safetensors", plain)
    checkpoint = str(tmp_path / f"{name}.safetensors")
    out = tmp_path / "mute.json"
    assert mute.main([checkpoint, "--data", str(tmp_path / "photos"), "--json", str(out)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not out.exists()


def test_a_shipped_network_is_known_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no branches"):
        mute.require_branches(build_network(replace(small_config(), voting="plain")))
    write_image(tmp_path / "cid22v_a.png", np.full((64, 64, 3), 9, np.uint8))
    # The name is found; only then the pictures turn out to be too small.
    assert mute.main(["acf-t-x4", "--data", str(tmp_path)]) == 2


def test_a_report_does_not_tell_where_the_data_lies() -> None:
    head = report_head("quality", ["--data", "/disk/sets", "--set", "my set", "--json", "q.json"])
    assert head["command"] == (
        "python -m benchmarks.quality --data DATA --set 'my set' --json q.json"
    )
    assert head["machine"]["cpu"] and head["versions"]["numpy"] and head["date"]
    assert report_head("x", ["--data=/a/b"])["command"] == "python -m benchmarks.x --data=DATA"
    # argparse takes a beginning for the whole.
    assert "/a/b" not in report_head("x", ["--dat", "/a/b"])["command"]
    assert report_head("x", ["--database", "z"])["command"].endswith("--database z")
