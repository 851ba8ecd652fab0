"""CUDA sources -> cubin, by NVRTC: no nvcc, no GPU."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from acf_edge.cuda.cubin import Cubin, read_kernels, with_log
from acf_edge.cuda.sources import source_files, unit
from acf_edge.errors import AcfError, InputError, MissingExtraError

# The SMs that the project serves, as in the table of ``python -m acf_edge.cuda``.
SMS = ("75", "80", "86", "87", "89", "90", "100", "110", "120")

OPTIONS = ("--std=c++17", "--ptxas-options=-v")

_GET_NVRTC = (
    "Run: pip install 'acf-edge[tensorrt]' (on a Jetson, JetPack's own does:"
    " sudo apt-get install cuda-nvrtc-12-6 cuda-cudart-dev-12-6, or -13-0 on JetPack 7)."
)


class CompileError(AcfError):
    """NVRTC refused a source.

    Args:
        name: of the source.
        log: everything the compiler said.
    """

    def __init__(self, name: str, log: str) -> None:
        self.log = log
        wrong = [line.strip() for line in log.splitlines() if "error" in line]
        super().__init__(f"'{name}' does not compile: {(wrong or [log.strip()])[0]}")


def version() -> tuple[int, int]:
    """NVRTC's version, e.g. (12, 6).

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: there is no NVRTC library that it can load.
    """
    major, minor = _call("nvrtcVersion")
    return int(major), int(minor)


def supported() -> tuple[str, ...]:
    """The SMs that this NVRTC makes code for. Raises as :func:`version`."""
    return tuple(str(int(sm)) for sm in _call("nvrtcGetSupportedArchs"))


def compile_source(source: bytes, name: str, sm: str, includes: Sequence[Path | str] = ()) -> Cubin:
    """Compile one source.

    Args:
        source: CUDA C++; include lines are looked up in ``includes`` and, where
            there is one, in the folder of CUDA's own headers (ours needs none of them).
        name: what the compiler's messages call it.
        sm: compute capability without its dot, ``"87"``.
        includes: folders.

    Raises:
        MissingExtraError: cuda-bindings is not installed.
        InputError: no NVRTC, or it cannot make code for ``sm``.
        CompileError: the source is wrong.
    """
    number = version()
    text = f"NVRTC {number[0]}.{number[1]}"
    able = supported()
    if sm not in able:
        raise InputError(
            f"{text} makes no code for SM {sm}, only for {', '.join(able)}.",
            "Install the NVRTC that belongs to the GPU's driver (SM 100 and up: CUDA 13).",
        )
    folders = [*map(str, includes)]
    with contextlib.suppress(InputError):
        folders.append(str(header_folder(number)))
    options = [f"--gpu-architecture=sm_{sm}", *OPTIONS, *(f"-I{folder}" for folder in folders)]
    program = _call("nvrtcCreateProgram", source, name.encode(), 0, [], [])
    try:
        wrong = _status("nvrtcCompileProgram", program, len(options), [o.encode() for o in options])
        log = _read(program, "nvrtcGetProgramLog").decode(errors="replace").rstrip("\0")
        if wrong == "NVRTC_ERROR_COMPILATION":
            raise CompileError(name, log)
        if wrong:
            raise CompileError(name, f"{wrong} {log}")
        image = _read(program, "nvrtcGetCUBIN")
    finally:
        _status("nvrtcDestroyProgram", program)
    return Cubin(sm, image, with_log(read_kernels(image), log), text)


def compile_cubin(sm: str) -> Cubin:
    """Compile all of ``kernels/*.cu`` as one module for ``sm`` (as :func:`compile_source`)."""
    files = source_files()
    return compile_source(unit(files), "kernels.cu", sm, [files[0].parent])


def compile_all(sms: Sequence[str]) -> list[Cubin]:
    """:func:`compile_cubin` for each of ``sms``, on as many cores as there are."""
    with ThreadPoolExecutor(max(1, min(len(sms), os.cpu_count() or 1))) as pool:
        return list(pool.map(compile_cubin, sms))


def header_folder(number: tuple[int, int]) -> Path:
    """The folder of CUDA's headers (``cuda_fp16.h``) that suits an NVRTC of this version.

    Looked for in the wheels (``nvidia-cuda-runtime``), then in ``CUDA_HOME``
    and ``CUDA_PATH``, then where the toolkit is installed.

    Raises:
        InputError: there is none of the same major version; says which were found.
    """
    seen = []
    for folder in _header_candidates(number):
        found = _header_version(folder)
        if found is not None and found[0] == number[0]:
            return folder
        if found is not None:
            seen.append(f"'{folder}' is of CUDA {found[0]}.{found[1]}")
    raise InputError(
        f"The headers of CUDA {number[0]} (cuda_fp16.h) are missing"
        + (f"; {' and '.join(seen)}." if seen else "."),
        _GET_NVRTC,
    )


def _header_candidates(number: tuple[int, int]) -> list[Path]:
    found = []
    wheels = importlib.util.find_spec("nvidia")
    for place in (wheels.submodule_search_locations or []) if wheels else []:
        found += [Path(place) / f"cu{number[0]}", Path(place) / "cuda_runtime"]
    found += [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for name in (f"cuda-{number[0]}.{number[1]}", f"cuda-{number[0]}", "cuda"):
        found.append(Path("/usr/local") / name)
    return [*(folder / "include" for folder in found), Path("/usr/include")]


def _header_version(folder: Path) -> tuple[int, int] | None:
    """The version of CUDA whose headers ``folder`` holds; None where they are not whole."""
    header = folder / "cuda_runtime_api.h"
    if not header.is_file() or not (folder / "cuda_fp16.h").is_file():
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"#define\s+CUDART_VERSION\s+(\d+)", text)
    return (int(found[1]) // 1000, int(found[1]) % 1000 // 10) if found else None


def _binding() -> Any:
    try:
        return importlib.import_module("cuda.bindings.nvrtc")
    except ImportError as error:
        raise MissingExtraError(
            "Compiling the kernels", error.name or "cuda.bindings", "tensorrt"
        ) from error


def _invoke(name: str, *arguments: Any) -> tuple[Any, ...]:
    function = getattr(_binding(), name)
    try:
        result: tuple[Any, ...] = function(*arguments)
    except RuntimeError as error:  # what cuda-bindings raises where the library is not found
        said = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"NVRTC, which compiles the kernels, is missing: {said}.",
            _GET_NVRTC,
        ) from error
    return result


def _status(name: str, *arguments: Any) -> str:
    """The name of the error that a call gave; empty where there was none."""
    status = _invoke(name, *arguments)[0]
    return str(status.name) if int(status) else ""


def _call(name: str, *arguments: Any) -> Any:
    status, *results = _invoke(name, *arguments)
    if int(status):
        raise AcfError(f"{name} failed with {status.name}.")
    return results[0] if len(results) == 1 else results


def _read(program: Any, name: str) -> bytes:
    """What a pair of calls such as nvrtcGetCUBINSize and nvrtcGetCUBIN gives."""
    content = bytes(_call(f"{name}Size", program))
    # The bindings write into the object that they are given, immutable as it looks.
    # bytes() of one length or zero are shared by all of Python: those are not handed over.
    if len(content) < 2:
        return content
    _call(name, program, content)
    return content
