"""``acf-edge train``: from pictures to a checkpoint, and what stands in its way."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from train_toys import STEPS, state_step, write_pictures, write_recipe  # noqa: E402

from acf_edge.cli.main import main  # noqa: E402
from acf_edge.errors import InputError  # noqa: E402
from acf_edge.imaging.metrics import Quality  # noqa: E402
from acf_edge.imaging.resize import to_uint8, upscale_bicubic  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.model.checkpoint import load_checkpoint  # noqa: E402
from acf_edge.model.config import config_named  # noqa: E402
from acf_edge.model.network import AcfNetwork  # noqa: E402
from acf_edge.model.plain import build_network  # noqa: E402
from acf_edge.train.loop import (  # noqa: E402
    Progress,
    Validation,
    mean_quality,
    train,
    validate,
)
from acf_edge.train.recipe import load_train_recipe  # noqa: E402
from acf_edge.train.report import _verdict, row, show_progress  # noqa: E402

MEASURED = Validation(Quality(30.5, 0.9, 29.0, 0.88), Quality(29.25, 0.8, 28.0, 0.8))
REPORT = Progress(40, 100, "mild", 0.0123456789, 1e-3, 12.345, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def arguments(tmp_path: Path, data: Path, *more: str) -> list[str]:
    recipe = tmp_path / "toy.toml"
    if not recipe.exists():
        write_recipe(tmp_path)
    return ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "out"), *more]


def command(tmp_path: Path, data: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "acf_edge", *arguments(tmp_path, data, "--threads", "1", *more)]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_run_reports_and_ends_with_a_checkpoint(tmp_path: Path, data: Path) -> None:
    done = subprocess.run(
        command(tmp_path, data, "--json", "--validate-every", "3"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *reports, last = [json.loads(line) for line in done.stdout.splitlines()]
    measured = [report for report in reports if "psnr_y" in report]
    assert [report["step"] for report in measured] == [3, 6, STEPS]
    for report in measured:
        assert report["steps"] == STEPS
        assert 0.0 < report["loss"] < 1.0
        assert 10.0 < report["psnr_y"] < 60.0
        assert report["psnr_y"] > report["gain_psnr_y"]
    assert [report["stage"] for report in measured] == ["mild", "square", "square"]

    path = tmp_path / "out" / "acf-t-x4.safetensors"
    assert last == {"checkpoint": str(path)}
    assert leftovers(tmp_path / "out") == ["acf-t-x4.safetensors", "state.pth"]
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == config_named("acf-t", 4)
    provenance = checkpoint.provenance
    assert provenance["steps"] == STEPS
    assert provenance["seed"] == 3
    assert provenance["torch"] == torch.__version__
    assert provenance["recipe"]["stages"][0]["mix"] == [["acf-train", 0.8], ["clean", 0.2]]
    assert provenance["train_seconds"] >= 0


def test_ctrl_c_ends_with_130_and_the_way_to_go_on(tmp_path: Path, data: Path) -> None:
    write_recipe(tmp_path, "steps = 3", "steps = 100000")
    with subprocess.Popen(
        command(tmp_path, data, "--json", "--validate-every", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline())["step"] for _ in range(4)][-1]
        # As a terminal does it: to every process of the group, the helper too.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("acf-edge: interrupted: Stopped at step ")
    assert "goes on from there" in errors
    assert errors.count("\n") == 1, errors
    assert leftovers(tmp_path / "out") == ["state.pth"]
    stopped = state_step(tmp_path / "out")
    assert stopped >= seen
    assert f"Stopped at step {stopped} of 100004" in errors


def test_a_disk_without_room_is_told_before_the_first_step(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # A file that may not grow past half a megabyte stands for the disk: a state has three.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, limits[1]))
    try:
        code = main(arguments(tmp_path, data, "--json", "--validate-every", "1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert errors.startswith("acf-edge: error: ")
    assert "state.pth" in errors
    assert errors.count("\n") == 1, errors
    assert leftovers(tmp_path / "out") == []


def only(names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write_pictures(folder)
        for path in folder.iterdir():
            if not path.name.startswith(names):
                path.unlink()

    return make


def text_as_picture(folder: Path) -> None:
    write_pictures(folder)
    (folder / "b.png").write_text("no picture", encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "data"),
        (lambda folder: folder.mkdir(), "data"),
        (lambda folder: folder.write_text("a file"), "data"),
        (only("cid22v_"), "no training picture"),
        (only("a"), "no validation picture"),
        (text_as_picture, r"b\.png"),
    ],
    ids=["missing", "empty", "a file", "no training", "no validation", "text"],
)
def test_unusable_data_is_one_line(
    make: Callable[[Path], None],
    words: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / "data")
    assert main(arguments(tmp_path, tmp_path / "data")) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert errors.startswith("acf-edge: error: ")
    assert errors.count("\n") == 1
    assert re.search(words, errors)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_where_the_run_should_be_is_one_line(
    nested: bool, tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    out = tmp_path / "file" / "run" if nested else tmp_path / "file"
    call = ["train", str(write_recipe(tmp_path)), "--data", str(data), "--out", str(out)]
    assert main(call) == 2
    assert "file" in capfd.readouterr().err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_place_without_leave_to_write_is_told_first(tmp_path: Path, data: Path) -> None:
    # Not even root may make folders there.
    reports: list[Progress] = []
    recipe = load_train_recipe(write_recipe(tmp_path))
    with pytest.raises(InputError, match="/proc/self"):
        train(recipe, data, Path("/proc/self/run"), validate_every=1, on_progress=reports.append)
    assert reports == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--validate-every", "0"], "every 0 steps"),
        (["--threads", "-2"], "--threads -2"),
        (["--threads", "two"], "--threads"),
        (["--device", "tpu"], "--device"),
    ],
)
def test_options_that_cannot_be_are_one_line(
    more: list[str], words: str, tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, data, *more)) == 2
    errors = capfd.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_one_line(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, data, "--device", "cuda")) == 2
    assert "no CUDA device" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_compiling_without_a_compiler_is_one_line(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    recipe = load_train_recipe(write_recipe(tmp_path))
    with pytest.raises(InputError, match="no-such-compiler"):
        train(recipe, data, tmp_path / "out", compile_network=True)
    with pytest.raises(InputError, match="'tpu'"):
        train(recipe, data, tmp_path / "out", device="tpu")


def test_a_recipe_that_is_not_there_is_one_line(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call = ["train", "acf-x", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(call) == 2
    errors = capfd.readouterr().err
    assert "'acf-x'" in errors
    assert "acf-t-x4" in errors


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path, data: Path) -> None:
    torch.manual_seed(77)
    wanted = torch.rand(1)
    torch.manual_seed(77)
    recipe = load_train_recipe(write_recipe(tmp_path, "steps = 4", "steps = 1"))
    train(recipe, data, tmp_path / "out")
    assert torch.equal(torch.rand(1), wanted)


class Bicubic(AcfNetwork):
    """Bicubic up-sampling in the place of a network."""

    def forward(self, image: Tensor) -> Tensor:
        codes = to_uint8((image[0].permute(1, 2, 0) * 255.0).numpy())
        result: Tensor = torch.from_numpy(upscale_bicubic(codes, 4)).permute(2, 0, 1)[None] / 255.0
        return result


def test_bicubic_gains_nothing_over_bicubic() -> None:
    pictures = [dead_leaves(90, 120, 0), dead_leaves(130, 99, 1)]
    measured = validate(Bicubic(config_named("acf-t", 4)), pictures, "acf-std", side=64)
    assert measured.ours == measured.bicubic
    assert measured.gain == 0.0
    assert 12.0 < measured.ours.psnr_y < 45.0
    again = validate(Bicubic(config_named("acf-t", 4)), pictures, "acf-std", side=64)
    assert again.ours == measured.ours
    assert len(again.alive) == 3 and all(0.0 <= share <= 1.0 for share in again.alive)
    clean = validate(Bicubic(config_named("acf-t", 4)), pictures, "clean", side=64)
    assert clean.ours != measured.ours


def test_the_mean_is_the_mean_of_each_figure() -> None:
    rows = [Quality(30.0, 0.8, 28.0, 0.7), Quality(34.0, 0.9, 30.0, 0.9)]
    mean = mean_quality(rows)
    assert (mean.psnr_y, mean.psnr_rgb) == (32.0, 29.0)
    assert mean.ssim_y == pytest.approx(0.85)
    assert mean.ssim_rgb == pytest.approx(0.8)


def measured_report() -> Progress:
    return Progress(50, 100, "mild", 0.0123456789, 1e-3, 12.345, MEASURED)


def test_a_report_becomes_plain_figures() -> None:
    assert row(REPORT) == {
        "step": 40,
        "steps": 100,
        "stage": "mild",
        "loss": 0.012346,
        "rate": 0.001,
        "steps_per_second": 12.35,
    }
    assert row(measured_report())["gain_psnr_y"] == 1.25


def test_without_a_terminal_only_validations_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as tell:
        tell(REPORT)
        tell(measured_report())
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    assert "step 50/100" in errors
    assert "30.50 dB, +1.25 dB against bicubic" in errors


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    with show_progress() as tell:
        tell(REPORT)
        tell(measured_report())
    shown = terminal.getvalue()
    assert "50/100" in shown
    assert "loss 0.0123" in shown
    assert "+1.25 dB against bicubic" in shown


def test_a_branch_that_died_is_told(tmp_path: Path) -> None:
    network = build_network(config_named("acf-t", 4))
    with torch.no_grad():
        network.sharing.deblur.up.weight.zero_()
        network.sharing.deblur.up.bias.fill_(-1.0)
    measured = validate(network, [dead_leaves(96, 96, 0)], "acf-std")
    assert measured.alive[1] == 0.0 and measured.alive[0] > 0.0 and measured.alive[2] > 0.0
    told = _verdict(Progress(9, 10, "joint", 0.1, 1e-3, 5.0, measured))
    assert "nothing comes from the branch deblur" in told
