"""Kernels that were compiled once: their hash, the cache, a GPU that takes them, C++ source."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import fake_cuda
import numpy as np
import pytest
from cuda_cubins import SMALL, need_nvrtc

from acf_edge.cuda import (
    Kernels,
    kernel_hash,
    load_kernels,
    nvrtc,
    open_device,
    sources,
    store,
)
from acf_edge.cuda import __main__ as command
from acf_edge.cuda.cubin import Cubin
from acf_edge.errors import InputError, MissingExtraError
from acf_edge.resources import data_folder

# The hash of the sources.


def copy_of_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(data_folder("kernels"), folder / "kernels")
    monkeypatch.setattr(sources, "data_folder", lambda name: folder / name)
    return folder / "kernels"


def test_the_hash_is_of_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = kernel_hash()
    assert len(true) == 64
    kernels = copy_of_kernels(tmp_path, monkeypatch)
    assert kernel_hash() == true
    (kernels / "README.md").write_text("other words")
    assert kernel_hash() == true
    for path in (next(kernels.glob("*.cu")), next((kernels / "acf").glob("*.cuh"))):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert kernel_hash() != true
        path.write_bytes(content)
    next(kernels.glob("*.cu")).rename(kernels / "another.cu")
    assert kernel_hash() != true
    shutil.rmtree(kernels)
    kernels.mkdir()
    with pytest.raises(InputError, match="holds no kernels"):
        kernel_hash()


# The cache.


@pytest.fixture
def small_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One small kernel in place of the project's; the list grows with each compilation."""
    need_nvrtc()
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "small.cu").write_bytes(SMALL)
    monkeypatch.setattr(sources, "data_folder", lambda name: folder)
    done: list[str] = []
    compile_it = nvrtc.compile_cubin

    def counted(sm: str) -> Cubin:
        done.append(sm)
        return compile_it(sm)

    monkeypatch.setattr(nvrtc, "compile_cubin", counted)
    return done


def test_a_cubin_is_compiled_once_for_each_sm_and_source(
    small_kernels: list[str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = store.cached_cubin("87", folder=cache)
    assert store.cached_cubin("87", folder=cache) == first
    assert small_kernels == ["87"]
    assert store.cached_cubin("86", folder=cache).sm == "86"
    (tmp_path / "kernels" / "small.cu").write_bytes(SMALL + b"\n")
    store.cached_cubin("87", folder=cache)
    assert small_kernels == ["87", "86", "87"]
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_entry_is_compiled_again(small_kernels: list[str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = store.cached_cubin("87", folder=cache)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    told = whole.replace(b'"registers": ', b'"registers": 1', 1)
    for damaged in (b"", whole[:-1], bytes(flipped), b"[]\n" + whole, told, b"\xff\xfe"):
        entry.write_bytes(damaged)
        before = len(small_kernels)
        assert store.cached_cubin("87", folder=cache) == first
        assert len(small_kernels) == before + 1
        assert entry.read_bytes() == whole


def test_without_nvrtc_an_earlier_entry_serves(
    small_kernels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = store.cached_cubin("87", folder=cache)
    major = nvrtc.version()[0]
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    assert store.cached_cubin("87", f"{major}.0", cache) == first
    with pytest.raises(MissingExtraError):  # made for a later driver
        store.cached_cubin("87", f"{major - 1}.8", cache)
    with pytest.raises(MissingExtraError):
        store.cached_cubin("86", folder=cache)


def test_code_that_the_driver_cannot_load_is_not_made(
    small_kernels: list[str], tmp_path: Path
) -> None:
    older = nvrtc.version()[0] - 1
    with pytest.raises(
        InputError, match=rf"driver of CUDA {older}\.6.*nvidia-cuda-nvrtc-cu{older}"
    ):
        store.cached_cubin("87", f"{older}.6", tmp_path)
    assert small_kernels == []


def test_a_cache_that_cannot_be_written_costs_only_time(
    small_kernels: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert store.cached_cubin("87", folder=tmp_path / "file").sm == "87"
    assert len(small_kernels) == 2


def test_the_cache_lies_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert store.cache_folder() == Path("/somewhere/acf-edge/kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says: ignore it
    assert store.cache_folder() == Path.home() / ".cache/acf-edge/kernels"


# On a GPU.


def test_a_kernel_runs_on_a_gpu_of_its_sm_alone(
    small_kernels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen: list[list[bytes]] = []
    major = nvrtc.version()[0]
    machine = fake_cuda.Machine(sm="87", driver=major * 1000)
    machine.kernels["small"] = fake_cuda.FakeKernel(
        (8, 8, 4, 2, 8), lambda memory, grid, block, arguments: seen.append(arguments)
    )
    with fake_cuda.installed(machine):
        device = open_device()
        kernels = load_kernels(device)
        pair = struct.pack("<fhxx", 1.5, -2)
        arguments = (16, 32, np.int32(7), np.float16(0.5), pair)
        kernels.launch("small", (1, 1, 1), (256, 1, 1), arguments, 0, 0)
        device.synchronize()
        with pytest.raises(InputError, match=r"SM 86.*SM 87"):
            Kernels(device, store.cached_cubin("86"))
    assert seen[0][2:] == [struct.pack("<i", 7), np.float16(0.5).tobytes(), pair]
    assert small_kernels == ["87", "86"]
    older = fake_cuda.Machine(sm="87", driver=(major - 1) * 1000 + 60)
    with fake_cuda.installed(older), pytest.raises(InputError, match="cannot load"):
        load_kernels(open_device())


def test_embedded_cubins_compile_and_are_the_same_bytes(
    small_kernels: list[str], tmp_path: Path
) -> None:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    assert command.main(["embed", str(tmp_path / "cubins.cpp"), "--sm", "87,86,87"]) == 0
    (tmp_path / "main.cpp").write_text(
        """
#include <cstdio>
namespace acf { namespace cubins {
struct Image { int sm; unsigned char const* data; unsigned long long size; };
extern Image const kImages[];
extern int const kImageCount;
extern char const kKernelHash[];
extern char const kCompiler[];
} }
int main() {
    using namespace acf::cubins;
    std::printf("%s %s", kKernelHash, kCompiler);
    for (int i = 0; i < kImageCount; ++i) {
        std::printf("\\n%d ", kImages[i].sm);
        for (unsigned long long j = 0; j < kImages[i].size; ++j)
            std::printf("%02x", kImages[i].data[j]);
    }
}
"""
    )
    program = tmp_path / "program"
    files = [str(tmp_path / "main.cpp"), str(tmp_path / "cubins.cpp")]
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *strict, "-o", str(program), *files], check=True)
    said = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    lines = said.splitlines()
    assert lines[0] == f"{kernel_hash()} NVRTC {'.'.join(map(str, nvrtc.version()))}"
    images = {sm: nvrtc.compile_cubin(sm).image.hex() for sm in ("86", "87")}
    assert lines[1:] == [f"{sm} {image}" for sm, image in images.items()]
