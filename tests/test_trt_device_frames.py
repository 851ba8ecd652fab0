"""Frames that lie on the GPU: in and out by pointer, in the order that streams promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trt_rig import Rig, expected, picture, rig, write_trt_bundle

from acf_edge.cuda import (
    DeviceBuffer,
    HostBuffer,
    Stream,
    copy_device,
    copy_in,
    copy_out,
    open_device,
)
from acf_edge.cuda.array import DeviceArray
from acf_edge.engine.trt.runtime import TrtEngine, open_trt
from acf_edge.errors import InputError


@pytest.fixture(params=["lazy", "eager", "random"])
def found(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(request.param) as made:
        yield made


@pytest.fixture
def engine(found: Rig, tmp_path: Path) -> Iterator[TrtEngine]:
    made = open_trt(write_trt_bundle(tmp_path / "bundle"))
    yield made
    made.close()


class Foreign:
    """What another library hands over."""

    def __init__(self, pointer: int, shape: tuple[int, ...], **changes: Any) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "|u1",
            "data": (pointer, False),
            "version": 3,
            "strides": None,
            **changes,
        }


def put(frame: np.ndarray, offset: int = 0) -> tuple[Foreign, DeviceBuffer, Stream]:
    """A frame that is being copied to the GPU on a stream of its owner's."""
    stream, host = Stream(), HostBuffer(frame.size)
    host.array[:] = frame.ravel()
    buffer = DeviceBuffer(frame.size + offset)
    copy_in(buffer.pointer + offset, host, frame.size, stream)
    return Foreign(buffer.pointer + offset, frame.shape, stream=stream.handle), buffer, stream


def get(array: DeviceArray, stream: Stream | None = None) -> np.ndarray:
    """What lies there, by way of a stream that nothing orders but what we are told."""
    mine, host = stream or Stream(), HostBuffer(array.size)
    copy_out(host, array.pointer, array.size, mine)
    mine.synchronize()
    return host.array.reshape(array.shape).copy()


def test_a_frame_that_is_still_on_its_way(engine: TrtEngine) -> None:
    for seed in range(4):
        frame = picture(16, 8, seed)
        given, _, _ = put(frame)
        assert np.array_equal(get(engine.run_device(given)), expected(frame))


def test_a_batch_of_one_keeps_its_axis(engine: TrtEngine) -> None:
    frame = picture(16, 8)
    given, _, _ = put(frame[None])
    result = engine.run_device(given)
    assert result.shape == (1, 16, 32, 3) and result.dtype == np.uint8
    assert np.array_equal(get(result)[0], expected(frame))


@pytest.mark.parametrize("offset", [1, 128])
def test_addresses_that_tensorrt_does_not_take(engine: TrtEngine, offset: int) -> None:
    frame = picture(16, 8)
    given, _, _ = put(frame, offset)
    large = DeviceBuffer(frame.size * 4 + offset)
    out = Foreign(large.pointer + offset, (16, 32, 3))
    result = engine.run_device(given, out)
    assert result.pointer == large.pointer + offset
    assert np.array_equal(get(result), expected(frame))


def test_on_a_stream_of_the_callers(engine: TrtEngine, found: Rig) -> None:
    device = open_device()
    stream = Stream()
    frames = [picture(16, 8, seed) for seed in range(5)]
    host = HostBuffer(frames[0].size)
    buffer = DeviceBuffer(frames[0].size)
    results = []
    for frame in frames:
        # One buffer for all: the next frame may overwrite it only after it was read.
        stream.synchronize()
        host.array[:] = frame.ravel()
        copy_in(buffer.pointer, host, frame.size, stream)
        given = Foreign(buffer.pointer, frame.shape)
        result = engine.run_device(given, stream=stream.handle)
        assert result.stream == stream.handle
        copy = DeviceBuffer(result.size)
        copy_device(copy.pointer, result.pointer, result.size, stream)
        results.append((copy, result))
    stream.synchronize()
    for frame, (copy, result) in zip(frames, results, strict=True):
        array = DeviceArray(copy.pointer, result.shape, result.dtype, copy)
        assert np.array_equal(get(array), expected(frame))
    device.synchronize()


def test_beside_frames_of_the_host(engine: TrtEngine) -> None:
    for seed in range(5):
        small, other = picture(16, 8, seed), picture(9, 5, seed)
        ticket = engine.submit(other)
        given, _, _ = put(small)
        assert np.array_equal(get(engine.run_device(given)), expected(small))
        assert np.array_equal(ticket.result(), expected(other))


def test_memory_goes_with_the_last_array(engine: TrtEngine, found: Rig) -> None:
    frame = picture(16, 8)
    given, buffer, stream = put(frame)
    engine.run_device(given)
    used = found.machine.memory.used
    result = engine.run_device(given)
    assert found.machine.memory.used > used
    del result
    assert found.machine.memory.used == used
    del buffer, stream


def test_memory_stays_until_what_was_queued_with_it_is_done(engine: TrtEngine) -> None:
    # The frame is on its way on a stream of its own, which it names.
    frame, stream = picture(16, 8), Stream()
    given, _, _ = put(frame)
    result = engine.run_device(given, stream=stream)
    host = HostBuffer(result.size)
    copy_out(host, result.pointer, result.size, stream)
    shape = result.shape
    del result
    stream.synchronize()
    assert np.array_equal(host.array.reshape(shape), expected(frame))


@pytest.mark.parametrize(
    ("shape", "changes", "words"),
    [
        ((8, 16), {}, "shape"),
        ((8, 16, 4), {}, "shape"),
        ((2, 8, 16, 3), {}, "shape"),
        ((8, 16, 3), {"typestr": "<f2"}, "dtype"),
        ((40, 16, 3), {}, "does not fit"),
    ],
)
def test_what_cannot_be_taken(
    engine: TrtEngine, shape: tuple[int, ...], changes: dict[str, Any], words: str
) -> None:
    buffer = DeviceBuffer(8192)
    with pytest.raises(InputError, match=words):
        engine.run_device(Foreign(buffer.pointer, shape, **changes))


def test_a_result_of_another_shape(engine: TrtEngine) -> None:
    given, _, _ = put(picture(16, 8))
    large = DeviceBuffer(16 * 32 * 3)
    with pytest.raises(InputError, match="shape"):
        engine.run_device(given, Foreign(large.pointer, (32, 16, 3)))


def test_an_array_of_the_host(engine: TrtEngine) -> None:
    with pytest.raises(InputError):
        engine.run_device(picture(16, 8))
