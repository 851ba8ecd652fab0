"""Cubins that several tests look at: each is compiled once in a run of the tests."""

from __future__ import annotations

import functools

import pytest

from acf_edge.cuda import Cubin, compile_cubin
from acf_edge.cuda.nvrtc import SMS, header_folder, supported, version
from acf_edge.errors import InputError

# Parameters of 8, 8, 4, 2 and 8 bytes; 1200 bytes of shared memory.
SMALL = b"""
#include <cuda_fp16.h>
struct Pair { float x; short y; };
extern "C" __global__ void small(float const* in, float* out, int n, __half h, Pair p) {
    __shared__ float seen[300];
    int const i = blockIdx.x * blockDim.x + threadIdx.x;
    seen[threadIdx.x] = i < n ? in[i] : 0.0f;
    __syncthreads();
    if (i < n) out[i] = seen[255 - threadIdx.x] + __half2float(h) + p.x * p.y;
}
"""


def need_nvrtc() -> None:
    """Skip the calling test where the kernels cannot be compiled."""
    try:
        header_folder(version())
    except InputError as error:
        pytest.skip(str(error))


def able_sms() -> list[str]:
    """The SMs of ours that the NVRTC here makes code for; all of them from CUDA 13 on."""
    return [sm for sm in SMS if sm in supported()]


@functools.cache
def compiled(sm: str) -> Cubin:
    """The project's kernels for ``sm``; skips where they cannot be compiled."""
    need_nvrtc()
    if sm not in supported():
        pytest.skip(f"this NVRTC makes no code for SM {sm}")
    return compile_cubin(sm)
