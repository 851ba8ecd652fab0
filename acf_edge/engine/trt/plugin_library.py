"""The C++ plugin library as a file: what it is, told without loading it.

``libacf_plugins.so`` is for those who ask a library for its creators: trtexec's
``--staticPlugins``, ``IPluginRegistry::loadLibrary``. ``libacf_plugins_preload.so`` registers them
when it is opened: for those who just open it (Triton, DeepStream) and for ``LD_PRELOAD``.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acf_edge.engine.trt.plugin_fields import OPERATORS
from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.resources import data_folder

LOADED: Final = "libacf_plugins.so"
PRELOADED: Final = "libacf_plugins_preload.so"
_MACHINES: Final = {62: "x86_64", 183: "aarch64"}  # e_machine of an ELF file
_LARGEST: Final = 256 << 20
_HASH: Final = re.compile(rb"(?<![0-9a-f])([0-9a-f]{64})\0")


@dataclass(frozen=True)
class PluginLibrary:
    """A plugin library.

    Attributes:
        path: the file.
        machine: ``"x86_64"`` or ``"aarch64"``.
        kernel_hash: of the kernels inside, see :func:`acf_edge.cuda.kernel_hash`; empty where it
            cannot be read.
        registers: it registers its creators when it is opened.
        major: of the TensorRT that it belongs to; None where it takes any.
    """

    path: Path
    machine: str
    kernel_hash: str
    registers: bool
    major: int | None


def read_library(path: Path) -> PluginLibrary:
    """Look into a file; nothing of it is run.

    Raises:
        InputError: no such file, or no plugin library of ours.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _LARGEST else b""
    except OSError as error:
        raise explain_os_error(error, path) from error
    machine = _MACHINES.get(int.from_bytes(content[18:20], "little"))
    whole = all(name.encode() in content for name in OPERATORS)
    if content[:4] != b"\x7fELF" or machine is None or b"getCreators" not in content or not whole:
        raise InputError(f"'{path}' is no plugin library of acf-edge.", build_hint())
    found = _HASH.search(content)
    needs = re.search(rb"libnvinfer\.so\.(\d+)\0", content)
    return PluginLibrary(
        path,
        machine,
        found[1].decode() if found else "",
        b"getPluginRegistry" in content,
        int(needs[1]) if needs else None,
    )


def build_hint() -> str:
    """How to come by a plugin library."""
    try:
        folder = str(data_folder("kernels") / "plugin")
    except InputError:
        folder = "kernels/plugin"
    return (
        f"Build it: cmake -S {folder} -B acf-plugins && cmake --build acf-plugins; "
        f"it is acf-plugins/{PRELOADED} then."
    )


def find_libraries(folders: Iterable[Path] | None = None) -> list[PluginLibrary]:
    """The plugin libraries that lie where libraries lie.

    Args:
        folders: where to look; None = ``LD_LIBRARY_PATH`` and the system's places.
    """
    found = list[PluginLibrary]()
    for folder in _places() if folders is None else folders:
        for name in (PRELOADED, LOADED):
            try:
                found.append(read_library(folder / name))
            except InputError:
                continue
    return found


def _places() -> list[Path]:
    named = [Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    triplet = f"{platform.machine()}-linux-gnu"
    system = ["/usr/local/lib", f"/usr/local/lib/{triplet}", f"/usr/lib/{triplet}", "/usr/lib"]
    return list(dict.fromkeys([*named, *map(Path, system)]))
