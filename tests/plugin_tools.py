"""Build the C++ plugin for tests, and walk it through its life with plugin_host.cpp.

ACF_TENSORRT_HEADERS names a folder with one folder of headers per TensorRT version, e.g.
``10.3.0/NvInfer.h``. What is missing skips the test, with its name.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.errors import AcfError

HERE = Path(__file__).resolve().parent
PLUGIN = HERE.parent / "kernels" / "plugin"
STRICT = ("-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror")


def headers() -> dict[str, Path]:
    """TensorRT version -> folder with NvInfer.h, oldest first. Skips the test without any."""
    folder = os.environ.get("ACF_TENSORRT_HEADERS")
    if not folder:
        pytest.skip("ACF_TENSORRT_HEADERS names no folder with TensorRT's headers")
    found = {}
    for entry in Path(folder).iterdir():
        for place in (entry, entry / "include"):
            if (place / "NvInfer.h").is_file():
                found[entry.name] = place
                break
    if not found:
        pytest.skip(f"'{folder}' (ACF_TENSORRT_HEADERS) holds no headers of TensorRT")
    return dict(sorted(found.items(), key=lambda item: [int(n) for n in item[0].split(".")]))


def cuda_headers() -> Path:
    """The folder with cuda.h and what belongs to it. Skips the test without one."""
    wheels = importlib.util.find_spec("nvidia")
    places = (wheels.submodule_search_locations or []) if wheels else []
    found = [folder for place in places for folder in sorted(Path(place).glob("*/include"))]
    for folder in [*found, *sorted(Path("/usr/local").glob("cuda*/include"))]:
        # The wheel nvidia-cuda-runtime is not whole without nvidia-cuda-crt.
        if (folder / "cuda.h").is_file() and (folder / "crt" / "host_defines.h").is_file():
            return folder
    pytest.skip(
        "there are no CUDA headers: a toolkit's, or nvidia-cuda-runtime and nvidia-cuda-crt"
    )


def need_nvrtc() -> None:
    """Skips the test where the kernels cannot be compiled."""
    from acf_edge.cuda.nvrtc import version

    try:
        version()
    except AcfError as error:
        pytest.skip(f"compiles the kernels: {error}")


def program(name: str) -> str:
    """Its path. Skips the test without it."""
    found = shutil.which(name)
    if found is None or not sys.platform.startswith("linux"):
        pytest.skip(f"builds C++ on Linux: there is no {name}")
    return found


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Its standard output; fails the test with its standard error."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """What a walk needs.

    Attributes:
        version: of the TensorRT headers.
        library: libacf_plugins.so.
        preload: libacf_plugins_preload.so.
        walker: plugin_host.cpp.
        cuda: plugin_cuda.cpp, as libcuda.so.1.
        kernels: names of the embedded kernels with the sizes of their parameters.
    """

    version: str
    folder: Path
    library: Path
    preload: Path
    walker: Path
    cuda: Path
    kernels: Path


@functools.cache
def built_plugin() -> Built:
    """CMake builds the plugin with the kernels of SM 87 by NVRTC; g++ what stands around it.

    For the oldest TensorRT: what it has, all have. Once per process.
    """
    version, include = next(iter(headers().items()))
    need_nvrtc()
    cuda, compiler, cmake = cuda_headers(), program("g++"), program("cmake")
    folder = Path(tempfile.mkdtemp(prefix="acf-plugin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "build"
    run(
        [
            cmake,
            *("-S", PLUGIN, "-B", made),
            *(f"-DTENSORRT_ROOT={include}", f"-DACF_CUDA_INCLUDE={cuda}", "-DACF_WERROR=ON"),
            *("-DACF_SMS=87", "-DACF_KERNELS=nvrtc", f"-DPython3_EXECUTABLE={sys.executable}"),
            "-DCMAKE_BUILD_TYPE=Debug",
        ]
    )
    run([cmake, "--build", made])
    built = Built(
        version,
        folder,
        made / "libacf_plugins.so",
        made / "libacf_plugins_preload.so",
        folder / "plugin_host",
        folder / "libcuda.so.1",
        folder / "kernels.txt",
    )
    places = ["-isystem", include, "-isystem", cuda]
    run([compiler, *STRICT, *places, HERE / "plugin_host.cpp", "-ldl", "-o", built.walker])
    stand_in = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", HERE / "plugin_cuda.cpp", "-ldl"]
    run([compiler, *STRICT, *places, *stand_in, "-o", built.cuda])
    built.kernels.write_text(_parameters(made / "embedded_kernels.cpp"), encoding="utf-8")
    return built


def embedded_image(source: Path, sm: str) -> bytes:
    """The machine code for one SM in a generated C++ source."""
    text = source.read_text(encoding="utf-8")
    (numbers,) = re.findall(rf"kSm{sm}\[\] = \{{([0-9,\s]*)\}};", text)
    return bytes(map(int, numbers.replace("\n", "").rstrip(",").split(",")))


def _parameters(source: Path) -> str:
    from acf_edge.cuda.cubin import read_kernels

    kernels = read_kernels(embedded_image(source, "87"))
    return "".join(
        f"{name} {' '.join(map(str, cost.parameters))}\n" for name, cost in kernels.items()
    )


@functools.cache
def emulation() -> Path:
    """The operators' kernels, built to run on the host."""
    from host_kernels import build_kernels

    files = ("channel_means.cu", "channel_spatial_attention.cu", "junction_vote.cu")
    return Path(build_kernels(files).library._name)


@dataclass
class Walk:
    """What a walk told, a line at a time.

    Attributes:
        lines: (first word, the rest).
        errors: standard error.
    """

    lines: list[tuple[str, str]]
    errors: str
    code: int
    output: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    def of(self, step: str) -> list[str]:
        """What every line of that step says."""
        return [rest for first, rest in self.lines if first == step]

    def one(self, step: str) -> str:
        """What the only line of that step says."""
        (found,) = self.of(step)
        return found


def walk(
    built: Built,
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    library: Path | None = None,
    with_cuda: bool = True,
    host: bool = True,
) -> Walk:
    """Run plugin_host.

    Args:
        words: its arguments but the library.
        environment: for the stand-in of the GPU.
        library: another plugin library.
        with_cuda: there is a driver.
        host: kernels run (else they are told alone).
    """
    variables = {
        **os.environ,
        "ACF_STAND_IN_KERNELS": str(built.kernels),
        # Where there is a real driver, the stand-in comes first.
        "LD_LIBRARY_PATH": str(built.folder) if with_cuda else "",
        **(environment or {}),
    }
    if host:
        variables["ACF_STAND_IN_HOST"] = str(emulation())
    cuda = [f"cuda={built.cuda}"] if with_cuda else []
    done = subprocess.run(
        [str(built.walker), str(library or built.library), *words, *cuda],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    lines = [[*line.split(" ", 1), ""][:2] for line in done.stdout.splitlines()]
    return Walk([(first, rest) for first, rest in lines], done.stderr, done.returncode)


def description(told: Walk) -> dict[str, object]:
    """What the library says about itself."""
    found = json.loads(told.one("description"))
    assert isinstance(found, dict)
    return found
