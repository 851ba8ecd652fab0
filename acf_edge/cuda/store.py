"""Cubins that were compiled before, in the user's cache folder.

An entry is one file: a line of JSON (what it was made from, what its kernels
cost, a hash), then the cubin. It is written whole or not at all, and used only
if the hash over both parts is right: a damaged entry is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acf_edge import files
from acf_edge.cuda import nvrtc
from acf_edge.cuda.cubin import Cubin, Resources
from acf_edge.cuda.sources import kernel_hash
from acf_edge.errors import InputError
from acf_edge.files import atomic_path

_FORMAT = 1


def cache_folder() -> Path:
    """Where cubins are kept: ``kernels`` in :func:`acf_edge.files.cache_folder`.

    Raises:
        InputError: everybody may write there.
    """
    return files.cache_folder() / "kernels"


def cached_cubin(sm: str, driver: str | None = None, folder: Path | None = None) -> Cubin:
    """The kernels for ``sm``: from the cache, or compiled now and put there.

    Without NVRTC, an entry that any earlier NVRTC made of the same sources serves.
    A folder that cannot be written only costs the time of compiling again.

    Args:
        sm: compute capability without its dot.
        driver: the CUDA version that the driver serves, ``"12.6"``; code of a
            later major version is not offered to it. None: any.
        folder: the cache; None: :func:`cache_folder`.

    Raises:
        MissingExtraError, InputError, CompileError: as
            :func:`acf_edge.cuda.nvrtc.compile_source`, where nothing in the cache serves.
    """
    folder = folder or cache_folder()
    sources = kernel_hash()
    newest = int(driver.split(".")[0]) if driver else None
    try:
        major, minor = nvrtc.version()
    except InputError:
        for path in sorted(folder.glob(f"sm{sm}-{sources[:16]}-*.cubin"), reverse=True):
            found = _read(path, _made_from(sm, sources, _compiler_of(path)))
            if found and (newest is None or _major(found.compiler) <= newest):
                return found
        raise
    compiler = f"NVRTC {major}.{minor}"
    if newest is not None and major > newest:
        raise InputError(
            f"{compiler} makes kernels that a driver of CUDA {driver} cannot load.",
            f"Run: pip install 'nvidia-cuda-nvrtc-cu{newest}' 'nvidia-cuda-runtime-cu{newest}'"
            f" 'cuda-bindings=={newest}.*', or update the driver.",
        )
    path = folder / f"sm{sm}-{sources[:16]}-{compiler.lower().replace(' ', '')}.cubin"
    made_from = _made_from(sm, sources, compiler)
    found = _read(path, made_from)
    if found is None:
        found = nvrtc.compile_cubin(sm)
        with contextlib.suppress(InputError):
            _write(path, found, made_from)
    return found


def _made_from(sm: str, sources: str, compiler: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "sm": sm,
        "sources": sources,
        "compiler": compiler,
        "options": list(nvrtc.OPTIONS),
    }


def _compiler_of(path: Path) -> str:
    return path.stem.rsplit("-", 1)[-1].replace("nvrtc", "NVRTC ")


def _major(compiler: str) -> int:
    return int(compiler.split()[-1].split(".")[0])


def _write(path: Path, cubin: Cubin, made_from: dict[str, Any]) -> None:
    entry = {**made_from, "kernels": {name: asdict(cost) for name, cost in cubin.kernels.items()}}
    entry["sha256"] = _hash(entry, cubin.image)
    with atomic_path(path) as temporary:
        temporary.write_bytes(json.dumps(entry).encode() + b"\n" + cubin.image)


def _read(path: Path, made_from: dict[str, Any]) -> Cubin | None:
    """The entry, if it is there, whole, and made from just this."""
    try:
        line, _, image = path.read_bytes().partition(b"\n")
        entry = json.loads(line)
        told = entry.pop("sha256")
        if told != _hash(entry, image) or any(entry[key] != made_from[key] for key in made_from):
            return None
        kernels = {
            name: Resources(**{**cost, "parameters": tuple(cost["parameters"])})
            for name, cost in entry["kernels"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Cubin(entry["sm"], image, kernels, entry["compiler"])


def _hash(entry: dict[str, Any], image: bytes) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode() + b"\n" + image).hexdigest()
