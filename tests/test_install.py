"""What an installation holds: the wheel's files, and a core that needs no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

from acf_edge.resources import bundles_folder, weights_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LIGHT = (
    "acf_edge",
    "acf_edge.cli.main",
    *(f"acf_edge.cli.{verb}" for verb in ("build", "demo", "doctor", "enhance", "evaluate")),
    *(f"acf_edge.cli.{verb}" for verb in ("profile", "train")),
    *(f"acf_edge.{room}" for room in ("degrade", "engine", "evaluate", "imaging")),
    *(f"acf_edge.{room}" for room in ("profile", "report", "stream")),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution of this checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def shipped(folder: Path) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("name", ["calibration", "kernels"])
def test_the_wheel_carries_the_top_level_data(name: str, wheel: set[str]) -> None:
    expected = {f"acf_edge/_data/{path}" for path in shipped(ROOT / name)}
    assert expected
    assert expected <= wheel


@pytest.mark.parametrize("folder", [weights_folder(), bundles_folder()], ids=lambda p: p.name)
def test_the_wheel_carries_weights_and_bundles(folder: Path, wheel: set[str]) -> None:
    expected = shipped(folder)
    assert expected
    assert expected <= wheel


def test_the_wheel_carries_the_package_and_nothing_beside_it(wheel: set[str]) -> None:
    assert shipped(ROOT / "acf_edge") <= wheel
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"acf_edge"}
    assert not [name for name in wheel if "__pycache__" in name]


def test_the_source_distribution_can_build_and_test_itself(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt",
                 "calibration/acf-std.toml", "tests/test_install.py"):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.startswith((".venv", "demo/", ".git/"))]


def core_distributions() -> Iterator[metadata.Distribution]:
    """The core dependencies of this package and theirs, without any extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    queue, seen = list(project["dependencies"]), set()
    while queue:
        requirement = Requirement(queue.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = requirement.marker
        if name in seen or (marker and not marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        distribution = metadata.distribution(requirement.name)
        queue += distribution.requires or []
        yield distribution


GATE = """
import sys

ALLOWED = {allowed!r} | set(sys.stdlib_module_names) | set(sys.builtin_module_names)


class Gate:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)


sys.meta_path.insert(0, Gate())
sys.path += {folders!r}
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this package with a gate that lets only the core dependencies be imported."""
    folder = tmp_path_factory.mktemp("site")
    allowed, folders = {"acf_edge", "gate"}, set()
    for distribution in core_distributions():
        folders.add(str(distribution.locate_file("")))
        allowed |= {file.parts[0].partition(".")[0] for file in distribution.files or []}
    code = GATE.format(allowed=allowed, folders=sorted(folders))
    (folder / "gate.py").write_text(code, encoding="utf-8")
    shutil.copytree(
        ROOT / "acf_edge", folder / "acf_edge", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("calibration", "kernels"):
        shutil.copytree(ROOT / name, folder / "acf_edge" / "_data" / name)
    return folder


def run_clean(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the standard library, this package and its core dependencies alone."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-S", "-s", "-c", f"import gate\n{code}", *arguments],
        env=variables | {"PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


COMMAND = "import sys; from acf_edge.cli.main import main; sys.exit(main(sys.argv[1:]))"


def test_the_clean_environment_is_clean(clean: Path) -> None:
    for name in ("torch", "onnx", "pytest"):
        assert "ModuleNotFoundError" in run_clean(clean, f"import {name}").stderr


@pytest.mark.parametrize("module", LIGHT)
def test_the_core_imports_without_torch(module: str, clean: Path) -> None:
    done = run_clean(clean, f"import {module}")
    assert done.returncode == 0, done.stderr


def test_a_verb_that_needs_torch_says_which_extra_brings_it(clean: Path, tmp_path: Path) -> None:
    checkpoint = next(weights_folder().glob("*.safetensors"), None)
    assert checkpoint is not None, "no weights are shipped"
    out = tmp_path / "bundle"
    done = run_clean(clean, COMMAND, "build", str(checkpoint), "-o", str(out))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("acf-edge: error: ")
    assert done.stderr.count("\n") == 1
    assert "pip install 'acf-edge[build]'" in done.stderr
    assert not out.exists()


def test_the_shipped_bundle_enhances_a_picture_without_torch(clean: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (18, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    given, made = str(tmp_path / "in.png"), str(tmp_path / "out.png")
    done = run_clean(clean, COMMAND, "enhance", given, made)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(made).shape == (72, 128, 3)


def test_the_shipped_bundle_is_profiled_without_torch(clean: Path, tmp_path: Path) -> None:
    bundle = next((clean / "acf_edge" / "bundles").glob("*/passport.json"), None)
    assert bundle is not None, "no bundle is shipped"
    told = tmp_path / "profile.json"
    done = run_clean(
        clean, COMMAND, "profile", str(bundle.parent), "--size", "32x18", "--json", str(told)
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(told.read_text(encoding="utf-8"))["layers"]


def test_the_doctor_runs_without_torch(clean: Path) -> None:
    done = run_clean(clean, COMMAND, "doctor", "--json")
    assert done.returncode in (0, 1), done.stderr
    assert isinstance(json.loads(done.stdout), dict)
