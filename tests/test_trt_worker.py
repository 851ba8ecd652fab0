"""The process that has the GPU: frames go in and come out, and it is replaced when it is lost."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from trt_rig import LARGE, SMALL, expected, picture, write_trt_bundle

from acf_edge.engine.trt import worker_engine
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.worker_engine import RETRIES, WorkerEngine, can_work_apart
from acf_edge.errors import AcfError, InputError

pytestmark = pytest.mark.skipif(not can_work_apart(), reason="this system has no memfd")
TOY = Path(__file__).with_name("trt_worker_toy.py")


@dataclass
class Workshop:
    """Starts engines, and tells their workers what shall go wrong."""

    folder: Path
    engines: list[WorkerEngine] = field(default_factory=list)

    def open(self, patience: float = 20.0, slots: int = 2, **changes: object) -> WorkerEngine:
        self.faults.mkdir(exist_ok=True)
        bundle = write_trt_bundle(self.folder / f"bundle{len(self.engines)}", **changes)
        engine = WorkerEngine(
            bundle.read("engine.plan"),
            bundle.passport,
            bundle.path,
            Options(slots=slots),
            command=(sys.executable, str(TOY), str(self.faults)),
            patience=patience,
        )
        self.engines.append(engine)
        return engine

    @property
    def faults(self) -> Path:
        return self.folder / "faults"

    def plan(self, fault: str, after: int) -> None:
        self.faults.mkdir(exist_ok=True)
        (self.faults / fault).write_text(str(after))

    def happened(self) -> list[str]:
        file = self.faults / "happened"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    for engine in made.engines:
        engine.close()


def pid_of(engine: WorkerEngine) -> int:
    assert engine._worker is not None
    return engine._worker._process.pid


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_frames_of_many_sizes(shop: Workshop) -> None:
    engine = shop.open(profiles=(SMALL, LARGE), slots=3)
    assert (engine.name, engine.scale) == ("toy-x2 fp16", 2)
    sizes = [(16, 8), (64, 32), (4, 4), (17, 9), (16, 8), (48, 24)] * 3
    frames = [picture(*size, seed) for seed, size in enumerate(sizes)]
    tickets = [engine.submit(frame) for frame in frames]
    for frame, ticket in zip(frames, tickets, strict=True):
        assert np.array_equal(ticket.result(), expected(frame))
    assert engine.restarts == 0 and engine.notes == ()
    # A result is the caller's own.
    kept = engine.run(frames[0])
    engine.run(frames[4])
    assert np.array_equal(kept, expected(frames[0]))


def test_it_ends_with_its_engine(shop: Workshop) -> None:
    engine = shop.open()
    pid = pid_of(engine)
    ticket = engine.submit(picture(16, 8))
    engine.close()
    engine.close()
    assert gone(pid)
    assert np.array_equal(ticket.result(), expected(picture(16, 8)))
    with pytest.raises(ValueError, match="closed"):
        engine.run(picture(16, 8))
    forgotten = shop.open()
    pid = pid_of(forgotten)
    shop.engines.clear()
    del forgotten
    gc.collect()
    assert gone(pid)


def test_it_ends_with_the_process_that_started_it(shop: Workshop) -> None:
    bundle = write_trt_bundle(shop.folder / "bundle")
    shop.plan("happened", 0)
    text = f"""
import sys, time
from acf_edge.engine import open_bundle
from acf_edge.engine.trt.worker_engine import WorkerEngine
bundle = open_bundle({str(bundle.path)!r})
command = (sys.executable, {str(TOY)!r}, {str(shop.faults)!r})
plan = bundle.read("engine.plan")
engine = WorkerEngine(plan, bundle.passport, bundle.path, command=command)
print(engine._worker._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen((sys.executable, "-c", text), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        parent.kill()
    limit = time.monotonic() + 20
    # Whoever takes in orphans may not bury them.
    while worker.exists() and worker.read_text().split()[2] != "Z":
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["die", "lose"])
@pytest.mark.parametrize("after", [0, 4])
def test_a_lost_worker_is_replaced_and_no_frame_is_missed(
    shop: Workshop, fault: str, after: int
) -> None:
    shop.plan(fault, after)
    engine = shop.open()
    pid = pid_of(engine)
    frames = [picture(16, 8, seed) for seed in range(8)]
    tickets = [engine.submit(frame) for frame in frames]
    for frame, ticket in zip(frames, tickets, strict=True):
        assert np.array_equal(ticket.result(), expected(frame))
    assert shop.happened() == [fault]
    assert engine.restarts == 1 and gone(pid) and pid_of(engine) != pid
    (note,) = engine.notes
    assert "started again" in note
    assert ("signal 9" if fault == "die" else "CUDA_ERROR_ILLEGAL_ADDRESS") in note


def test_a_worker_that_hangs(shop: Workshop) -> None:
    shop.plan("hang", 2)
    engine = shop.open(patience=0.5)
    for seed in range(4):
        assert np.array_equal(engine.run(picture(16, 8, seed)), expected(picture(16, 8, seed)))
    assert engine.restarts == 1
    assert "did not answer" in engine.notes[0]


def test_closing_does_not_wait_for_one_that_hangs(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_engine, "_CLOSING", 0.3)
    shop.plan("hang", 0)
    engine = shop.open()
    pid = pid_of(engine)
    ticket = engine.submit(picture(16, 8))
    engine.close()
    assert gone(pid) and engine.restarts == 0
    with pytest.raises(AcfError, match="closed while its worker was lost"):
        ticket.result()


def test_memory_that_cannot_be_pinned(shop: Workshop) -> None:
    shop.plan("no_pinning", 0)
    engine = shop.open()
    for seed in range(5):
        frame = picture(16, 8, seed)
        assert np.array_equal(engine.run(frame), expected(frame))
    assert engine.notes == (
        "this system cannot pin shared memory: every frame is copied once more",
    )


def test_killed_between_frames(shop: Workshop) -> None:
    engine = shop.open()
    for seed in range(3):
        frame = picture(16, 8, seed)
        assert np.array_equal(engine.run(frame), expected(frame))
        pid = pid_of(engine)
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
            time.sleep(0.01)
    assert np.array_equal(engine.run(frame), expected(frame))
    assert engine.restarts == 3


def test_a_bundle_that_is_gone_by_then(shop: Workshop) -> None:
    engine = shop.open()
    for file in (shop.folder / "bundle0").iterdir():
        file.unlink()
    os.kill(pid_of(engine), signal.SIGKILL)
    assert np.array_equal(engine.run(picture(16, 8)), expected(picture(16, 8)))


def test_a_frame_that_loses_every_worker_is_given_up_and_the_next_one_runs(
    shop: Workshop,
) -> None:
    shop.plan("lose", 1)
    engine = shop.open(slots=1)
    assert np.array_equal(engine.run(picture(16, 8)), expected(picture(16, 8)))
    ticket = engine.submit(picture(16, 8, 1))
    stop = threading.Event()

    def again() -> None:
        # As soon as a fault was used up the next one is laid.
        while not stop.is_set() and len(shop.happened()) <= RETRIES:
            if not (shop.faults / "lose").exists():
                shop.plan("lose", 0)
            time.sleep(0.005)

    layer = threading.Thread(target=again)
    layer.start()
    with pytest.raises(AcfError, match=f"failed on the GPU {RETRIES + 1} times in a row") as caught:
        ticket.result()
    stop.set()
    layer.join()
    (shop.faults / "lose").unlink(missing_ok=True)
    assert "dmesg" in caught.value.remedy
    with pytest.raises(AcfError):
        ticket.result()
    frame = picture(16, 8, 2)
    assert np.array_equal(engine.run(frame), expected(frame))


def test_one_frame_that_cannot_be_run_is_no_reason_for_a_new_worker(shop: Workshop) -> None:
    shop.plan("refuse", 1)
    engine = shop.open()
    frame = picture(16, 8)
    engine.run(frame)
    with pytest.raises(AcfError, match="a mistake of ours"):
        engine.run(frame)
    assert np.array_equal(engine.run(frame), expected(frame))
    assert engine.restarts == 0
    with pytest.raises(InputError, match="does not fit this engine"):
        engine.run(picture(40, 8))
    with pytest.raises(TypeError):
        engine.run(np.zeros((8, 8, 3)))


def test_several_threads_while_workers_die(shop: Workshop) -> None:
    shop.plan("die", 9)
    shop.plan("lose", 20)
    engine = shop.open(slots=3)
    wrong: list[int] = []

    def work(first: int) -> None:
        for seed in range(first, first + 10):
            frame = picture(16, 8, seed)
            if not np.array_equal(engine.run(frame), expected(frame)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert engine.restarts == 2 == len(shop.happened())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sm": "120"}, r"compute capability: built for SM 120.*Rebuild it here"),
        ({"plan": b"nonsense"}, "magicTag"),
        (
            {"backend": "tensorrt_rtx", "tensorrt_version": None},
            "tensorrt_rtx|TensorRT-RTX|package",
        ),
    ],
)
def test_what_keeps_an_engine_from_loading_is_told(
    shop: Workshop, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        shop.open(**changes)


def test_no_gpu(shop: Workshop) -> None:
    shop.plan("no_gpu", 0)
    with pytest.raises(InputError, match="No NVIDIA GPU"):
        shop.open()


def test_a_gpu_that_is_gone(shop: Workshop) -> None:
    engine = shop.open()
    shop.plan("no_gpu", 0)
    os.kill(pid_of(engine), signal.SIGKILL)
    with pytest.raises(InputError, match="No NVIDIA GPU"):
        engine.run(picture(16, 8))
    (shop.faults / "no_gpu").unlink()
    assert np.array_equal(engine.run(picture(16, 8)), expected(picture(16, 8)))


def test_a_worker_that_cannot_even_start(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle")
    plan = bundle.read("engine.plan")
    for command, words in [
        (("/no/such/program",), "cannot be started"),
        ((sys.executable, "-c", "raise SystemExit('no luck')"), "ended with code 1: no luck"),
    ]:
        with pytest.raises(AcfError, match=words):
            WorkerEngine(plan, bundle.passport, bundle.path, command=command)


def test_a_passport_without_sizes(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle", input_profiles=())
    with pytest.raises(InputError, match="for which sizes"):
        WorkerEngine(bundle.read("engine.plan"), bundle.passport, bundle.path)
