"""The runtime on a true GPU, with a bundle that was built there; skipped without.

ACF_GPU_BUNDLE=folder python -m pytest tests/test_trt_on_gpu.py -v
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from acf_edge.cuda import DeviceBuffer, HostBuffer, Stream, copy_in, copy_out, open_device
from acf_edge.cuda.array import DeviceArray
from acf_edge.engine import Bundle, open_bundle
from acf_edge.engine.bundle import MODEL_FILE
from acf_edge.engine.ort import OrtEngine
from acf_edge.engine.trt.nv12 import Nv12, nv12_shape
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.runtime import TrtEngine, open_trt
from acf_edge.engine.trt.worker_engine import WorkerEngine
from acf_edge.imaging.metrics import psnr
from acf_edge.profile.trace import kernels_per_run

NAMED = os.environ.get("ACF_GPU_BUNDLE", "")
pytestmark = pytest.mark.skipif(
    not NAMED, reason="ACF_GPU_BUNDLE names no bundle that was built for the GPU of this machine"
)
FRAMES = 8


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(NAMED)


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> list[np.ndarray]:
    """Smooth pictures with some noise, of the profile's usual size, all different."""
    width, height = bundle.passport.input_profiles[0].optimum
    rows, columns = np.mgrid[:height, :width]
    found = []
    for seed in range(FRAMES):
        noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
        waves = np.sin((rows + 9 * seed) / 11)[..., None] * np.cos(columns / 7)[..., None]
        found.append(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def plain(bundle: Bundle, frames: list[np.ndarray]) -> list[np.ndarray]:
    """One frame after the other, kernel by kernel, copied in and out."""
    engine = open_trt(bundle, Options(slots=1, graphs=False, mapped=False))
    results = [engine.run(frame) for frame in frames]
    engine.close()
    return results


@pytest.fixture
def opened(bundle: Bundle) -> Iterator[Callable[[Options], TrtEngine]]:
    engines: list[TrtEngine] = []

    def make(options: Options) -> TrtEngine:
        engines.append(open_trt(bundle, options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_the_picture_is_that_of_the_model(
    bundle: Bundle, frames: list[np.ndarray], plain: list[np.ndarray]
) -> None:
    model = OrtEngine(bundle.read(MODEL_FILE), name="model", scale=bundle.passport.scale)
    assert psnr(model.run(frames[0]), plain[0]) > 40
    model.close()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_graphs_slots_and_mapped_memory_change_no_byte(
    opened: Callable[[Options], TrtEngine],
    frames: list[np.ndarray],
    plain: list[np.ndarray],
    mapped: bool,
    slots: int,
) -> None:
    engine = opened(Options(slots=slots, mapped=mapped))
    tickets = [engine.submit(frame) for frame in (*frames, *frames)]
    for ticket, result in zip(tickets, (*plain, *plain), strict=True):
        assert np.array_equal(ticket.result(), result)
    assert engine.notes == (), "a graph was refused, or differs"


def test_two_engines(
    opened: Callable[[Options], TrtEngine], frames: list[np.ndarray], plain: list[np.ndarray]
) -> None:
    engines = opened(Options()), opened(Options())
    pairs = [[engine.submit(frame) for engine in engines] for frame in frames]
    for pair, result in zip(pairs, plain, strict=True):
        for ticket in pair:
            assert np.array_equal(ticket.result(), result)


def test_sizes(opened: Callable[[Options], TrtEngine], bundle: Bundle) -> None:
    engine, profile = opened(Options()), bundle.passport.input_profiles[0]
    scale = bundle.passport.scale
    for width, height in {profile.minimum, profile.optimum, profile.maximum}:
        frame = np.full((height, width, 3), 100, np.uint8)
        first = engine.run(frame)
        assert first.shape == (height * scale, width * scale, 3)
        for _ in range(4):
            assert np.array_equal(engine.run(frame), first)


def test_frames_on_the_gpu(
    opened: Callable[[Options], TrtEngine], frames: list[np.ndarray], plain: list[np.ndarray]
) -> None:
    engine = opened(Options())
    open_device()
    stream, host = Stream(), HostBuffer(plain[0].size)
    buffer = DeviceBuffer(frames[0].size)
    for frame, result in zip(frames, plain, strict=True):
        host.array[: frame.size] = frame.ravel()
        copy_in(buffer.pointer, host, frame.size, stream)
        given = DeviceArray(buffer.pointer, frame.shape, np.dtype(np.uint8), buffer, stream.handle)
        made = engine.run_device(given, stream=stream)
        copy_out(host, made.pointer, made.size, stream)
        stream.synchronize()
        assert np.array_equal(host.array.reshape(result.shape), result)


def test_torch(
    opened: Callable[[Options], TrtEngine], frames: list[np.ndarray], plain: list[np.ndarray]
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU")
    engine = opened(Options())
    large = torch.from_dlpack(engine.run_device(torch.from_numpy(frames[0]).cuda()))
    assert np.array_equal(large.cpu().numpy(), plain[0])


def test_nv12(opened: Callable[[Options], TrtEngine], frames: list[np.ndarray]) -> None:
    engine = opened(Options())
    height, width = frames[0].shape[:2]
    form = Nv12(width, height)
    frame = np.full(nv12_shape(width, height), 128, np.uint8)
    results = [engine.submit_nv12(frame, form).result() for _ in range(4)]
    # Grey stays grey.
    assert np.abs(results[0].astype(int) - 128).max() <= 12
    assert all(np.array_equal(result, results[0]) for result in results)
    assert engine.notes == ()


def test_layer_times(bundle: Bundle, frames: list[np.ndarray]) -> None:
    engine = open_trt(bundle, profile=True)
    for frame in frames:
        engine.run(frame)
    runs = kernels_per_run(engine.end_profiling())
    engine.close()
    assert len(runs) == len(frames)
    assert all(sum(kernel.duration for kernel in run) > 0 for run in runs)


def test_a_lost_gpu(
    bundle: Bundle, frames: list[np.ndarray], plain: list[np.ndarray], tmp_path: Path
) -> None:
    flag = tmp_path / "lose"
    flag.write_text("")
    toy = Path(__file__).with_name("trt_worker_losing.py")
    engine = WorkerEngine(
        bundle.read("engine.plan"),
        bundle.passport,
        bundle.path,
        command=(sys.executable, str(toy), str(flag)),
    )
    tickets = [engine.submit(frame) for frame in frames]
    for ticket, result in zip(tickets, plain, strict=True):
        assert np.array_equal(ticket.result(), result)
    notes, restarts = engine.notes, engine.restarts
    engine.close()
    assert restarts == 1 and not flag.exists()
    assert len(notes) == 1 and "CUDA_ERROR_ILLEGAL_ADDRESS" in notes[0], notes
