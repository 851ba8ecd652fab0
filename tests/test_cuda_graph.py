"""Graphs: captured once, launched often, in every order that their edges allow."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import fake_cuda
import numpy as np
import pytest
from fake_cuda import FakeKernel, Machine
from test_cuda_streams import ORDERS, add

from acf_edge.cuda import (
    CudaError,
    DeviceBuffer,
    Event,
    Graph,
    HostBuffer,
    Kernels,
    Stream,
    copy_in,
    copy_out,
    fill,
    open_device,
)

SIZE = 64


@pytest.fixture(params=ORDERS, ids=lambda order: f"{order[0]}{order[1]}")
def gpu(request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine(*request.param)
    made.kernels["add"] = FakeKernel((8, 8, 4, 4), add)
    with fake_cuda.installed(made):
        yield made


def test_a_graph_does_each_time_what_was_captured(gpu: Machine) -> None:
    kernels, stream = Kernels(open_device(), gpu.cubin()), Stream()
    source, target = DeviceBuffer(SIZE), DeviceBuffer(SIZE)
    host_in, host_out = HostBuffer(SIZE), HostBuffer(SIZE)
    host_out.array[:] = 0
    with Graph.capture(stream) as graph:
        copy_in(source.pointer, host_in, SIZE, stream)
        arguments = (source.pointer, target.pointer, np.int32(SIZE), np.int32(9))
        kernels.launch("add", (1, 1, 1), (64, 1, 1), arguments, 0, stream)
        copy_out(host_out, target.pointer, SIZE, stream)
    assert graph.nodes == 3
    stream.synchronize()
    assert gpu.queue.ran == []  # a capture runs nothing
    for value in (1, 2, 3):
        host_in.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (host_out.array == value + 9).all()
    for thing in (graph, graph, kernels, stream, source, target, host_in, host_out):
        thing.close()
    assert gpu.leaks() == {}
    with pytest.raises(ValueError, match="nothing"):
        graph.launch(0)


def test_streams_that_fork_and_join_are_captured_too(gpu: Machine) -> None:
    open_device()
    main, side = Stream(), Stream()
    first, second, host = DeviceBuffer(SIZE), DeviceBuffer(SIZE), HostBuffer(2 * SIZE)
    forked, joined = Event(), Event()
    with Graph.capture(main) as graph:
        forked.record(main)
        side.wait(forked)
        fill(first.pointer, 1, SIZE, main)
        fill(second.pointer, 2, SIZE, side)
        joined.record(side)
        main.wait(joined)
        copy_out(host, first.pointer, SIZE, main)
        copy_out(host, second.pointer, SIZE, main, offset=SIZE)
    graph.launch(main)
    graph.launch(side)  # waits for the one before
    side.synchronize()
    assert (host.array[:SIZE] == 1).all()
    assert (host.array[SIZE:] == 2).all()
    assert sorted(gpu.queue.ran) == sorted(["fill", "fill", "copy out", "copy out"] * 2)


def test_a_stream_that_is_not_joined_is_told(gpu: Machine) -> None:
    open_device()
    main, side, forked, buffer = Stream(), Stream(), Event(), DeviceBuffer(SIZE)
    with pytest.raises(CudaError, match="UNJOINED"), Graph.capture(main):
        forked.record(main)
        side.wait(forked)
        fill(buffer.pointer, 1, SIZE, side)
    fill(buffer.pointer, 2, SIZE, side)  # both are as before
    fill(buffer.pointer, 3, SIZE, main)
    main.synchronize()
    assert "graph" not in gpu.leaks()


def test_what_cannot_be_captured_spoils_the_capture_and_nothing_else(gpu: Machine) -> None:
    open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    for unsafe in (stream.synchronize, lambda: DeviceBuffer(1), stream.idle):
        with pytest.raises(CudaError, match="CAPTURE_UNSUPPORTED"), Graph.capture(stream):
            unsafe()
        fill(buffer.pointer, 5, SIZE, stream)
        stream.synchronize()
        assert (gpu.memory.view(buffer.pointer, SIZE) == 5).all()

    def swallow() -> None:
        with pytest.raises(CudaError, match="CAPTURE_UNSUPPORTED"):
            stream.synchronize()

    with pytest.raises(CudaError, match="INVALIDATED"), Graph.capture(stream):
        swallow()
    assert "graph" not in gpu.leaks()


def test_an_error_in_the_block_comes_out_and_the_stream_lives(gpu: Machine) -> None:
    open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    with pytest.raises(KeyError, match="mine"), Graph.capture(stream):
        fill(buffer.pointer, 1, SIZE, stream)
        raise KeyError("mine")
    fill(buffer.pointer, 2, SIZE, stream)
    stream.synchronize()
    assert gpu.queue.ran == ["fill"]
    assert "graph" not in gpu.leaks()


def test_an_event_from_outside_is_refused_inside(gpu: Machine) -> None:
    open_device()
    stream, other, event = Stream(), Stream(), Event()
    event.record(other)
    with pytest.raises(CudaError, match="ISOLATION"), Graph.capture(stream):
        stream.wait(event)
    with pytest.raises(CudaError, match="CAPTURED_EVENT"), Graph.capture(stream):
        event.record(stream)
        event.query()


def test_kernels_may_be_loaded_while_this_thread_captures(gpu: Machine) -> None:
    device, stream, buffer = open_device(), Stream(), DeviceBuffer(SIZE)
    fill(buffer.pointer, 1, SIZE, stream)
    with Graph.capture(stream) as graph:
        kernels = Kernels(device, gpu.cubin())
        arguments = (buffer.pointer, buffer.pointer, np.int32(SIZE), np.int32(2))
        kernels.launch("add", (1, 1, 1), (64, 1, 1), arguments, 0, stream)
    graph.launch(stream)
    stream.synchronize()
    assert (gpu.memory.view(buffer.pointer, SIZE) == 3).all()
    with pytest.raises(CudaError), Graph.capture(stream):
        DeviceBuffer(16)  # the exception was for the kernels alone


def test_another_thread_may_allocate_while_one_captures(gpu: Machine) -> None:
    device = open_device()
    stream, buffer = Stream(), DeviceBuffer(SIZE)
    said: list[str] = []

    def other() -> None:
        device.make_current()
        DeviceBuffer(16).close()
        said.append("well")

    with Graph.capture(stream) as graph:
        fill(buffer.pointer, 1, SIZE, stream)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert said == ["well"]
    graph.launch(stream)
    stream.synchronize()
    assert gpu.queue.ran == ["fill"]


def test_a_graph_that_cannot_be_made_leaves_nothing(gpu: Machine) -> None:
    open_device()
    stream = Stream()
    gpu.fail("cuGraphInstantiate", "CUDA_ERROR_OUT_OF_MEMORY")
    with pytest.raises(CudaError, match="OUT_OF_MEMORY"), Graph.capture(stream):
        pass
    assert "graph" not in gpu.leaks()


def test_foreign_work_is_captured_and_runs_late(gpu: Machine) -> None:
    """What a stand-in of TensorRT queues goes the same ways."""
    open_device()
    stream, buffer, host = Stream(), DeviceBuffer(SIZE), HostBuffer(SIZE)

    def work(memory: fake_cuda.Memory) -> None:
        memory.view(buffer.pointer, SIZE)[:] += np.uint8(1)

    fill(buffer.pointer, 0, SIZE, stream)
    with Graph.capture(stream) as graph:
        gpu.enqueue(stream.handle, work, "engine")
    for _ in range(3):
        graph.launch(stream)
    gpu.enqueue(stream.handle, work, "engine")
    copy_out(host, buffer.pointer, SIZE, stream)
    stream.synchronize()
    assert (host.array == 4).all()
    assert gpu.queue.ran.count("engine") == 4


def test_what_is_kept_is_let_go_with_the_graph(gpu: Machine) -> None:
    open_device()
    stream = Stream()
    with Graph.capture(stream) as graph:
        graph.keep.append(object())
    assert graph.keep
    graph.close()
    assert graph.keep == []
