"""The doctor: tells the truth, names the command, never falls over."""

from __future__ import annotations

import argparse
import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toy_bundles import nearest, write_toy

import acf_edge.engine.load as load
import acf_edge.profile.doctor as doctor
import acf_edge.profile.doctor_gpu as doctor_gpu
import acf_edge.profile.machine as machine
from acf_edge.cli import doctor as verb
from acf_edge.profile.chart import doctor_chart

REQUIREMENTS = [
    "numpy>=1.26",
    'onnx>=1.17; extra == "build"',
    'no-such-package>=2; extra == "build"',
    "acf-edge[build]; extra == 'demo'",
    'numpy>=1.26; extra == "web"',
    'no-such-either; platform_machine == "pdp11" and extra == "web"',
    'no-such-tool; extra == "dev"',
]


class Declared(dict[str, list[str]]):
    """What ``metadata.metadata`` gives, as far as it is read."""

    def get_all(self, name: str) -> list[str] | None:
        return self.get(name)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probes find nothing: they are tried in test_doctor_gpu.py."""
    nothing = doctor_gpu.Answer(None, "It is not installed.", "pip install it")
    monkeypatch.setattr(doctor_gpu, "ask", lambda *names: dict.fromkeys(names, nothing))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle in the place of the shipped one."""
    path = write_toy(tmp_path / "shipped").path
    monkeypatch.setattr(load, "default_bundle", lambda: path)
    return path


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(words))


def feature(found: doctor.Examination, word: str) -> doctor.Feature:
    return next(one for one in found.features if word in one.name)


def test_a_healthy_machine(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is True
    assert {"os", "arch", "cpu", "cores", "flags", "memory_gib", "python"} <= set(data["machine"])
    assert data["machine"]["cores"] >= 1
    assert data["packages"]["onnxruntime"] == metadata.version("onnxruntime")
    assert {"torch", "onnx", "tensorrt", "tensorrt_rtx", "aiohttp", "ray"} <= set(data["packages"])
    assert {"cuda", "nvrtc", "tensorrt", "tensorrt_rtx", "libraries"} <= set(data["gpu"])
    for one in data["features"]:
        assert {"name", "ok", "core", "detail", "remedy"} == set(one)
        assert one["ok"] == (one["remedy"] == "")


def test_the_tables_say_the_same(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out = capsys.readouterr().out
    assert "The core works." in out and "onnxruntime" in out


def test_a_damaged_engine_is_found(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((shipped / "model.onnx").read_bytes())
    content[20] ^= 0x10
    (shipped / "model.onnx").write_bytes(content)
    assert run("--json") == 1
    data = json.loads(capsys.readouterr().out)
    engine = next(one for one in data["features"] if "engine" in one["name"])
    assert not engine["ok"] and "model.onnx" in engine["detail"]
    assert engine["remedy"].startswith("pip install")


def test_an_engine_that_does_not_run_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_toy(tmp_path / "shipped", nearest(4)).path
    monkeypatch.setattr(load, "default_bundle", lambda: path)
    found = doctor.examine()
    assert not found.ok and "cannot enhance" in feature(found, "engine").detail


def test_a_missing_core_package(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CORE", {"numpy": "numpy", "av": "no_such_module"})
    found = doctor.examine()
    assert not found.ok
    assert "av (No module named 'no_such_module')" in feature(found, "core").detail


def test_extras_name_what_is_missing(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.metadata
    extras = Declared({"Provides-Extra": ["build", "demo", "web", "dev"]})

    def declared(name: str) -> Any:
        return extras if name == "acf-edge" else real(name)

    monkeypatch.setattr(metadata, "metadata", declared)
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIREMENTS)
    found = doctor.examine()
    assert found.ok  # what is optional does not make the core fail
    build = feature(found, "build")
    assert (build.ok, build.detail) == (False, "missing: no-such-package")
    assert build.remedy == "pip install 'acf-edge[build]'"
    assert feature(found, "demo").detail == "missing: no-such-package"
    assert feature(found, "web").ok
    assert not any("no-such-tool" in one.detail for one in found.features)


def test_a_source_tree_that_is_not_installed(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", absent)
    monkeypatch.setattr(metadata, "version", absent)
    found = doctor.examine()
    assert found.ok and set(found.packages.values()) == {None}
    assert feature(found, "optional").remedy == "pip install -e ."


def test_an_odd_machine_is_described_all_the_same(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> Any:
        raise OSError("not here")

    monkeypatch.setattr(Path, "read_text", gone)
    monkeypatch.setattr(machine.os, "sysconf", gone)
    monkeypatch.setattr(machine.platform, "freedesktop_os_release", gone)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "")
    found = machine.describe_machine()
    assert (found.memory_gib, found.flags, found.jetson) == (None, (), None)
    assert found.cpu == "unknown CPU" and found.cores >= 1
    Console(quiet=True).print(doctor_chart(doctor.examine()))


@pytest.mark.parametrize("way", ["hangs", "fails", "speaks"])
def test_nvidia_smi_may_do_what_it_likes(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: Any, **options: Any) -> Any:
        if way == "hangs":
            raise subprocess.TimeoutExpired(command, options["timeout"])
        out = b"NVIDIA T4, 15360 MiB, 550.1\n\xff\n"
        return subprocess.CompletedProcess(command, 9 if way == "fails" else 0, out, b"")

    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine.subprocess, "run", answer)
    gpus = machine.describe_machine().gpus
    assert (gpus[0] if gpus else None) == (
        "NVIDIA T4, 15360 MiB, 550.1" if way == "speaks" else None
    )


def test_a_jetson_tells_its_power_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "/proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp i8mm\nCPU part : 0xd42\n",
        "/var/lib/nvpmodel/status": "pmode:0002",
    }

    def read(path: Path, *_: object, **__: object) -> str:
        if str(path) not in texts:
            raise FileNotFoundError(str(path))
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    found = machine.describe_machine()
    assert found.jetson == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.power_mode == "pmode:0002"
    assert found.flags == ("asimddp", "i8mm") and "0xd42" in found.cpu
