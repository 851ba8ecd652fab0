"""Arrays on the GPU pass in and out without a copy, in order, and live as long as they are used."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fake_cuda
import numpy as np
import pytest
from fake_cuda import Machine

from acf_edge.cuda import (
    DeviceArray,
    DeviceBuffer,
    HostBuffer,
    Stream,
    as_device_array,
    copy_out,
    dlpack,
    fill,
    open_device,
)
from acf_edge.errors import InputError

UINT8 = np.dtype(np.uint8)


@pytest.fixture
def gpu() -> Iterator[Machine]:
    with fake_cuda.installed(Machine("lazy")) as made:
        open_device()
        yield made


@dataclass
class Foreign:
    """An array of another library, known by its address alone."""

    __cuda_array_interface__: dict[str, Any]


class Owner:
    """Something whose death can be seen."""


def interface(**changes: Any) -> Foreign:
    told = {"shape": (2, 3), "typestr": "<f4", "data": (4096, False), "version": 3}
    return Foreign({**told, **changes})


def test_the_interface_says_what_the_array_is() -> None:
    array = DeviceArray(4096, (2, 3, 4), np.dtype(np.float16), stream=0x5000)
    assert array.size == 48
    assert array.__cuda_array_interface__ == {
        "shape": (2, 3, 4),
        "typestr": "<f2",
        "data": (4096, False),
        "strides": None,
        "stream": 0x5000,
        "version": 3,
    }
    # 0 would be ambiguous there, and an empty array has no address.
    assert DeviceArray(1, (1,), UINT8, stream=0).__cuda_array_interface__["stream"] == 1
    assert DeviceArray(1, (0,), UINT8).__cuda_array_interface__["data"] == (0, False)


def test_an_interface_is_taken_in() -> None:
    foreign = interface()
    array = as_device_array(foreign)
    assert array == DeviceArray(4096, (2, 3), np.dtype("<f4"), foreign)
    assert array.owner is foreign
    assert as_device_array(array) is array
    strides = {"strides": (12, 4), "stream": 7}
    assert as_device_array(interface(**strides)).stream == 7
    # An axis of one has any stride, and so has what is empty.
    assert as_device_array(interface(shape=(1, 3), strides=(999, 4))).shape == (1, 3)
    assert as_device_array(interface(shape=(0, 3), strides=(1, 1))).size == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strides": (4, 8)}, "contiguous"),
        ({"strides": (24, 4)}, "gaps"),
        ({"mask": object()}, "masked"),
        ({"typestr": ">f4"}, "Convert"),
    ],
)
def test_what_has_another_layout_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        as_device_array(interface(**changes))


def test_what_lies_on_the_host_is_refused() -> None:
    with pytest.raises(InputError, match=r"ndarray does not lie on a CUDA device"):
        as_device_array(np.zeros(3))
    with pytest.raises(InputError, match=r"list is no array"):
        as_device_array([1, 2])


@pytest.mark.parametrize("by_interface", [True, False], ids=["interface", "dlpack"])
def test_the_consumer_waits_for_the_producer(gpu: Machine, by_interface: bool) -> None:
    producer, consumer = Stream(), Stream()
    buffer, host = DeviceBuffer(16), HostBuffer(16)
    fill(buffer.pointer, 9, 16, producer)
    array = DeviceArray(buffer.pointer, (16,), UINT8, buffer, producer.handle)
    foreign: object = Foreign(array.__cuda_array_interface__) if by_interface else Exported(array)
    taken = as_device_array(foreign, consumer)
    assert taken.stream is None  # nothing is pending for who uses the stream that was named
    copy_out(host, taken.pointer, 16, consumer)
    consumer.synchronize()
    assert (host.array == 9).all()
    assert gpu.leaks() == {"stream": 2, "memory": 2}


def test_without_a_stream_the_caller_is_told_what_is_pending(gpu: Machine) -> None:
    producer, consumer = Stream(), Stream()
    buffer, host = DeviceBuffer(16), HostBuffer(16)
    fill(buffer.pointer, 9, 16, producer)
    array = DeviceArray(buffer.pointer, (16,), UINT8, buffer, producer.handle)
    assert as_device_array(Foreign(array.__cuda_array_interface__)).stream == producer.handle
    taken = as_device_array(Exported(array))
    assert taken.stream == 1  # DLPack let the legacy stream wait
    again = as_device_array(taken, consumer)
    copy_out(host, again.pointer, 16, consumer)
    consumer.synchronize()
    assert (host.array == 9).all()


class Exported:
    """A library that hands its array over by DLPack."""

    def __init__(self, array: DeviceArray) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None) -> object:
        return self._array.__dlpack__(stream=stream)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f4", "f8", "?"])
def test_dlpack_there_and_back(dtype: str) -> None:
    array = DeviceArray(4096, (2, 3, 5), np.dtype(dtype), device=3)
    back = as_device_array(Exported(array))
    assert (back.pointer, back.shape, back.dtype, back.device) == (4096, (2, 3, 5), dtype, 3)


def test_the_owner_lives_until_the_consumer_lets_go() -> None:
    owner = Owner()
    seen = weakref.ref(owner)
    taken = as_device_array(Exported(DeviceArray(4096, (4,), UINT8, owner)))
    del owner
    gc.collect()
    assert seen() is not None
    del taken
    gc.collect()
    assert seen() is None


def test_a_capsule_that_nobody_took_lets_go() -> None:
    owner = Owner()
    seen = weakref.ref(owner)
    capsule = DeviceArray(4096, (4,), UINT8, owner).__dlpack__()
    del owner
    gc.collect()
    assert seen() is not None
    del capsule
    gc.collect()
    assert seen() is None


def test_a_capsule_is_taken_once() -> None:
    capsule = DeviceArray(4096, (4,), UINT8).__dlpack__()
    dlpack.unwrap(capsule)
    with pytest.raises(ValueError, match="fresh"):
        dlpack.unwrap(capsule)
    with pytest.raises(ValueError, match="fresh"):
        dlpack.unwrap(object())


def test_numpy_reads_our_capsules_and_we_read_its(monkeypatch: pytest.MonkeyPatch) -> None:
    """The structures are right: another library finds the same elements in host memory."""
    there = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    taken = dlpack.unwrap(there.__dlpack__())
    assert (taken.pointer, taken.shape, taken.dtype) == (there.ctypes.data, (2, 3, 4), there.dtype)
    turned = dlpack.unwrap(there.T.__dlpack__())
    assert (turned.shape, turned.strides) == ((4, 3, 2), (1, 4, 12))
    monkeypatch.setattr(dlpack, "CUDA", 1)  # DLPack's number for the CPU
    ours = DeviceArray(there.ctypes.data, there.shape, there.dtype, there)
    read = np.from_dlpack(ours)
    assert (read == there).all()
    assert read.ctypes.data == there.ctypes.data
    seen = weakref.ref(there)
    del there, taken, turned, ours
    gc.collect()
    assert seen() is not None
    assert read.sum() == 276
    del read
    gc.collect()
    assert seen() is None


def test_torch_reads_our_capsules(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    there = np.arange(6, dtype=np.float16).reshape(2, 3)
    monkeypatch.setattr(dlpack, "CUDA", 1)
    tensor = torch.from_dlpack(DeviceArray(there.ctypes.data, there.shape, there.dtype, there))
    assert tensor.tolist() == there.tolist()
    tensor[0, 0] = 5
    assert there[0, 0] == 5


def test_what_dlpack_cannot_do_is_refused() -> None:
    array = DeviceArray(4096, (4,), UINT8)
    for wish in ({"copy": True}, {"dl_device": (1, 0)}):
        with pytest.raises(BufferError):
            array.__dlpack__(**wish)  # type: ignore[arg-type]
    with pytest.raises(BufferError, match="carry"):
        DeviceArray(4096, (4,), np.dtype("M8[s]")).__dlpack__()
