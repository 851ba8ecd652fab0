"""Launches: the arguments are copied, and what the GPU would misread is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from fake_cuda import FakeKernel, Machine
from test_cuda_streams import lazy

from acf_edge.cuda import CudaError, DeviceBuffer, Kernels, Stream, fill, open_device
from acf_edge.errors import InputError

__all__ = ["lazy"]


def test_a_launch_copies_its_arguments(lazy: Machine) -> None:
    device = open_device()
    kernels, stream = Kernels(device, lazy.cubin()), Stream()
    source, target = DeviceBuffer(4), DeviceBuffer(4)
    fill(source.pointer, 1, 4, stream)
    term = np.array([41], np.int32)
    arguments = (source.pointer, target.pointer, np.int32(4), term[0])
    kernels.launch("add", (1, 1, 1), (32, 1, 1), arguments, 0, stream)
    term[0] = 0
    del arguments
    stream.synchronize()
    assert (lazy.memory.view(target.pointer, 4) == 42).all()


@pytest.mark.parametrize(
    ("name", "grid", "arguments", "said"),
    [
        ("sub", (1, 1, 1), (), "no kernel 'sub'; there are add"),
        ("add", (1, 1, 1), (1, 2, np.int32(3)), "takes 4 arguments, not 3"),
        ("add", (1, 1, 1), (1, 2, np.int64(3), np.int32(3)), "argument 2 of 'add' takes 4 bytes"),
        ("add", (1, 1, 1), (1, 2, 3, np.int32(3)), "argument 2 of 'add' takes 4 bytes"),
        ("add", (1, 1, 1), (1, 2, 3.0, np.int32(3)), "no size"),
        ("add", (1, 1, 1), (1, 2, np.int32(3), True), "no size"),
        ("add", (0, 1, 1), (1, 2, np.int32(3), np.int32(3)), "cannot be launched"),
        ("add", (1, 65536, 1), (1, 2, np.int32(3), np.int32(3)), "cannot be launched"),
    ],
)
def test_a_launch_that_the_gpu_would_take_for_something_else_is_refused(
    name: str, grid: tuple[int, int, int], arguments: tuple[object, ...], said: str, lazy: Machine
) -> None:
    kernels = Kernels(open_device(), lazy.cubin())
    with pytest.raises(ValueError, match=said):
        kernels.launch(name, grid, (32, 1, 1), arguments, 0, 0)  # type: ignore[arg-type]
    assert "cuLaunchKernel" not in lazy.calls


def test_much_shared_memory_is_asked_for_once(lazy: Machine) -> None:
    kernels, buffer = Kernels(open_device(), lazy.cubin()), DeviceBuffer(4)
    arguments = (buffer.pointer, buffer.pointer, np.int32(4), np.int32(1))
    for shared in (1000, 64 << 10, 60 << 10):
        kernels.launch("add", (1, 1, 1), (32, 1, 1), arguments, shared, 0)
    assert lazy.calls.count("cuFuncSetAttribute") == 1


def test_code_of_another_gpu_is_refused_with_words(lazy: Machine) -> None:
    device = open_device()
    lazy.fail("cuModuleLoadData", "CUDA_ERROR_NO_BINARY_FOR_GPU")
    with pytest.raises(InputError, match=r"SM 87.*SM 87.*NO_BINARY"):
        Kernels(device, lazy.cubin())
    lazy.fail("cuModuleLoadData", "CUDA_ERROR_LAUNCH_FAILED")
    with pytest.raises(CudaError) as caught:
        Kernels(device, lazy.cubin())
    assert caught.value.sticky


def test_structures_pass_by_value(lazy: Machine) -> None:
    seen: list[bytes] = []
    lazy.kernels["take"] = FakeKernel((12, 2), lambda _, __, ___, given: seen.extend(given))
    kernels = Kernels(open_device(), lazy.cubin())
    value = struct.pack("<fff", 1, 2, 3)
    kernels.launch("take", (1, 1, 1), (1, 1, 1), (value, np.float16(0.5)), 0, 0)
    Stream.borrowed(0).synchronize()
    assert seen == [value, np.float16(0.5).tobytes()]
