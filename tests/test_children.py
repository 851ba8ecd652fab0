"""Processes of our own are not led astray by what lies in the current folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from acf_edge.children import python_command


@pytest.mark.parametrize("safe", ["", "1"])
def test_the_current_folder_is_not_imported_from(tmp_path: Path, safe: str) -> None:
    for name in ("json.py", "tensorrt.py", "acf_edge.py"):
        (tmp_path / name).write_text("raise SystemExit('led astray')\n")
    # Not even PYTHONPATH has to name the package; PYTHONSAFEPATH changes what stands first.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*python_command("acf_edge.profile.gpu_probe"), "nvrtc"],
        cwd=tmp_path,
        env={**environment, "PYTHONSAFEPATH": safe},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout.splitlines()[-1]), dict)
