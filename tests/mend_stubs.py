"""Make tensorrt-stubs readable: ``python tests/mend_stubs.py`` writes ``build/stubs``.

The package (10.13) holds files that are no Python: parameters named ``in``, a parameter without a
default behind one with, and a module variable ``bool`` that hides the type. mypy stops at the
first; its ``mypy_path`` names the mended copy. There, what is None where it failed is said to be
so, and what TensorRT converts (a tuple to Dims, a str to FallbackString) may be handed over as it
is. Without the package nothing is written, and mypy takes TensorRT for ``Any``.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

PACKAGE = "tensorrt-stubs"
OUTPUT = Path(__file__).resolve().parent.parent / "build" / "stubs"
MENDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bin: list\["), "inputs: list["),
    (re.compile(r", channel_axis: int\)"), ", channel_axis: int = ...)"),
    (re.compile(r"^bool: .*$", re.MULTILINE), ""),
    (
        re.compile(
            r"(def (?:build_serialized_network|deserialize_cuda_engine|create_execution_context"
            r"|create_timing_cache|get_timing_cache)\(.*\) -> )(\w+):"
        ),
        r"\1\2 | None:",
    ),
    (re.compile(r"\bname: FallbackString\b"), "name: FallbackString | str"),
    (re.compile(r"\b(min|opt|max): Dims(?=[,)])"), r"\1: Dims | tuple[int, ...]"),
)


def mended(text: str) -> str:
    """One stub file as Python; SyntaxError where it is broken in another way."""
    for pattern, new in MENDS:
        text = pattern.sub(new, text)
    ast.parse(text)
    return text


def write(folder: Path = OUTPUT) -> bool:
    """Write the mended stubs; False where the package is not installed."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return False
    for file in files:
        if file.suffix != ".pyi":
            continue
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        text = mended(Path(str(file.locate())).read_text(encoding="utf-8"))
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    return True


if __name__ == "__main__":
    if not write():
        print(f"{PACKAGE} is not installed: TensorRT's calls are not checked", file=sys.stderr)
