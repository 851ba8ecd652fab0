"""Engines of TensorRT on a made-up GPU whose streams run late and in any order that CUDA allows."""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_cuda_base import Refused
from trt_rig import (
    LARGE,
    SCALE,
    SMALL,
    Rig,
    expected,
    picture,
    rig,
    write_trt_bundle,
)

from acf_edge.cuda import driver
from acf_edge.cuda.driver import CudaError
from acf_edge.engine import Bundle
from acf_edge.engine.passport import InputProfile
from acf_edge.engine.trt.buffers import Slot
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.runtime import TrtEngine, open_trt
from acf_edge.errors import AcfError, InputError

ORDERS = ("lazy", "eager", "random")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_trt_bundle(tmp_path / "bundle")


def frames(count: int, width: int = 16, height: int = 8) -> list[np.ndarray]:
    return [picture(width, height, seed) for seed in range(count)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("integrated", [False, True])
def test_frames_one_by_one(bundle: Bundle, order: str, integrated: bool) -> None:
    with rig(order, integrated=integrated):
        engine = open_trt(bundle)
        for frame in frames(7):
            assert np.array_equal(engine.run(frame), expected(frame))
        assert engine.notes == ()
        engine.close()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_frames_that_overlap(bundle: Bundle, order: str, integrated: bool, slots: int) -> None:
    many = frames(11)
    with rig(order, seed=slots, integrated=integrated):
        engine = open_trt(bundle, Options(slots=slots))
        tickets = [engine.submit(frame) for frame in many]
        # The caller's frames may be changed as soon as they are submitted.
        for frame in many:
            frame ^= 0xFF
        for frame, ticket in zip(many, tickets, strict=True):
            assert np.array_equal(ticket.result(), expected(frame ^ 0xFF))
            assert ticket.result() is ticket.result()
        engine.close()


def test_results_belong_to_the_caller(bundle: Bundle) -> None:
    first, second = frames(2)
    with rig():
        engine = open_trt(bundle, Options(slots=1))
        result = engine.run(first)
        engine.run(second)
        assert np.array_equal(result, expected(first))
        result[...] = 0
        assert np.array_equal(engine.run(first), expected(first))
        assert result.flags.c_contiguous
        engine.close()


def graph_launches(found: Rig) -> int:
    return found.machine.calls.count("cuGraphLaunch")


@pytest.mark.parametrize("integrated", [False, True])
def test_a_graph_from_the_second_frame_on(bundle: Bundle, integrated: bool) -> None:
    with rig(integrated=integrated) as found:
        engine = open_trt(bundle, Options(slots=1))
        engine.run(picture(16, 8))
        assert graph_launches(found) == 0
        engine.run(picture(16, 8, 1))
        assert graph_launches(found) == 1, "the trial"
        engine.run(picture(16, 8, 2))
        assert graph_launches(found) == 2
        # Another size begins anew.
        engine.run(picture(8, 8))
        assert graph_launches(found) == 2
        engine.close()


def test_without_graphs(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle, Options(graphs=False))
        for frame in frames(5):
            assert np.array_equal(engine.run(frame), expected(frame))
        assert graph_launches(found) == 0
        engine.close()


@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuGraphInstantiate"])
def test_where_no_graph_can_be_had_frames_run_all_the_same(bundle: Bundle, call: str) -> None:
    with rig() as found:
        engine = open_trt(bundle, Options(slots=1))
        found.machine.fail(call, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        for frame in frames(4):
            assert np.array_equal(engine.run(frame), expected(frame))
        (note,) = engine.notes
        assert "without a CUDA graph at 16x8" in note
        assert graph_launches(found) == 0
        engine.close()


def test_a_plugin_that_cannot_be_captured(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle, Options(slots=1))
        queue = found.world.enqueue

        def enqueue(stream: int, work: Callable[[], None]) -> None:
            if found.world.capturing(stream):
                with contextlib.suppress(CudaError):
                    driver.call("cuMemAlloc", 16)
            with contextlib.suppress(Refused):
                queue(stream, work)

        found.world.enqueue = enqueue
        for frame in frames(4):
            assert np.array_equal(engine.run(frame), expected(frame))
        (note,) = engine.notes
        assert "STREAM_CAPTURE_INVALIDATED" in note
        engine.close()


def test_a_graph_that_gives_another_picture_is_not_used(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle, Options(slots=1))
        seen = []

        def network(taken: np.ndarray) -> np.ndarray:
            # What a plugin does that launches on another stream: nothing of it is captured.
            seen.append(1)
            return expected(taken[0])[None] ^ (len(seen) == 3)

        found.world.network = network
        for frame in frames(4):
            assert np.array_equal(engine.run(frame), expected(frame))
        (note,) = engine.notes
        assert "another picture" in note
        assert graph_launches(found) == 1
        engine.close()


@pytest.mark.parametrize("order", ORDERS)
def test_sizes_come_and_go(bundle: Bundle, order: str) -> None:
    sizes = [(16, 8), (8, 8), (32, 16), (4, 4), (17, 5), (16, 8), (9, 9), (32, 16)] * 2
    with rig(order) as found:
        engine = open_trt(bundle)
        tickets = []
        for number, (width, height) in enumerate(sizes):
            frame = picture(width, height, number)
            tickets.append((frame, engine.submit(frame)))
        for frame, ticket in tickets:
            assert np.array_equal(ticket.result(), expected(frame))
        assert found.world.live_contexts <= 4 * 2, "contexts of old sizes are given back"
        engine.close()
        assert found.world.live_contexts == 0


def test_a_size_goes_only_after_its_frames_are_done(bundle: Bundle) -> None:
    sizes = [(4 + width, 4) for width in range(7)] * 2
    with rig() as found:
        # More under way than sizes are kept.
        engine = open_trt(bundle, Options(slots=7))
        tried = [(picture(*size, n), n) for n, size in enumerate(sizes)]
        tickets = [engine.submit(frame) for frame, _ in tried]
        for (frame, _), ticket in zip(tried, tickets, strict=True):
            assert np.array_equal(ticket.result(), expected(frame))
        engine.close()
        assert found.world.live_contexts == 0


def test_shared_memory_is_pinned_and_let_go() -> None:
    def pages() -> np.ndarray:
        return np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint8)[:4000]

    for mapped in (False, True):
        with rig(integrated=mapped) as found:
            driver.open_device()
            shared = pages(), pages()
            slot = Slot(0, 4000, 4000, mapped=mapped, shared=shared)
            assert slot.aside is None
            assert slot.host_in.pointer == shared[0].ctypes.data
            assert (slot.device_in == slot.host_in.device_pointer) is mapped
            slot.close()
            assert found.machine.memory.leaks() == 0
            # The second part cannot be pinned: the first one is let go.
            found.machine.fail("cuMemHostRegister", "CUDA_ERROR_NOT_SUPPORTED", after=1)
            slot = Slot(0, 4000, 4000, mapped=mapped, shared=shared)
            assert slot.aside == shared
            slot.close()
            assert found.machine.memory.leaks() == 0


def test_memory_is_taken_once_and_given_back(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle)
        engine.run(picture(4, 4))
        taken = found.machine.memory.used
        for width in range(4, 33, 4):
            engine.run(picture(width, 8))
        assert found.machine.memory.used == taken
        engine.close()
        engine.close()
        assert found.machine.memory.leaks() == 0
        with pytest.raises(ValueError, match="closed"):
            engine.run(picture(4, 4))


def test_the_profile_that_holds_a_size_is_taken(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "two", (SMALL, LARGE))
    with rig("random"):
        engine = open_trt(bundle)
        for width, height in [(4, 4), (64, 32), (24, 12), (33, 17), (32, 16)] * 3:
            frame = picture(width, height, width)
            assert np.array_equal(engine.run(frame), expected(frame))
        engine.close()


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (33, 16), (32, 17)])
def test_a_size_outside_the_profile(bundle: Bundle, size: tuple[int, int]) -> None:
    with rig() as found:
        engine = open_trt(bundle)
        with pytest.raises(InputError, match=r"does not fit this engine.*--size"):
            engine.run(picture(*size))
        assert found.world.log == []
        frame = picture(32, 16)
        assert np.array_equal(engine.run(frame), expected(frame))
        engine.close()


def test_what_is_no_picture(bundle: Bundle) -> None:
    with rig():
        engine = open_trt(bundle)
        with pytest.raises(TypeError):
            engine.run(np.zeros((8, 16, 3), np.float32))
        with pytest.raises(InputError, match="shape"):
            engine.run(np.zeros((8, 16), np.uint8))
        turned = picture(8, 16).transpose(1, 0, 2)
        assert np.array_equal(engine.run(turned), expected(turned))
        engine.close()


def test_several_engines_on_one_gpu(bundle: Bundle, tmp_path: Path) -> None:
    other = write_trt_bundle(tmp_path / "other", (LARGE,))
    with rig("random", seed=3) as found:
        one, two = open_trt(bundle), open_trt(other)
        pairs = []
        for seed in range(6):
            small, large = picture(16, 8, seed), picture(48, 24, seed)
            pairs += [(small, one.submit(small)), (large, two.submit(large))]
        for frame, ticket in pairs:
            assert np.array_equal(ticket.result(), expected(frame))
        one.close()
        assert np.array_equal(two.run(pairs[1][0]), expected(pairs[1][0]))
        two.close()
        assert found.machine.memory.leaks() == 0


def test_several_threads(bundle: Bundle) -> None:
    wrong = []

    def work(engine: TrtEngine, first: int) -> None:
        for seed in range(first, first + 8):
            frame = picture(16, 8, seed)
            if not np.array_equal(engine.run(frame), expected(frame)):
                wrong.append(seed)

    with rig("random"):
        engine = open_trt(bundle)
        threads = [threading.Thread(target=work, args=(engine, 100 * n)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        engine.close()
    assert not wrong


def test_a_lost_context_is_told_once_and_for_all(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle)
        frame = picture(16, 8)
        engine.run(frame)
        ticket = engine.submit(frame)
        found.machine.lose_context("CUDA_ERROR_ILLEGAL_ADDRESS")
        with pytest.raises(CudaError) as caught:
            ticket.result()
        assert caught.value.sticky
        with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
            engine.run(frame)
        engine.close()


def test_tensorrt_refuses_one_frame(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle)
        frame = picture(16, 8)
        engine.run(frame)
        found.world.fail_next_enqueue = True
        with pytest.raises(AcfError, match=r"cannot run .* at 16x8: .*illegal memory access"):
            engine.run(frame)
        assert np.array_equal(engine.run(frame), expected(frame))
        engine.close()


def test_tensorrt_fails_because_the_context_is_lost(bundle: Bundle) -> None:
    with rig() as found:
        engine = open_trt(bundle)
        found.world.fail_next_enqueue = True
        found.machine.fail("cuCtxSynchronize", "CUDA_ERROR_LAUNCH_FAILED")
        with pytest.raises(CudaError) as caught:
            engine.run(picture(16, 8))
        assert caught.value.sticky
        engine.close()


def test_too_little_memory(bundle: Bundle) -> None:
    with rig(memory=70000) as found:
        with pytest.raises(InputError, match="OUT_OF_MEMORY"):
            open_trt(bundle)
        assert found.machine.memory.leaks() == 0
    with rig() as found:
        found.world.contexts = 1
        engine = open_trt(bundle)
        frame = picture(16, 8)
        assert np.array_equal(engine.run(frame), expected(frame))
        with pytest.raises(InputError, match="not enough memory on the GPU"):
            engine.run(frame)
        engine.close()


def test_an_engine_of_one_size(tmp_path: Path) -> None:
    one = InputProfile((16, 8), (16, 8), (16, 8))
    with rig():
        engine = open_trt(write_trt_bundle(tmp_path / "one", (one,)))
        frame = picture(16, 8)
        assert engine.run(frame).shape == (8 * SCALE, 16 * SCALE, 3)
        with pytest.raises(InputError, match="it takes: 16x8"):
            engine.run(picture(16, 9))
        engine.close()
