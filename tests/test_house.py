"""The house keeps its order: who imports whom, short files, data that travels.

The table of rooms is the one in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import acf_edge
from acf_edge.resources import data_folder

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(acf_edge.__file__).resolve().parent

# What everybody may import: modules of the package that import no room.
COMMON = {"", "children", "errors", "files", "resources"}

WORKSHOP = ("ops", "model", "train", "explain", "compress", "export", "foreign")
RUNTIME = ("cuda", "engine", "profile", "stream")

# Room -> the rooms that it may import.
ROOMS: dict[str, tuple[str, ...]] = {
    "imaging": (),
    "ops": (),
    "report": (),
    "degrade": ("imaging",),
    "model": ("imaging", "ops"),
    "train": ("degrade", "imaging", "model"),
    "explain": ("imaging", "model"),
    "compress": ("degrade", "imaging", "model", "train"),
    "export": ("compress", "imaging", "model", "ops"),
    "foreign": ("export", "model"),
    "cuda": (),
    "engine": ("cuda", "imaging"),
    "handover": ("engine",),
    "profile": ("cuda", "engine", "imaging", "report", "stream"),
    "stream": ("cuda", "engine", "imaging"),
    "evaluate": ("degrade", "engine", "foreign", "imaging", "model"),
    "builder": ("degrade", "imaging", "evaluate", "report", *WORKSHOP, *RUNTIME),
    "demo": ("builder", "degrade", "imaging", "evaluate", "report", *WORKSHOP, *RUNTIME),
    "cli": (
        "builder",
        "degrade",
        "demo",
        "handover",
        "imaging",
        "evaluate",
        "report",
        *WORKSHOP,
        *RUNTIME,
    ),
}

# Torch and what comes with it: the runtime does without, at any depth.
HEAVY = {"torch", "onnx", "onnxscript", "safetensors", "modelopt"}
LIGHT_ROOMS = ("imaging", "degrade", "report", "evaluate", *RUNTIME)
LONGEST = 400


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return "" if path.stem in ("__init__", "__main__") else path.stem


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every module that a file imports, the line, and whether it does at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    later = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for inner in ast.walk(outer)
    }
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(tree):
        at_once = id(node) not in later
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, at_once
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module, node.lineno, at_once
            if module == "acf_edge":
                for alias in node.names:
                    yield f"acf_edge.{alias.name}", node.lineno, at_once


def own_rooms(path: Path) -> Iterator[tuple[str, int]]:
    """The rooms and common modules of this package that a file imports."""
    for module, line, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "acf_edge":
            continue
        name = parts[1] if len(parts) > 1 else ""
        if name in COMMON or (PACKAGE / name).is_dir():
            yield name, line


def test_every_folder_is_a_room_of_the_table() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(ROOMS), "add the room here and in CONTRIBUTING.md"


def test_the_table_has_no_cycle() -> None:
    assert set(TopologicalSorter(ROOMS).static_order()) == set(ROOMS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_stands_below_it(room: str) -> None:
    allowed = {room, *ROOMS[room], *COMMON}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports acf_edge.{name}"
        for path in sources()
        if room_of(path) == room
        for name, line in own_rooms(path)
        if name not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_common_modules_import_no_room() -> None:
    wrong = [
        f"{path.name}:{line} imports acf_edge.{name}"
        for path in PACKAGE.glob("*.py")
        if path.stem != "__main__"
        for name, line in own_rooms(path)
        if name not in COMMON
    ]
    assert not wrong, "\n".join(wrong)


def test_the_runtime_imports_nothing_heavy_when_it_is_imported() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources()
        if room_of(path) in (*LIGHT_ROOMS, *COMMON, "cli")
        for module, line, at_once in imports(path)
        if at_once and module.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_contributing_shows_every_room() -> None:
    shown = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for room, below in ROOMS.items():
        row = re.search(rf"^\| `{room}/` \|[^|]*\|([^|]*)\|$", shown, re.MULTILINE)
        assert row, f"CONTRIBUTING.md does not show the room '{room}'"
        if len(below) < 8:
            assert set(re.findall(r"`(\w+)`", row[1])) == set(below), room


def our_files() -> list[Path]:
    """What we write and ship, without what tools leave behind."""
    folders = ("acf_edge", "tests", "benchmarks", "docs", "kernels", "calibration", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    found += [*list(ROOT.glob("*.*")), ROOT / "Makefile"]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def test_no_source_file_is_longer_than_400_lines() -> None:
    kinds = {".py", ".js", ".css", ".cu", ".cuh", ".cpp", ".h", ".hpp"}
    long = {
        str(path.relative_to(ROOT)): lines
        for path in our_files()
        if path.suffix in kinds
        and (lines := path.read_text(encoding="utf-8").count("\n")) > LONGEST
    }
    assert not long


def test_nothing_names_a_place_on_the_machine_it_was_made_on() -> None:
    place = re.compile(rb"(?<![\w.~-])/(?:work|home|root|Users)/[\w.-]+")
    found = {
        str(path.relative_to(ROOT)): sorted({match.decode() for match in matches})
        for path in our_files()
        if (matches := place.findall(path.read_bytes()))
    }
    assert not found


def test_the_data_that_travels_is_found() -> None:
    recipes = {path.stem for path in data_folder("calibration").glob("*.toml")}
    assert {"camera", "webcam", "cctv", "acf-std"} <= recipes
    assert any(path.is_file() for path in data_folder("kernels").iterdir())
