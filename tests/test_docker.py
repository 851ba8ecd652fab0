"""The Dockerfiles, as far as they can be checked without Docker."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from acf_edge.cli.main import build_parser, load_verb

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docker"
FILES = sorted(FOLDER.glob("*.Dockerfile"))
INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not FILES, reason="the Dockerfiles are in the repository only")


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest of it), comments left out and continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            found.append((word, rest.strip()))
    return found


def of(path: Path, instruction: str) -> list[str]:
    return [rest for word, rest in instructions(path) if word == instruction]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def test_there_is_one_for_each_platform() -> None:
    assert {file.stem for file in FILES} == {"jetpack6", "jetpack7", "x86-rtx", "x86-tensorrt"}
    readme = (FOLDER / "README.md").read_text()
    assert all(f"`{file.name}`" in readme for file in FILES)


def test_instructions(path: Path) -> None:
    found = instructions(path)
    assert {word for word, _ in found} <= INSTRUCTIONS
    assert found[0][0] == "FROM" and all(rest for _, rest in found)
    for script in of(path, "RUN"):
        done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for word in ("ENTRYPOINT", "CMD"):
        (form,) = of(path, word)
        assert all(isinstance(item, str) for item in json.loads(form))


def test_images_are_pinned(path: Path) -> None:
    for image in of(path, "FROM"):
        name = image.split()[0]
        tag = name.partition(":")[2]
        assert tag and tag != "latest" and re.search(r"\d", tag), name
        assert name.startswith("python:") or name.startswith("nvcr.io/nvidia/"), name


def test_what_is_copied_is_there(path: Path) -> None:
    stages = {rest.split()[2] for rest in of(path, "FROM") if " AS " in rest}
    for rest in of(path, "COPY"):
        words = rest.split()
        source = next((word for word in words if word.startswith("--from=")), None)
        if source:
            assert source.partition("=")[2] in stages
            continue
        for name in words[:-1]:
            assert (ROOT / name).exists(), f"COPY {name}"


def test_the_wheel_gets_all_that_it_is_made_of(path: Path) -> None:
    copied = {name for rest in of(path, "COPY") if "--from" not in rest for name in rest.split()}
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = hatch["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    assert {name.strip("/") for name in included} <= copied
    assert {"pyproject.toml", hatch["project"]["readme"], "LICENSE"} <= copied


def test_extras_and_pins(path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (script,) = [script for script in of(path, "RUN") if "whl)[" in script]
    found = re.search(r"whl\)\[([a-z,]+)\]", script)
    assert found and set(found[1].split(",")) <= set(extras)
    assert "-c /wheels/constraints.txt" in script
    command = script.split("pip install", 1)[1].split("&&")[0]
    packages = [word for word in shlex.split(command) if re.match(r"[a-z]", word)]
    assert packages and all("==" in word for word in packages), packages
    assert not any(re.search(r"\btorch\b", script) for script in of(path, "RUN"))


def test_packages_leave_nothing_behind(path: Path) -> None:
    for script in of(path, "RUN"):
        if "apt-get" in script:
            assert "apt-get update" in script and "--no-install-recommends" in script
            assert script.endswith("rm -rf /var/lib/apt/lists/*")
        assert "pip" not in script or "--no-cache-dir" in script


def test_it_runs_as_nobody_in_particular(path: Path) -> None:
    words = [word for word, _ in instructions(path)]
    (user,) = of(path, "USER")
    assert user not in ("root", "0") and words.index("USER") > max(
        index for index, word in enumerate(words) if word == "RUN"
    )
    assert any(f"useradd --create-home --groups video {user}" in s for s in of(path, "RUN"))


def test_it_examines_itself(path: Path) -> None:
    (check,) = of(path, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == json.loads(of(path, "ENTRYPOINT")[0])[0] == "acf-edge"
    parser = build_parser([load_verb(command[1])])
    assert parser.parse_args(command[1:]).verb == "doctor"
    assert parser.parse_args(json.loads(of(path, "CMD")[0])).verb == "doctor"
