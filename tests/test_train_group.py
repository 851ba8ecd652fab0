"""Several processes train one network; weights from elsewhere; events for TensorBoard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from train_toys import STEPS, weights, write_pictures, write_recipe  # noqa: E402

from acf_edge.cli.main import main  # noqa: E402
from acf_edge.errors import InputError  # noqa: E402
from acf_edge.model.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from acf_edge.model.config import config_named  # noqa: E402
from acf_edge.model.plain import build_network  # noqa: E402
from acf_edge.train.data import Patches  # noqa: E402
from acf_edge.train.group import Group, join_group  # noqa: E402
from acf_edge.train.recipe import load_train_recipe  # noqa: E402
from acf_edge.train.state import Run  # noqa: E402
from acf_edge.train.step import gradients  # noqa: E402


def torchrun(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "acf_edge", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed")
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    data, recipe = write_pictures(tmp_path / "data"), write_recipe(tmp_path)
    common = [str(recipe), "--data", str(data), "--threads", "1"]
    alone = main(["train", *common, "--out", str(tmp_path / "one")])
    ran = torchrun(2, *common, "--out", str(tmp_path / "two"))
    assert alone == 0 and ran.returncode == 0, ran.stderr
    assert ran.stdout.count("checkpoint:") == 1
    one, two = (weights(tmp_path / name / "acf-t-x4.safetensors") for name in ("one", "two"))
    # The same patches; sums in another order, which Adam makes much of where gradients are tiny.
    begun = Run(load_train_recipe(recipe), torch.device("cpu")).network.state_dict()
    apart = sum(float((value - two[name]).abs().sum()) for name, value in one.items())
    moved = sum(float((value - begun[name]).abs().sum()) for name, value in one.items())
    assert apart < 0.2 * moved


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="batch of 8 cannot be shared by 3"):
        join_group("cpu", 8)


def test_another_scale_begins_with_what_fits(tmp_path: Path) -> None:
    recipe = load_train_recipe(write_recipe(tmp_path, "scale = 4", "scale = 2"))
    run = Run(recipe, torch.device("cpu"))
    given = build_network(config_named("acf-t", 4))
    run.begin_with(Checkpoint(given, {}, "ab"))
    assert run.origin["network"] == "acf-t-x4" and run.origin["sha256"] == "ab"
    assert 0 < run.origin["tensors"] < len(given.state_dict())
    own, theirs = run.network.state_dict(), given.state_dict()
    assert torch.equal(own["sharing.artefact.stem.weight"], theirs["sharing.artefact.stem.weight"])
    assert own["reconstruction.tail.weight"].shape != theirs["reconstruction.tail.weight"].shape
    assert torch.equal(
        run.average.state_dict()["junction.element.weight"], own["junction.element.weight"]
    )
    with pytest.raises(InputError, match="No weight of 'plain-s-x4' fits"):
        run.begin_with(Checkpoint(build_network(config_named("plain-s", 4)), {}, "ab"))


def test_the_weights_given_are_where_the_run_begins(tmp_path: Path) -> None:
    recipe, data = write_recipe(tmp_path), write_pictures(tmp_path / "data")
    common = ["train", str(recipe), "--data", str(data), "--threads", "1", "--out"]
    assert main([*common, str(tmp_path / "a")]) == 0
    finished = tmp_path / "a" / "acf-t-x4.safetensors"
    assert main([*common, str(tmp_path / "b"), "--start", str(finished)]) == 0
    a, b = weights(finished), weights(tmp_path / "b" / "acf-t-x4.safetensors")
    scratch = Run(load_train_recipe(recipe), torch.device("cpu")).network.state_dict()
    name = "sharing.artefact.blocks.0.expand.weight"
    assert (b[name] - a[name]).abs().mean() < (b[name] - scratch[name]).abs().mean()
    assert main([*common, str(tmp_path / "c"), "--start", str(tmp_path / "none")]) == 2
    origin = load_checkpoint(tmp_path / "b" / "acf-t-x4.safetensors").provenance["start"]
    assert origin["sha256"] == load_checkpoint(finished).sha256
    assert origin["tensors"] == len(a)
    # The same command goes on; other weights would make another run of it.
    assert main([*common, str(tmp_path / "b"), "--start", str(finished)]) == 0
    assert main([*common, str(tmp_path / "b"), "--start", "acf-t-x4"]) == 2


def test_a_recipe_names_the_weights_it_begins_with(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "seed = 3", 'seed = 3\nstart = "acf-t-x4"')
    data = write_pictures(tmp_path / "data")
    common = ["train", str(recipe), "--data", str(data), "--threads", "1", "--half", "--out"]
    assert main([*common, str(tmp_path / "run")]) == 0
    file = tmp_path / "run" / "acf-t-x4.safetensors"
    assert load_checkpoint(file).provenance["start"]["network"] == "acf-t-x4"
    with safe_open(file, framework="pt") as archive:
        name = "sharing.artefact.stem.weight"
        assert archive.get_tensor(name).dtype == torch.float16
    # A few steps on, it is still near the weights that it began with.
    assert (weights(file)[name] - weights(Path("acf-t-x4"))[name]).abs().mean() < 0.02


def test_processes_that_stand_at_different_steps_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = Group(0, 2, torch.device("cpu"))
    other = torch.tensor([5, -5])
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda mine, _: mine.copy_(torch.maximum(mine, other))
    )
    group.agree(5)
    with pytest.raises(InputError, match="steps 0 to 5"):
        group.agree(0)
    Group(0, 1, torch.device("cpu")).agree(7)  # alone there is nobody to ask


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_run_learns_the_same(tmp_path: Path) -> None:
    recipe, data = write_recipe(tmp_path), write_pictures(tmp_path / "data")
    common = ["train", str(recipe), "--data", str(data), "--threads", "1", "--out"]
    assert main([*common, str(tmp_path / "a")]) == 0
    assert main([*common, str(tmp_path / "b"), "--compile"]) == 0
    a, b = (weights(tmp_path / name / "acf-t-x4.safetensors") for name in "ab")
    begun = Run(load_train_recipe(recipe), torch.device("cpu")).network.state_dict()
    apart = sum(float((a[name] - b[name]).abs().sum()) for name in a)
    assert apart < 0.3 * sum(float((a[name] - begun[name]).abs().sum()) for name in a)


def test_events_for_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe, data = write_recipe(tmp_path), write_pictures(tmp_path / "data")
    out = tmp_path / "out"
    command = ["train", str(recipe), "--data", str(data), "--out", str(out), "--threads", "1"]
    assert main([*command, "--tensorboard", "--validate-every", "3"]) == 0
    log = events.EventAccumulator(str(out / "tensorboard"))
    log.Reload()
    assert [event.step for event in log.Scalars("validation/psnr_y")] == [3, 6, STEPS]
    assert {"train/loss", "train/rate", "validation/gain_psnr_y"} <= set(log.Tags()["scalars"])


def test_tensorboard_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    recipe, data = write_recipe(tmp_path), write_pictures(tmp_path / "data")
    command = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, "--tensorboard"]) == 2
    assert "pip install 'acf-edge[train]'" in capsys.readouterr().err


def test_a_run_of_several_processes_shares_a_batch_without_overlap(tmp_path: Path) -> None:
    from acf_edge.imaging.scenes import dead_leaves
    from acf_edge.train.data import degrade_chunk, draw_batch

    recipe = replace(load_train_recipe(write_recipe(tmp_path)), batch=6)
    pictures = [dead_leaves(96, 96, 0)]
    batch = draw_batch(pictures, degrade_chunk(pictures, recipe, 0), recipe, 0)
    parts = [batch.share(rank, 3) for rank in range(3)]
    assert [len(part.truth) for part in parts] == [2, 2, 2]
    again = torch.from_numpy(batch.truth)
    joined = torch.stack([torch.from_numpy(part.truth) for part in parts], dim=1).flatten(0, 1)
    assert torch.equal(joined, again)


def test_convolutions_see_bfloat16_in_channels_last(tmp_path: Path) -> None:
    recipe, data = load_train_recipe(write_recipe(tmp_path)), write_pictures(tmp_path / "data")
    run, group = Run(recipe, torch.device("cpu")), Group(0, 1, torch.device("cpu"))
    seen: list[torch.Tensor] = []
    run.network.reconstruction.entry.register_forward_hook(lambda *given: seen.append(given[2]))
    with Patches(data, recipe) as patches:
        gradients(run, run.network.run_padded, patches.batch(0), recipe.stages[0], 0.0, group)
    (output,) = seen
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert all(p.dtype == torch.float32 for p in run.network.parameters())
