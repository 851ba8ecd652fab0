"""The emulation catches what a GPU may or may not forgive; elements are converted exactly."""

from __future__ import annotations

import numpy as np
import pytest
from host_kernels import Buffers, HostError, HostKernels, build_kernels

from acf_edge.cuda.plan import Arg, Launch, Pointer

SOURCE = r"""
#include "acf/gate.cuh"
#include "acf/reduce.cuh"

#define KERNEL extern "C" __global__ void

KERNEL reversed_in_block(const float* in, float* out, int with_barrier) {
    __shared__ float held[96];
    held[threadIdx.x] = in[threadIdx.x];
    if (with_barrier) __syncthreads();
    out[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}
KERNEL sum_in_block(const float* in, float* out) {
    __shared__ float scratch[32];
    const float sum = acf::block_sum(in[threadIdx.x], scratch);
    if (threadIdx.x == 0) out[0] = sum;
}
KERNEL unset(float* out) {
    __shared__ float held[4];
    out[threadIdx.x] = held[threadIdx.x];
    held[threadIdx.x] = 1.0f;
}
KERNEL reads_at(const float* in, float* out, int index) { out[0] = in[index]; }
KERNEL writes_at(const float* in, float* out, int index) { out[index] = in[0]; }
KERNEL loads_pack(const float* in, float* out, int index) {
    acf::store(out, acf::load(in + index));
}
KERNEL leaves_early(float* out) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    out[threadIdx.x] = 0.0f;
}
KERNEL half_a_shuffle(float* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
KERNEL lanes(float* out) {
    const float own = threadIdx.x;
    const float down = __shfl_down_sync(0xffffffffu, own, 5);
    const float seventh = __shfl_sync(0xffffffffu, own, 7);
    const float up = __shfl_up_sync(0xffffffffu, own, 1, 8);
    out[threadIdx.x] = down + 100 * seventh + 10000 * up;
}
KERNEL widened(const acf::Half* in, float* out) { out[blockIdx.x] = acf::widen(in[blockIdx.x]); }
KERNEL narrowed(const float* in, acf::Half* out) {
    out[blockIdx.x] = acf::narrow<acf::Half>(in[blockIdx.x]);
}
KERNEL rounded(const float* in, acf::Int8* out) {
    out[blockIdx.x] = acf::narrow<acf::Int8>(in[blockIdx.x]);
}
KERNEL bytes(const acf::Int8* in, float* out) {
    float value[16];
    acf::unpack<acf::Int8>(acf::load(in + 16 * blockIdx.x), value);
    const int first = 16 * blockIdx.x;
    for (int i = 0; i < 16; ++i) out[first + i] = value[i] - in[first + i];
}
KERNEL shifts(const acf::Int8* in, acf::Int8* out) {
    const acf::Pair pair = acf::load_pair(in + blockIdx.x);
    acf::store(out + 16 * blockIdx.x, acf::shifted(pair, blockIdx.x % 16));
}
KERNEL sigmoids(const float* in, float* out) { out[blockIdx.x] = acf::sigmoid(in[blockIdx.x]); }
"""


def kernels() -> HostKernels:
    return build_kernels((), SOURCE)


def launch(name: str, *arguments: Arg, threads: int = 1, blocks: int = 1) -> Launch:
    return Launch(name, (blocks, 1, 1), (threads, 1, 1), 0, arguments)


IN, OUT = Pointer("in"), Pointer("out")


def call(
    name: str,
    values: np.ndarray,  # type: ignore[type-arg]
    dtype: type[np.generic],
    count: int,
    blocks: int = 1,
) -> np.ndarray:  # type: ignore[type-arg]
    with Buffers(kernels()) as buffers:
        buffers.put("in", values)
        out = buffers.new("out", (count,), dtype)
        kernels().launch(launch(name, IN, OUT, blocks=blocks), buffers)
    return out.array


def reverse(order: int, barrier: int) -> bool:
    values = np.arange(96, dtype=np.float32)
    with Buffers(kernels()) as buffers:
        buffers.put("in", values)
        out = buffers.new("out", (96,), np.float32)
        step = launch("reversed_in_block", IN, OUT, np.int32(barrier), threads=96)
        kernels().launch(step, buffers, order)
    return bool((out.array == values[::-1]).all())


def test_a_missing_barrier_shows_in_every_order() -> None:
    assert all(reverse(order, barrier=1) for order in range(5))
    assert not any(reverse(order, barrier=0) for order in range(5))


@pytest.mark.parametrize("order", range(4))
def test_a_block_sums_in_one_order(order: int) -> None:
    values = np.random.default_rng(0).normal(size=256).astype(np.float32)
    with Buffers(kernels()) as buffers:
        buffers.put("in", values)
        out = buffers.new("out", (1,), np.float32)
        kernels().launch(launch("sum_in_block", IN, OUT, threads=256), buffers, order)
    # Lanes fold onto each other: 16, 8, 4, 2, 1; then warps do.
    lanes = values.reshape(8, 32)
    for half in (16, 8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half : 2 * half]
    warps = lanes[:, 0]
    for half in (4, 2, 1):
        warps = warps[:half] + warps[half : 2 * half]
    assert out.array[0] == warps[0]


def test_shared_memory_is_rubbish_in_every_block() -> None:
    with Buffers(kernels()) as buffers:
        out = buffers.new("out", (4,), np.float32)
        kernels().launch(launch("unset", OUT, threads=4, blocks=3), buffers)
    assert np.isnan(out.array).all()


@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("name", ["reads_at", "writes_at"])
def test_an_access_outside_a_buffer_is_told(name: str, front: bool) -> None:
    with Buffers(kernels(), front=front) as buffers:
        buffers.put("in", np.zeros(8, np.float32))
        buffers.new("out", (8,), np.float32)
        kernels().launch(launch(name, IN, OUT, np.int32(7)), buffers)
        with pytest.raises(HostError, match=rf"{name}: an access outside .* thread \(0, 0, 0\)"):
            kernels().launch(launch(name, IN, OUT, np.int32(-1 if front else 8)), buffers)


def test_a_write_beside_a_buffer_is_told() -> None:
    with Buffers(kernels(), front=True) as buffers:
        buffers.put("in", np.zeros(8, np.float32))
        buffers.new("out", (8,), np.float32)
        with pytest.raises(HostError, match="4 bytes beside 'out' were overwritten"):
            kernels().launch(launch("writes_at", IN, OUT, np.int32(11)), buffers)


def test_a_misaligned_pack_is_told() -> None:
    with Buffers(kernels()) as buffers:
        buffers.put("in", np.zeros(16, np.float32))
        buffers.new("out", (4,), np.float32)
        kernels().launch(launch("loads_pack", IN, OUT, np.int32(4)), buffers)
        with pytest.raises(HostError, match="misaligned"):
            kernels().launch(launch("loads_pack", IN, OUT, np.int32(5)), buffers)


@pytest.mark.parametrize(
    ("name", "threads", "words"),
    [
        ("leaves_early", 32, "a barrier that some threads do not reach"),
        ("half_a_shuffle", 32, "a lane that has ended"),
        ("half_a_shuffle", 16, "lanes that the block lacks"),
        ("leaves_early", 1025, "a block of a size that no GPU has"),
        ("nowhere", 1, "no such kernel"),
        ("reads_at", 1, "takes 3 arguments, not 1"),
    ],
)
def test_what_no_kernel_may_do_is_told(name: str, threads: int, words: str) -> None:
    with Buffers(kernels()) as buffers:
        buffers.new("out", (32,), np.float32)
        with pytest.raises(HostError, match=words):
            kernels().launch(launch(name, OUT, threads=threads), buffers)


def test_an_argument_of_the_wrong_size_is_told() -> None:
    with Buffers(kernels()) as buffers:
        buffers.new("in", (1,), np.float32)
        buffers.new("out", (1,), np.float32)
        with pytest.raises(HostError, match="argument 2 has 4 bytes, not 8"):
            kernels().launch(launch("reads_at", IN, OUT, np.int64(0)), buffers)


@pytest.mark.parametrize("order", range(4))
def test_shuffles_are_cudas(order: int) -> None:
    with Buffers(kernels()) as buffers:
        out = buffers.new("out", (32,), np.float32)
        kernels().launch(launch("lanes", OUT, threads=32), buffers, order)
    lane = np.arange(32)
    down = np.where(lane + 5 < 32, lane + 5, lane)
    up = np.where(lane % 8 >= 1, lane - 1, lane)
    np.testing.assert_array_equal(out.array, down + 700 + 10000 * up)


def test_every_half_is_widened_as_numpy_does() -> None:
    every = np.arange(65536, dtype=np.uint16)
    found = call("widened", every, np.float32, every.size, blocks=every.size)
    np.testing.assert_array_equal(found, every.view(np.float16).astype(np.float32))


def test_floats_are_narrowed_to_the_nearest_half() -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (halves[:-1].astype(np.float64) + halves[1:]) / 2
    close = [np.nextafter(middle.astype(np.float32), np.float32(to)) for to in (-np.inf, np.inf)]
    special = np.array([0.0, -0.0, np.inf, -np.inf, 65519.9, 65520.0, 7e4, 1e-30, -1e-45, 3e38])
    values = np.concatenate([middle, *close, -middle, special]).astype(np.float32)[::3]
    found = call("narrowed", values, np.uint16, values.size, blocks=values.size)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, values.astype(np.float16).view(np.uint16))
    lost = call("narrowed", np.array([np.nan], np.float32), np.float16, 1)
    assert np.isnan(lost[0])


def test_floats_are_rounded_to_int8() -> None:
    values = np.arange(-1100, 1101, dtype=np.float32) / 8
    values = np.concatenate([values, np.array([np.inf, -np.inf, 1e30, np.nan], np.float32)])
    found = call("rounded", values, np.int8, values.size, blocks=values.size)
    expected = np.clip(np.rint(values), -128, 127)
    expected[-1] = -128
    np.testing.assert_array_equal(found, expected)


def test_every_byte_is_unpacked() -> None:
    every = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(call("bytes", every, np.float32, 256, blocks=16), np.zeros(256))


def test_packs_are_shifted_from_any_byte() -> None:
    values = np.random.default_rng(0).integers(-128, 128, 64).astype(np.int8)
    found = call("shifts", values, np.int8, 16 * 32, blocks=32).reshape(32, 16)
    expected = np.lib.stride_tricks.sliding_window_view(values, 16)[:32]
    np.testing.assert_array_equal(found, expected)


def test_the_sigmoid_of_votes_is_exact_to_a_few_last_places() -> None:
    values = np.linspace(-86, 86, 3001, dtype=np.float32)
    found = call("sigmoids", values, np.float32, values.size, blocks=values.size)
    exact = 1 / (1 + np.exp(-values.astype(np.float64)))
    assert (np.abs(found - exact) / exact).max() < 4e-7
    far = np.array([-np.inf, -1e30, -200, 200, 1e30, np.inf], np.float32)
    assert call("sigmoids", far, np.float32, 6, blocks=6).tolist() == [0, 0, 0, 1, 1, 1]
    assert np.isnan(call("sigmoids", np.array([np.nan], np.float32), np.float32, 1)[0])
