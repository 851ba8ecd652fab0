"""The kernels compile for every SM, spill nothing, and are what the passport's hash says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cuda_cubins import SMALL, able_sms, compiled, need_nvrtc

from acf_edge.cuda import __main__ as command
from acf_edge.cuda import (
    kernel_hash,
    nvrtc,
)
from acf_edge.cuda.cubin import BadCubinError, Cubin, Resources, read_kernels, with_log
from acf_edge.cuda.nvrtc import SMS, CompileError, compile_source
from acf_edge.errors import InputError, MissingExtraError

ROOT = Path(__file__).resolve().parent.parent

# 200 values that live at once in 64 registers.
SPILLING = b"""
extern "C" __global__ void __launch_bounds__(1024) spilling(float const* in, float* out, int n) {
    float v[200];
#pragma unroll
    for (int i = 0; i < 200; ++i) v[i] = in[i * n + threadIdx.x];
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 200; ++i) sum = sum * v[(i * 7) % 200] + v[i];
#pragma unroll
    for (int i = 0; i < 200; ++i) out[i * n + threadIdx.x] = v[199 - i] * sum;
}
"""


@pytest.mark.parametrize("sm", SMS)
def test_every_kernel_compiles_for_every_sm_and_spills_nothing(sm: str) -> None:
    cubin = compiled(sm)
    assert cubin.kernels
    assert {name for name, cost in cubin.kernels.items() if cost.spills} == set()
    assert all(0 < cost.registers <= 255 for cost in cubin.kernels.values())
    assert all(cost.shared <= 48 << 10 for cost in cubin.kernels.values())
    assert all(cost.parameters for cost in cubin.kernels.values())


def test_all_sms_have_the_same_kernels_with_the_same_parameters() -> None:
    need_nvrtc()
    shapes = {
        tuple((name, cost.parameters) for name, cost in compiled(sm).kernels.items())
        for sm in able_sms()
    }
    assert len(shapes) == 1


@pytest.mark.parametrize("sm", ["75", "87", "120"])
def test_a_cubin_tells_its_parameters_and_its_cost(sm: str) -> None:
    need_nvrtc()
    if sm not in able_sms():
        pytest.skip(f"this NVRTC makes no code for SM {sm}")
    cubin = compile_source(SMALL, "small.cu", sm)
    cost = cubin.kernels["small"]
    assert cost.parameters == (8, 8, 4, 2, 8)
    assert cost.shared == 1200
    assert (cost.local, cost.spill_stores, cost.spill_loads) == (0, 0, 0)
    assert not cost.spills
    alone = read_kernels(cubin.image)["small"]
    assert (alone.parameters, alone.registers) == (cost.parameters, cost.registers)


def test_a_spill_is_seen() -> None:
    need_nvrtc()
    cost = compile_source(SPILLING, "spilling.cu", "87").kernels["spilling"]
    assert cost.spills
    assert cost.spill_stores > 100
    assert cost.local > 100


def test_a_damaged_cubin_is_no_cubin() -> None:
    need_nvrtc()
    image = compile_source(SMALL, "small.cu", "87").image
    for damaged in (b"", b"\x7fELF", image[:200], image[: len(image) // 2], b"MZ" + image[2:]):
        with pytest.raises(BadCubinError):
            read_kernels(damaged)


def test_a_log_that_misses_a_kernel_is_no_clean_bill() -> None:
    known = {"a": Resources(1, 0, 0, 0, 0)}
    with pytest.raises(ValueError, match="lacks a"):
        with_log(known, "ptxas info : 0 bytes gmem")
    with pytest.raises(ValueError, match="does not say"):
        with_log(known, "Compiling entry function 'a' for 'sm_87'\nnothing more")


def test_a_function_that_was_not_inlined_spills_for_its_kernel() -> None:
    log = """ptxas info    : Compiling entry function 'a' for 'sm_87'
ptxas info    : Function properties for a
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z6helperPf
    8 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 30 registers, 384+0 bytes smem, 360 bytes cmem[0]"""
    cost = with_log({"a": Resources(1, 0, 0, 0, 0)}, log)["a"]
    assert cost == Resources(30, 384, 24, 12, 20)


def test_a_source_that_is_wrong_is_told_with_its_line() -> None:
    need_nvrtc()
    with pytest.raises(
        CompileError, match=r"'bad\.cu' does not compile: .*bad\.cu\(2\).*undefined"
    ):
        compile_source(b'extern "C" __global__ void k(int* o) {\n*o = x; }', "bad.cu", "87")


def test_an_sm_that_nvrtc_does_not_know_is_told() -> None:
    need_nvrtc()
    with pytest.raises(InputError, match="no code for SM 30, only for"):
        compile_source(SMALL, "small.cu", "30")


def test_missing_headers_are_told_and_what_was_found_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cuda_fp16.h").touch()
    (tmp_path / "cuda_runtime_api.h").write_text("#define CUDART_VERSION  11080\n")
    monkeypatch.setattr(nvrtc, "_header_candidates", lambda number: [tmp_path, tmp_path / "no"])
    with pytest.raises(InputError, match=r"CUDA 13 .*is of CUDA 11\.8"):
        nvrtc.header_folder((13, 5))
    assert nvrtc.header_folder((11, 2)) == tmp_path


def test_the_kernels_need_none_of_cudas_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Containers for running alone have NVRTC and no headers.
    need_nvrtc()
    monkeypatch.setattr(nvrtc, "_header_candidates", lambda number: [])
    assert nvrtc.compile_cubin("87").kernels == compiled("87").kernels


def test_a_missing_compiler_is_told_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(MissingExtraError, match=r"acf-edge\[tensorrt\]"):
        nvrtc.version()

    class Binding:
        @staticmethod
        def nvrtcVersion() -> None:
            raise RuntimeError("Failed to dlopen libnvrtc.so.12\nmore")

    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", Binding)
    with pytest.raises(InputError, match=r"libnvrtc\.so\.12\..*Jetson"):
        nvrtc.version()


# The command.


def test_the_table_fails_on_a_spill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = Resources(40, 128, 0, 0, 0, (8,))
    spilling = replace(clean, spill_stores=8, spill_loads=16, local=8)
    made = {
        "86": Cubin("86", b"", {"one": clean, "two": clean}, "NVRTC 1.2"),
        "87": Cubin("87", b"", {"one": clean, "two": spilling}, "NVRTC 1.2"),
    }
    monkeypatch.setattr(command, "compile_all", lambda sms: [made[sm] for sm in sms])
    assert command.main(["--sm", "86"]) == 0
    assert "spill in" not in capsys.readouterr().err
    assert command.main(["--sm", "86,87"]) == 1
    said = capsys.readouterr()
    assert "registers spill in two (SM 87)" in said.err
    assert "SM 87: 8 B out, 16 B in" in said.out
    assert command.main(["--json", "--sm", "86,87"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["spilling"] == ["two (SM 87)"]
    assert told["sms"]["86"]["one"]["registers"] == 40
    assert told["kernel_hash"] == kernel_hash()


def test_the_command_tells_an_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    need_nvrtc()
    assert command.main(["--sm", "30"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        command.main(["--sm", "sm_87"])
    assert left.value.code == 2


def test_nvcc_says_the_same(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(nvcc).exists():
        pytest.skip("no nvcc")
    run = subprocess.run(
        [str(ROOT / "kernels" / "compile.sh"), str(tmp_path), "87"],
        env={**os.environ, "PYTHON": sys.executable, "NVCC": nvcc},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    assert "nvcc" in run.stdout
    need_nvrtc()
    image = (tmp_path / "sm87.cubin").read_bytes()
    theirs = {name: cost.parameters for name, cost in read_kernels(image).items()}
    assert theirs == {name: cost.parameters for name, cost in compiled("87").kernels.items()}


def test_the_script_without_nvcc_says_so(tmp_path: Path) -> None:
    run = subprocess.run(
        [str(ROOT / "kernels" / "compile.sh"), str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "NVCC": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "no nvcc" in run.stderr
