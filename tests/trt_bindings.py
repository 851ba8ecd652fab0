"""Real Python bindings of TensorRT over a libnvinfer that is not there.

ACF_TENSORRT_BINDINGS names a folder with one folder per version, e.g.
``10.3.0/tensorrt_bindings/__init__.py`` (``pip install --no-deps --target 10.3.0
tensorrt-cu12-bindings==10.3.0``); bindings that this Python has count as well. They need three
libraries at import; these are made here, of ten functions, or (with TensorRT's headers) with a
registry of plugins that is real enough to be walked by C++.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import plugin_tools
import pytest

HERE = Path(__file__).resolve().parent
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
EMPTY = """
extern "C" {
void* createInferBuilder_INTERNAL(void*, int) { return nullptr; }
void* createInferRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createInferRuntime_INTERNAL(void*, int) { return nullptr; }
void* createNvOnnxParserRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createNvOnnxParser_INTERNAL(void*, void*, int) { return nullptr; }
void* getBuilderPluginRegistry(int) { return nullptr; }
int getNvOnnxParserVersion() { return 0; }
void* getPluginRegistry() { return nullptr; }
bool initLibNvInferPlugins(void*, char const*) { return true; }
}
"""
NO_KERNELS = """
#include "cubins.h"
namespace acf::cubins {
static unsigned char const none[1] = {0};
Image const kImages[] = {{87, none, 1}};
int const kImageCount = 1;
char const kKernelHash[] = "0000000000000000000000000000000000000000000000000000000000000000";
char const kCompiler[] = "none";
}
"""
# All that TensorRT's headers want of CUDA's.
CUDA_TYPES = """#pragma once
typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
"""


def bindings() -> dict[str, Path]:
    """Version -> the folder to put on the path."""
    found: dict[str, Path] = {}
    spec = importlib.util.find_spec("tensorrt_bindings")
    if spec is not None and spec.origin:
        site = Path(spec.origin).parent.parent
        found[_version(site)] = site
    folder = os.environ.get("ACF_TENSORRT_BINDINGS")
    for site in sorted(Path(folder).iterdir()) if folder else []:
        if (site / "tensorrt_bindings" / "__init__.py").is_file():
            found.setdefault(_version(site), site)
    return dict(sorted(found.items(), key=lambda item: [int(n) for n in item[0].split(".")]))


def _version(site: Path) -> str:
    text = (site / "tensorrt_bindings" / "__init__.py").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("__version__"))
    return line.split('"')[1]


@functools.cache
def _folder() -> Path:
    # Kept by the cache, removed with the process.
    made = tempfile.TemporaryDirectory(prefix="acf-trt-bindings-")
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[object] = []


@functools.cache
def libraries(version: str, include: Path | None = None) -> Path:
    """A folder with the three libraries; with headers, all three have a registry of plugins."""
    compiler = plugin_tools.program("g++")
    major = version.split(".")[0]
    folder = _folder() / (version + ("-empty" if include is None else ""))
    folder.mkdir()
    source = folder / "empty.cpp"
    source.write_text(EMPTY, encoding="utf-8")
    (folder / "cuda_runtime_api.h").write_text(CUDA_TYPES, encoding="utf-8")
    places: list[str | Path] = [] if include is None else ["-I", folder, "-isystem", include]
    chosen = source if include is None else HERE / "plugin_registry.cpp"
    for name in LIBRARIES:
        file = f"lib{name}.so.{major}"
        plugin_tools.run(
            [
                *(
                    compiler,
                    "-std=c++17",
                    "-O0",
                    "-Wall",
                    "-Wextra",
                    "-Wno-deprecated-declarations",
                ),
                *("-shared", "-fPIC", f"-Wl,-soname,{file}", *places, chosen),
                *("-o", folder / file),
            ]
        )
        # Only the first one is asked for plugins.
        chosen, places = source, []
    return folder


@functools.cache
def walker(version: str, include: Path) -> Path:
    """plugin_host.cpp as a library."""
    folder = libraries(version, include)
    made = folder / "walker.so"
    source = HERE / "plugin_host.cpp"
    plugin_tools.run(
        [
            *(plugin_tools.program("g++"), "-std=c++17", "-O0", "-shared", "-fPIC"),
            *("-Dmain=plugin_host_main", "-I", folder, "-isystem", include, source, "-ldl"),
            *("-o", made),
        ]
    )
    return made


@functools.cache
def cpp_plugin(version: str, include: Path) -> plugin_tools.Built:
    """The C++ plugin without kernels, and its walker: enough until something is launched."""
    folder = libraries(version, include) / "cpp"
    folder.mkdir()
    none = folder / "none.cpp"
    none.write_text(NO_KERNELS, encoding="utf-8")
    compiler = plugin_tools.program("g++")
    plugin = plugin_tools.PLUGIN
    places = ("-I", folder.parent, "-I", plugin, "-I", plugin.parent, "-isystem", include)
    cuda = ("-isystem", plugin_tools.cuda_headers())
    names = ("driver", "exports", "fields", "log", "plugin", "prepared", "tensors")
    sources = [plugin / f"{name}.cpp" for name in names]
    library, walker = folder / "libacf_plugins.so", folder / "plugin_host"
    common = (compiler, "-std=c++17", "-O0", "-fPIC", *places, *cuda)
    plugin_tools.run([*common, "-shared", *sources, none, "-ldl", "-o", library])
    plugin_tools.run([*common, HERE / "plugin_host.cpp", "-ldl", "-o", walker])
    return plugin_tools.Built(
        version, folder, library, library, walker, folder / "no.cuda", folder / "no.kernels"
    )


def headers_for(version: str) -> Path:
    """The headers of that version or the next best of its major one. Skips without any."""
    wanted = [int(part) for part in version.split(".")]
    found = plugin_tools.headers()
    major = [name for name in found if int(name.split(".")[0]) == wanted[0]]
    same = [name for name in major if int(name.split(".")[1]) == wanted[1]]
    if not major or (wanted[0] == 10 and not same):
        pytest.skip(f"no headers of TensorRT {version} (ACF_TENSORRT_HEADERS)")
    return found[(same or major)[-1]]


def python(
    version: str, arguments: Sequence[str | Path], folder: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these bindings over these libraries."""
    places = [str(bindings()[version]), str(HERE), str(HERE.parent)]
    environment: Mapping[str, str] = {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": os.pathsep.join(places),
        **more,
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
