"""A run that was stopped, killed or broken goes on as if nothing had been."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from train_toys import (  # noqa: E402
    STEPS,
    identical,
    state_step,
    weights,
    write_pictures,
    write_recipe,
)

from acf_edge.errors import AcfError, InputError  # noqa: E402
from acf_edge.train.loop import Progress, TrainingStopped, train  # noqa: E402
from acf_edge.train.recipe import TrainRecipe, load_train_recipe  # noqa: E402
from acf_edge.train.state import uninterrupted  # noqa: E402


class Broken(Exception):
    """Stands for a process that ends anywhere."""


def at_step(step: int, do: Callable[[], None]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            do()

    return report


def fail(error: BaseException) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return write_pictures(folder / "data")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> TrainRecipe:
    return load_train_recipe(write_recipe(folder))


@pytest.fixture(scope="module")
def whole(folder: Path, data: Path, recipe: TrainRecipe) -> dict[str, Tensor]:
    """The weights of a run that nothing interrupted."""
    return weights(train(recipe, data, folder / "whole"))


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_that_broke_ends_with_the_same_weights(
    step: int, tmp_path: Path, data: Path, recipe: TrainRecipe, whole: dict[str, Tensor]
) -> None:
    # 3 is where a stage ends, the pictures are degraded anew and the loss changes.
    with pytest.raises(Broken):
        train(
            recipe,
            data,
            tmp_path,
            validate_every=1,
            checkpoint_seconds=0,
            on_progress=at_step(step, fail(Broken())),
        )
    assert state_step(tmp_path) == step
    assert not list(tmp_path.glob("*.safetensors"))
    assert identical(weights(train(recipe, data, tmp_path)), whole)


def test_what_was_not_saved_is_done_again(
    tmp_path: Path, data: Path, recipe: TrainRecipe, whole: dict[str, Tensor]
) -> None:
    with pytest.raises(Broken):
        train(recipe, data, tmp_path, validate_every=1, on_progress=at_step(4, fail(Broken())))
    assert state_step(tmp_path) == 0
    assert identical(weights(train(recipe, data, tmp_path)), whole)


KILLED = """
import multiprocessing, sys
from pathlib import Path
import torch
from acf_edge.train.loop import train
from acf_edge.train.recipe import load_train_recipe

if __name__ == "__main__":
    torch.set_num_threads(1)
    def tell(progress):
        print(progress.step, multiprocessing.active_children()[0].pid, flush=True)
        if progress.step == 4:
            sys.stdin.read()  # until it is killed
    recipe, data, out = sys.argv[1:]
    train(load_train_recipe(recipe), Path(data), Path(out), validate_every=1,
          checkpoint_seconds=0, on_progress=tell)
"""


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_killed_run_goes_on_and_leaves_no_process(
    tmp_path: Path, data: Path, recipe: TrainRecipe, whole: dict[str, Tensor]
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, str(script), str(write_recipe(tmp_path)), str(data), str(out)]
    helper = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            step, helper = (int(word) for word in line.split())
            if step == 4:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    assert state_step(out) == 4
    for _ in range(200):
        if not alive(helper):
            break
        time.sleep(0.05)
    assert not alive(helper)
    assert identical(weights(train(recipe, data, out)), whole)


def test_ctrl_c_saves_the_step_it_came_at(
    tmp_path: Path, data: Path, recipe: TrainRecipe, whole: dict[str, Tensor]
) -> None:
    with pytest.raises(TrainingStopped, match=f"step 5 of {STEPS}") as caught:
        train(
            recipe,
            data,
            tmp_path,
            validate_every=1,
            on_progress=at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    assert caught.value.exit_code == 130
    assert "goes on" in str(caught.value)
    assert state_step(tmp_path) == 5
    assert identical(weights(train(recipe, data, tmp_path)), whole)


def test_a_finished_run_is_not_trained_further(
    tmp_path: Path, data: Path, recipe: TrainRecipe, whole: dict[str, Tensor]
) -> None:
    first = train(recipe, data, tmp_path)
    first.unlink()
    reports: list[Progress] = []
    again = train(recipe, data, tmp_path, validate_every=1, on_progress=reports.append)
    assert reports == []
    assert identical(weights(again), whole)


def poisoned(
    real: Callable[..., Tensor], poison: Callable[[Tensor], Tensor]
) -> Callable[..., Tensor]:
    return lambda output, truth: real(output, truth) + poison(output)


@pytest.mark.parametrize(
    ("what", "poison"),
    [
        ("loss", lambda output: output.sum() * float("nan")),
        # Zero with a slope that is not a number: the loss looks well, the step would not be.
        ("gradient", lambda output: (output.sum() * 0.0).sqrt()),
    ],
)
def test_a_run_that_diverges_keeps_its_last_good_state(
    what: str,
    poison: Callable[[Tensor], Tensor],
    tmp_path: Path,
    data: Path,
    recipe: TrainRecipe,
    whole: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Only the second stage uses this loss: it begins with step 3.
    functional = torch.nn.functional
    with monkeypatch.context() as patch:
        patch.setattr(functional, "mse_loss", poisoned(functional.mse_loss, poison))
        with pytest.raises(AcfError, match=f"{what} became .* step 3") as caught:
            train(recipe, data, tmp_path, checkpoint_seconds=0)
    assert caught.value.exit_code == 1
    assert "rate" in caught.value.remedy
    assert state_step(tmp_path) == 3
    assert not list(tmp_path.glob("*.safetensors"))
    assert identical(weights(train(recipe, data, tmp_path)), whole)


def test_the_death_of_the_helper_is_one_line(
    tmp_path: Path, data: Path, recipe: TrainRecipe
) -> None:
    def kill_helper() -> None:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    with pytest.raises(AcfError, match="ended before its time"):
        train(
            recipe,
            data,
            tmp_path,
            validate_every=1,
            checkpoint_seconds=0,
            on_progress=at_step(1, kill_helper),
        )
    assert state_step(tmp_path) in (3, 6)


def save_part(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    state = torch.load(path, weights_only=True)
    torch.save(change(state), path)


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {k: v for k, v in state.items() if k != key}


def with_nan(state: dict[str, Any]) -> dict[str, Any]:
    next(iter(state["average"].values())).view(-1)[0] = float("nan")
    return state


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no state at all" * 50),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-3000]),
    "pickled code": lambda path: torch.save(Broken("run me"), path),
    "a list": lambda path: torch.save([1, 2], path),
    "no config": lambda path: save_part(path, without("config")),
    "no optimizer": lambda path: save_part(path, without("optimizer")),
    "no step": lambda path: save_part(path, without("step")),
    "step of a wrong type": lambda path: save_part(path, lambda s: {**s, "step": [1]}),
    "foreign weights": lambda path: save_part(path, lambda s: {**s, "network": s["heads"]}),
    "not finite": lambda path: save_part(path, with_nan),
}


@pytest.fixture(scope="module")
def good_state(folder: Path, data: Path, recipe: TrainRecipe) -> bytes:
    out = folder / "good"
    with pytest.raises(Broken):
        train(
            recipe,
            data,
            out,
            validate_every=1,
            checkpoint_seconds=0,
            on_progress=at_step(1, fail(Broken())),
        )
    return (out / "state.pth").read_bytes()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_is_one_line_and_left_alone(
    name: str, tmp_path: Path, data: Path, recipe: TrainRecipe, good_state: bytes
) -> None:
    path = tmp_path / "state.pth"
    path.write_bytes(good_state)
    DAMAGES[name](path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"state\.pth' is damaged") as caught:
        train(recipe, data, tmp_path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_state_of_another_network_is_refused(
    tmp_path: Path, data: Path, good_state: bytes
) -> None:
    (tmp_path / "state.pth").write_bytes(good_state)
    other = load_train_recipe(write_recipe(tmp_path, "scale = 4", "scale = 2"))
    with pytest.raises(InputError, match="another network"):
        train(other, data, tmp_path)


def test_a_state_past_the_recipes_end_is_refused(
    tmp_path: Path, data: Path, good_state: bytes
) -> None:
    path = tmp_path / "state.pth"
    path.write_bytes(good_state)
    save_part(path, lambda state: {**state, "step": STEPS + 1})
    with pytest.raises(InputError, match=f"step {STEPS + 1}, the recipe ends at {STEPS}"):
        train(load_train_recipe(write_recipe(tmp_path)), data, tmp_path)


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest of the block")
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_comes_out_and_the_handler_comes_back() -> None:
    with pytest.raises(Broken), uninterrupted():
        raise Broken
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_the_block_just_runs() -> None:
    done: list[bool] = []

    def body() -> None:
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done == [True]
