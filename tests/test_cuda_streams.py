"""Streams, events, copies, launches and errors, on a stand-in that takes CUDA at its word."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator

import fake_cuda
import numpy as np
import pytest
from fake_cuda import FakeKernel, Machine

from acf_edge.cuda import (
    CudaError,
    Device,
    DeviceBuffer,
    Event,
    HostBuffer,
    Kernels,
    Stream,
    copy_device,
    copy_in,
    copy_out,
    fill,
    open_device,
)
from acf_edge.cuda.driver import DeviceMemoryError, device_count
from acf_edge.errors import InputError

SIZE = 1000
ORDERS = [("lazy", 0), ("eager", 0), ("random", 1), ("random", 2), ("random", 3)]


def add(memory: fake_cuda.Memory, grid: object, block: object, arguments: list[bytes]) -> None:
    source, target, size, term = fake_cuda.values("PPii", arguments)
    memory.view(target, size)[:] = memory.view(source, size) + np.uint8(term)


def machine(order: str = "lazy", seed: int = 0, **gpu: object) -> Machine:
    made = Machine(order, seed, **gpu)  # type: ignore[arg-type]
    made.kernels["add"] = FakeKernel((8, 8, 4, 4), add)
    return made


@pytest.fixture(params=ORDERS, ids=lambda order: f"{order[0]}{order[1]}")
def gpu(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with fake_cuda.installed(machine(*request.param)) as made:
        yield made


@pytest.fixture
def lazy() -> Iterator[Machine]:
    with fake_cuda.installed(machine()) as made:
        yield made


def test_a_device_says_what_it_is() -> None:
    with fake_cuda.installed(
        machine(sm="110", integrated=True, memory=1 << 20, driver=13020, devices=2, name="Thor")
    ):
        device = open_device(1)
        assert device == Device(1, "Thor", "110", True, 1 << 20, "13.2", device.context)
        buffer = DeviceBuffer(1 << 18)
        assert device.free_memory() == 3 << 18
        buffer.close()


@pytest.mark.parametrize(
    ("gpus", "ordinal", "said"),
    [(0, 0, "CUDA_VISIBLE_DEVICES"), (1, 1, "number 0"), (3, -1, "0 to 2")],
)
def test_a_gpu_that_is_not_there_is_told_with_the_way_out(
    gpus: int, ordinal: int, said: str
) -> None:
    with (
        fake_cuda.installed(machine(devices=gpus)),
        pytest.raises(InputError, match=said) as caught,
    ):
        open_device(ordinal)
    assert caught.value.exit_code == 2


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine()

    def missing(*_: object) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setitem(made.__dict__, "cuInit", missing)
    with fake_cuda.installed(made), pytest.raises(InputError, match=r"No NVIDIA driver.*libcuda"):
        device_count()


def round_trip(chained: bool, through_event: bool) -> bool:
    """Host -> GPU on one stream, a kernel on another, GPU -> host on a third."""
    device = open_device()
    kernels = Kernels(device, fake_cuda_cubin())
    up, work, down = Stream(), Stream(), Stream()
    source, target = DeviceBuffer(SIZE), DeviceBuffer(SIZE)
    host_in, host_out = HostBuffer(SIZE), HostBuffer(SIZE)
    copied, computed = Event(), Event()
    right = True
    for turn in range(4):
        host_in.array[:] = turn
        copy_in(source.pointer, host_in, SIZE, up)
        copied.record(up)
        if chained:
            work.wait(copied)
        arguments = (source.pointer, target.pointer, np.int32(SIZE), np.int32(100))
        kernels.launch("add", (4, 1, 1), (256, 1, 1), arguments, 0, work)
        computed.record(work)
        if chained:
            down.wait(computed)
        copy_out(host_out, target.pointer, SIZE, down)
        down.synchronize()
        if through_event:
            right &= bool((host_out.array == turn + 100).all())
    for thing in (up, work, down, source, target, host_in, host_out, copied, computed, kernels):
        thing.close()
        thing.close()
    return right


def fake_cuda_cubin() -> fake_cuda.Cubin:
    from acf_edge.cuda.driver import binding

    made: Machine = binding()
    return made.cubin()


def test_events_keep_three_streams_in_order(gpu: Machine) -> None:
    assert round_trip(chained=True, through_event=True)
    gpu.cuCtxSynchronize()
    assert gpu.leaks() == {}


def test_a_missing_event_shows_as_wrong_bytes(lazy: Machine) -> None:
    assert not round_trip(chained=False, through_event=True)


def test_a_host_buffer_that_is_written_too_soon_shows(lazy: Machine) -> None:
    open_device()
    stream, buffer, host = Stream(), DeviceBuffer(SIZE), HostBuffer(SIZE)
    host.array[:] = 1
    copy_in(buffer.pointer, host, SIZE, stream)
    host.array[:] = 2  # the copy did not run yet
    copy_out(host, buffer.pointer, SIZE, stream)
    stream.synchronize()
    assert (host.array == 2).all()
    host.array[:] = 3
    copy_in(buffer.pointer, host, SIZE, stream)
    stream.synchronize()
    host.array[:] = 4
    assert (lazy.memory.view(buffer.pointer, SIZE) == 3).all()


def test_new_memory_holds_noise(lazy: Machine) -> None:
    open_device()
    first, second = DeviceBuffer(SIZE), DeviceBuffer(SIZE)
    seen = [lazy.memory.view(buffer.pointer, SIZE) for buffer in (first, second)]
    assert len(set(seen[0].tolist())) > 100
    assert (seen[0] != seen[1]).any()


def test_work_on_freed_memory_loses_the_context(lazy: Machine) -> None:
    open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    fill(buffer.pointer, 7, SIZE, stream)
    buffer.close()
    for _ in range(2):
        with pytest.raises(CudaError) as caught:
            stream.synchronize()
        assert caught.value.name == "CUDA_ERROR_ILLEGAL_ADDRESS"
        assert caught.value.sticky
        assert caught.value.exit_code == 1
    with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
        DeviceBuffer(1)


def test_a_write_past_the_end_loses_the_context(gpu: Machine) -> None:
    open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
        fill(buffer.pointer + 1, 7, SIZE, stream)
        stream.synchronize()


def test_copies_keep_offsets_and_refuse_what_does_not_fit(gpu: Machine) -> None:
    open_device()
    stream, first, second = Stream(), DeviceBuffer(SIZE), DeviceBuffer(SIZE)
    host, back = HostBuffer(SIZE), HostBuffer(SIZE)
    host.array[:] = np.arange(SIZE) % 251
    expected = host.array[300:400].copy()
    copy_in(first.pointer + 10, host, 100, stream, offset=300)
    copy_device(second.pointer + 20, first.pointer + 10, 100, stream)
    copy_out(back, second.pointer + 20, 100, stream, offset=900)
    stream.synchronize()
    assert (back.array[900:] == expected).all()
    for size, offset in ((SIZE + 1, 0), (100, 901), (0, 0), (1, -1)):
        with pytest.raises(ValueError):
            copy_in(first.pointer, host, size, stream, offset=offset)
        with pytest.raises(ValueError):
            copy_out(host, first.pointer, size, stream, offset=offset)
    with pytest.raises(ValueError):
        fill(first.pointer, 256, 1, stream)
    host.close()
    with pytest.raises(ValueError, match="closed"):
        copy_in(first.pointer, host, 1, stream)


def test_mapped_memory_is_one_for_host_and_gpu(gpu: Machine) -> None:
    device = open_device()
    kernels, stream = Kernels(device, gpu.cubin()), Stream()
    source, target = HostBuffer(SIZE, mapped=True), HostBuffer(SIZE, mapped=True)
    source.array[:] = 5
    arguments = (source.device_pointer, target.device_pointer, np.int32(SIZE), np.int32(1))
    kernels.launch("add", (4, 1, 1), (256, 1, 1), arguments, 0, stream)  # type: ignore[arg-type]
    stream.synchronize()
    assert (target.array == 6).all()
    assert HostBuffer(8).device_pointer is None


def test_too_little_memory_is_an_error_of_the_input_and_passes() -> None:
    with fake_cuda.installed(machine(memory=2000)):
        open_device()
        first = DeviceBuffer(1500)
        with pytest.raises(DeviceMemoryError, match="smaller frames") as caught:
            DeviceBuffer(1000)
        assert (caught.value.sticky, caught.value.exit_code) == (False, 2)
        assert isinstance(caught.value, InputError)
        first.close()
        DeviceBuffer(1000).close()
        with pytest.raises(ValueError):
            DeviceBuffer(0)


def test_a_failed_mapping_leaves_nothing_behind(lazy: Machine) -> None:
    open_device()
    lazy.fail("cuMemHostGetDevicePointer", "CUDA_ERROR_NOT_SUPPORTED")
    with pytest.raises(CudaError, match="NOT_SUPPORTED"):
        HostBuffer(10, mapped=True)
    assert lazy.leaks() == {}


@pytest.mark.parametrize(
    ("name", "sticky"),
    [
        ("CUDA_ERROR_LAUNCH_FAILED", True),
        ("CUDA_ERROR_LAUNCH_TIMEOUT", True),
        ("CUDA_ERROR_ECC_UNCORRECTABLE", True),
        ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", False),
    ],
)
def test_an_error_says_whether_the_process_can_go_on(
    name: str, sticky: bool, lazy: Machine
) -> None:
    open_device()
    stream = Stream()
    lazy.fail("cuStreamSynchronize", name, after=1)
    stream.synchronize()
    with pytest.raises(CudaError) as caught:
        stream.synchronize()
    assert (caught.value.name, caught.value.call, caught.value.sticky) == (
        name,
        "cuStreamSynchronize",
        sticky,
    )
    copied = pickle.loads(pickle.dumps(caught.value))  # it crosses to the parent process
    assert (str(copied), copied.sticky) == (str(caught.value), sticky)
    if sticky:
        with pytest.raises(CudaError, match=name):
            stream.synchronize()
    else:
        stream.synchronize()


def test_every_thread_needs_the_context(lazy: Machine) -> None:
    device = open_device()
    said: list[str] = []

    def other() -> None:
        try:
            Stream()
        except CudaError as error:
            said.append(str(error))
        device.make_current()
        Stream().close()
        said.append("well")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "make_current" in said[0]
    assert said[1] == "well"


def test_an_event_is_done_when_what_it_marked_is(gpu: Machine) -> None:
    open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    start, end, unused = Event(timing=True), Event(timing=True), Event()
    assert unused.query()
    unused.synchronize()
    start.record(stream)
    fill(buffer.pointer, 1, SIZE, stream)
    end.record(stream)
    for _ in range(10):  # asking again and again gets there
        if end.query():
            break
    assert end.query()
    assert (gpu.memory.view(buffer.pointer, SIZE) == 1).all()
    assert end.elapsed_ms(start) > 0
    assert stream.idle()


def test_a_wait_takes_the_mark_of_its_time(lazy: Machine) -> None:
    open_device()
    first, second = Stream(), Stream()
    buffer, host, event = DeviceBuffer(4), HostBuffer(4), Event()
    fill(buffer.pointer, 1, 4, first)
    event.record(first)
    second.wait(event)
    fill(buffer.pointer, 2, 4, first)
    event.record(first)  # does not reach the wait above
    copy_out(host, buffer.pointer, 4, second)
    second.synchronize()
    assert (host.array == 1).all()


def test_a_borrowed_stream_is_left_open(lazy: Machine) -> None:
    open_device()
    stream = Stream()
    Stream.borrowed(stream.handle).close()
    stream.synchronize()
    stream.close()
    with pytest.raises(CudaError, match="INVALID_HANDLE"):
        Stream.borrowed(0x9999).synchronize()
