"""Calls of TensorRT are checked by mypy: the mended stubs are read, and they bite."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import mend_stubs
import pytest

ROOT = Path(__file__).resolve().parent.parent
CALLS = """
from __future__ import annotations
from acf_edge.engine.trt.api import create_builder, load_api
api = load_api("tensorrt")
builder = create_builder(api)
builder.create_netwerk(0)
api.module.BuilderFlag.FP17
api.module.Runtime(3)
api.module.Absent
engine = api.module.Runtime(api.logger).deserialize_cuda_engine(b"")
engine.num_layers
"""
WRONG = {
    6: '"Builder" has no attribute "create_netwerk"',
    7: '"type[BuilderFlag]" has no attribute "FP17"',
    8: 'Argument 1 to "Runtime" has incompatible type "int"',
    9: 'has no attribute "Absent"',
    11: 'Item "None" of "ICudaEngine | None" has no attribute "num_layers"',
}


def installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not installed("tensorrt-stubs"), reason="tensorrt-stubs is not installed")
@pytest.mark.skipif(not installed("mypy"), reason="mypy is not installed")
def test_wrong_calls_are_found(tmp_path: Path) -> None:
    stubs = tmp_path / "stubs"
    assert mend_stubs.write(stubs)
    for file in stubs.rglob("*.pyi"):
        ast.parse(file.read_text(encoding="utf-8"))
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nmypy_path = {ROOT}:{stubs}\n"
        f"cache_dir = {tmp_path / 'cache'}\n"
        "[mypy-acf_edge.*]\nfollow_imports = silent\n"
        "[mypy-tensorrt.*,tensorrt_bindings.*,tensorrt_libs.*]\n"
        "ignore_errors = true\nignore_missing_imports = true\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "calls.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MYPYPATH": ""},
    )
    found = dict(re.findall(r"^calls\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE))
    assert set(found) == {str(line) for line in WRONG}, done.stdout + done.stderr
    for line, text in WRONG.items():
        assert text in found[str(line)]


def test_without_the_package_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mend_stubs, "PACKAGE", "no-such-package")
    assert not mend_stubs.write(tmp_path / "stubs")
    assert not (tmp_path / "stubs").exists()


def test_a_stub_that_is_broken_in_another_way_is_told() -> None:
    assert mend_stubs.mended("def f(in: list[int]) -> None: ...") == (
        "def f(inputs: list[int]) -> None: ..."
    )
    with pytest.raises(SyntaxError):
        mend_stubs.mended("def f(class) -> None: ...")
