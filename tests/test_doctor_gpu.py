"""The doctor on GPUs: the truth about what is there, whatever is broken, and about each target."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_cuda
import fake_tensorrt
import pytest
from handover_bundles import write_library
from rich.console import Console
from toy_bundles import write_toy

import acf_edge.engine.load as load
import acf_edge.profile.doctor as doctor
from acf_edge.cli import doctor as verb
from acf_edge.cuda import kernel_hash
from acf_edge.engine.trt.plugin_library import find_libraries
from acf_edge.errors import InputError
from acf_edge.profile import clocks, doctor_gpu, gpu_probe
from acf_edge.profile.doctor_gpu import Answer, GpuState, ask, gpu_rows
from acf_edge.profile.doctor_target import examine_target, target_table

ORIN = {
    "ordinal": 0,
    "name": "Orin",
    "sm": "87",
    "integrated": True,
    "memory": 8 << 30,
    "free": 5 << 30,
    "driver": "12.6",
}
CARD = {**ORIN, "name": "RTX 4060", "sm": "89", "integrated": False, "driver": "13.0"}
ABSENT = Answer(None, "It is not installed.", "pip install 'acf-edge[rtx]'")
BOTH = {"JunctionVote": "python", "ChannelSpatialAttention": "python"}


def nvrtc(version: str = "12.6", sms: tuple[str, ...] = ("75", "87", "89")) -> Answer:
    return Answer({"version": version, "sms": list(sms), "headers": "/usr/include"})


def library(text: str, plugins: object = None) -> Answer:
    return Answer({"version": "10.3.0", "text": text, "plugins": plugins})


def state(*devices: Mapping[str, Any], **changes: Any) -> GpuState:
    none = Answer(None, "No NVIDIA driver was found.", "Install the driver.")
    fields: dict[str, Any] = {
        "present": bool(devices),
        "cuda": Answer({"devices": list(devices)}) if devices else none,
        "nvrtc": nvrtc(),
        "tensorrt": library("TensorRT 10.3.0", BOTH),
        "tensorrt_rtx": ABSENT,
        "driver": None,
        "l4t": None,
        "clocks": (),
        "cached": False,
        "libraries": (),
    }
    return GpuState(**{**fields, **changes})


def row(found: GpuState, word: str) -> tuple[str, str]:
    return next((detail, remedy) for what, detail, remedy in gpu_rows(found) if word in what)


def test_the_probes_tell_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = fake_cuda.Machine(sm="87", integrated=True)
    with fake_cuda.installed(machine):
        (device,) = gpu_probe.answer("cuda")["devices"]
    assert (device["sm"], device["integrated"], device["ordinal"]) == ("87", True, 0)
    assert 0 < device["free"] <= device["memory"]
    module = fake_tensorrt.make("10.3.0", fake_tensorrt.World(sm="87"))
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", module)
    facts = gpu_probe.answer("tensorrt")
    assert facts["text"] == "TensorRT 10.3.0" and facts["plugins"] == BOTH
    assert json.loads(json.dumps(facts)) == facts


def test_a_driver_without_a_gpu() -> None:
    with fake_cuda.installed(fake_cuda.Machine(devices=0)):
        told = gpu_probe.answer("cuda")
    assert "CUDA_ERROR_NO_DEVICE" in told["problem"] and "--gpus all" in told["remedy"]


def test_a_lost_gpu_is_told() -> None:
    machine = fake_cuda.Machine(sm="87")
    machine.fail("cuDevicePrimaryCtxRetain", "CUDA_ERROR_ECC_UNCORRECTABLE")
    with fake_cuda.installed(machine):
        assert "ECC_UNCORRECTABLE" in gpu_probe.answer("cuda")["problem"]


BROKEN = {
    "raises": ("raise RuntimeError('half of it is missing')", "half of it is missing"),
    "dies": ("import os; print('{not json'); os.abort()", "SIGABRT"),
    "leaves": ("raise SystemExit(3)", "exit code 3"),
    "hangs": ("import time; time.sleep(60)", "did not end"),
    "babbles": ("print('hello'); import os; os.write(1, b'\\xff\\n')", "cannot be loaded"),
    "old": ("__version__ = '8.5.2'\nclass Builder: pass", ""),
}


@pytest.mark.parametrize("way", BROKEN)
def test_broken_bindings_do_no_harm(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = BROKEN[way]
    for name in ("tensorrt", "tensorrt_bindings"):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = os.environ["PYTHONPATH"]
    # Ours comes first in the path of the process that is started, theirs second: both are found.
    found = ask("tensorrt", timeout=1.0 if way == "hangs" else 60.0)["tensorrt"]
    assert found.facts is None and found.problem and os.environ["PYTHONPATH"] == before
    if way != "babbles":
        assert words in found.problem


def test_no_python_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "cannot be started" in ask("cuda")["cuda"].problem


def test_rows_of_a_board() -> None:
    clock = clocks.Clock("17000000.gpu", 306, 306, 624, 1020)
    found = state(ORIN, l4t="L4T 36.4.3 (JetPack 6)", clocks=(clock,), cached=True)
    detail, remedy = row(found, "NVIDIA GPU")
    assert "SM 87" in detail and "shared with the CPU" in detail and "CUDA 12.6" in detail
    assert remedy == "" and "kept in the cache" in row(found, "kernels")[0]
    assert row(found, "plugins")[0] == "JunctionVote, ChannelSpatialAttention: python"
    (words,) = [d for what, d, _ in gpu_rows(found, "NV Power Mode: 15W") if "power" in what]
    assert "L4T 36.4.3" in words and "NV Power Mode: 15W" in words
    assert "floats between 306 and 624" in words and "below 1020" in words


def test_rows_where_something_is_wrong() -> None:
    nothing = state()
    assert row(nothing, "NVIDIA GPU") == ("none here; engines for the CPU need none", "")
    hidden = state(present=True)
    assert row(hidden, "NVIDIA GPU") == ("No NVIDIA driver was found.", "Install the driver.")
    newer = state(ORIN, nvrtc=nvrtc("13.0"))
    assert row(newer, "kernels")[1] == "pip install 'cuda-bindings==12.*'"
    older = state({**CARD, "sm": "120"})
    assert "no code for SM 120" in row(older, "kernels")[0]
    kept = state(ORIN, nvrtc=ABSENT, cached=True)
    assert "are kept" in row(kept, "kernels")[0] and row(kept, "kernels")[1] == ""
    assert row(state(ORIN, nvrtc=ABSENT), "kernels")[1] == ABSENT.remedy
    refused = Answer({"text": "T", "plugins": {}, "plugin_problem": "no room"})
    assert row(state(ORIN, tensorrt=refused), "plugins")[0] == "no room"


def test_libraries_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_library(tmp_path / "libacf_plugins_preload.so", kernels=kernel_hash())
    write_library(tmp_path / "libacf_plugins.so", registers=False, kernels="0" * 64)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "libacf_plugins.so").write_bytes(b"not one")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:{tmp_path / 'other'}:")
    found = find_libraries()
    assert [one.registers for one in found] == [True, False]
    words = doctor_gpu._libraries()
    assert words[0].endswith("libacf_plugins_preload.so (TensorRT 10)")
    assert words[1].endswith("of other kernels") and len(words) == 2


def test_clocks(tmp_path: Path) -> None:
    def clock(name: str, **files: object) -> None:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(f"{text}\n")

    all_of_them = "306000000 612000000 1020000000"
    held = dict.fromkeys(("cur_freq", "min_freq", "max_freq"), 1020000000)
    clock("17000000.gpu", **held, available_frequencies=all_of_them)
    clock("nvenc", **held)
    clock("gpu-broken", cur_freq="no number", min_freq=1, max_freq=1)
    (found,) = clocks.gpu_clocks(tmp_path)
    assert str(found) == "GPU at 1020 MHz, held there"
    assert clocks.gpu_clocks(tmp_path / "absent") == ()
    release = tmp_path / "release"
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    assert clocks.l4t_release(release) == "L4T 36.4.3 (JetPack 6)"
    release.write_text("something else\n")
    assert clocks.l4t_release(release) is clocks.l4t_release(tmp_path / "absent") is None


def test_a_board_from_a_workstation() -> None:
    advice = examine_target("orin-nano", state(CARD), core=True)
    _, compile_, run = advice.steps
    assert not advice.runs and not compile_.ok
    assert "RTX 4060 (SM 89)" in compile_.detail and "--target auto" in compile_.remedy
    assert "python3-libnvinfer" in run.remedy and "'cuda-bindings<13'" in run.remedy
    assert any("SM 87" in need for need in advice.needs)
    assert any("TensorRT 10.3 or newer" in need for need in advice.needs)
    Console(quiet=True).print(target_table(advice))


def test_a_board_on_itself() -> None:
    advice = examine_target("orin-nano", state(ORIN), core=True)
    assert advice.runs and [step.ok for step in advice.steps[1:]] == [True, True]
    assert advice.steps[-1].detail == "TensorRT 10.3.0 on Orin"
    here = examine_target("auto", state(ORIN), core=True)
    assert (here.target, here.runs) == ("sm87", True)
    broken = examine_target("auto", state(ORIN, tensorrt=ABSENT), core=True)
    assert not broken.runs and broken.steps[-1].remedy == ABSENT.remedy


def test_a_card_is_compiled_for_anywhere() -> None:
    rtx = library("TensorRT-RTX 1.7")
    elsewhere = examine_target("rtx40", state(tensorrt_rtx=rtx), core=True)
    assert elsewhere.steps[1].ok and "any such GPU" in elsewhere.steps[1].detail
    assert not elsewhere.runs
    assert examine_target("rtx40", state(CARD, tensorrt_rtx=rtx), core=True).runs
    # Either library runs one there.
    assert examine_target("rtx40", state(CARD), core=True).runs


def test_targets_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"TensorRT 8\.5"):
        examine_target("xavier", state(), core=True)
    with pytest.raises(InputError, match="Unknown target"):
        examine_target("rtx4000", state(), core=True)
    with pytest.raises(InputError, match="No NVIDIA driver"):
        examine_target("auto", state(), core=True)


def test_the_cpu() -> None:
    assert examine_target("cpu", state(), core=True).runs
    assert not examine_target("cpu", state(), core=False).runs


def test_what_building_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    import acf_edge.profile.doctor_target as module

    monkeypatch.setattr(module, "_WORKSHOP", ("torch", "no_such_module", "no.such.parent"))
    step = examine_target("cpu", state(), core=True).steps[0]
    assert (step.ok, step.remedy) == (False, "pip install 'acf-edge[build]'")
    assert step.detail == "missing: no_such_module, no.such.parent"


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_toy(tmp_path / "shipped").path
    monkeypatch.setattr(load, "default_bundle", lambda: path)
    monkeypatch.setattr(doctor, "examine_gpu", lambda board: state(ORIN))

    def run(*words: str) -> int:
        parser = argparse.ArgumentParser()
        verb.add_arguments(parser)
        return verb.run(parser.parse_args(words))

    assert run("--target", "orin-nano", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["target"]["runs"] and data["target"]["target"] == "orin-nano"
    assert data["gpu"]["cuda"]["facts"]["devices"][0]["sm"] == "87"
    assert run("--target", "rtx40") == 1
    assert "for rtx40" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "examine_gpu", lambda board: replace(state(), present=True))
    assert run() == 0
