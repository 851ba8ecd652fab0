"""The CUDA sources, as one translation unit, and their hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from acf_edge.errors import InputError
from acf_edge.resources import data_folder


def source_files() -> list[Path]:
    """The ``.cu`` files that are compiled, sorted by name: those at the top of ``kernels/``.

    Raises:
        InputError: the installation lacks them.
    """
    folder = data_folder("kernels")
    found = sorted(folder.glob("*.cu"))
    if not found:
        raise InputError(f"'{folder}' holds no kernels (*.cu).", "Reinstall acf-edge.")
    return found


def unit(files: list[Path]) -> bytes:
    """One translation unit that includes ``files``; their folder has to be searched.

    One unit makes one cubin, which is one thing to load, to embed and to hash.
    """
    return "".join(f'#include "{path.name}"\n' for path in files).encode()


def kernel_hash() -> str:
    """SHA-256 (hex) over the names and the bytes of all that decides what the kernels do.

    These are ``kernels/*.cu`` and what lies in ``kernels/acf/`` (headers, launch
    plan). The same on every machine; goes into passports.

    Raises:
        InputError: the installation lacks its kernels.
    """
    files = source_files()
    folder = files[0].parent
    files += [path for path in (folder / "acf").rglob("*") if path.suffix in (".cuh", ".h")]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
