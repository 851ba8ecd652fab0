"""The benchmark: its figures follow from its samples, and nothing is measured in vain."""

from __future__ import annotations

import argparse
import io
import json
import shlex
import statistics
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from toy_bundles import network, toy_ledger, toy_passport, write_toy
from trt_rig import rig, write_trt_bundle

from acf_edge.cli import bench as verb
from acf_edge.cli.main import main
from acf_edge.engine import Bundle, write_bundle
from acf_edge.engine.trt import runtime
from acf_edge.errors import GateError, InputError
from acf_edge.profile import bench_clip, bench_engine, bench_file
from acf_edge.profile.bench import BenchOptions, parse_parts, run_bench
from acf_edge.profile.bench_table import bench_table

Uint8Image = npt.NDArray[np.uint8]
SHORT = ["--size", "64x48", "--runs", "4", "--clip", "0.3", "--repeats", "2", "--threads", "1"]
FRAMES = 9  # 0.3 s at 30 frames/s


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bench") / "toy.bundle"
    files: dict[str, bytes | Path] = {
        "model.onnx": network(quantize=True),
        "network.onnx": network(),
    }
    return write_bundle(folder, files, toy_passport(precision="int8"), toy_ledger())


@pytest.fixture(scope="module")
def report(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("report") / "speed.json"
    assert main(["bench", str(bundle.path), *SHORT, "--json", str(file)]) == 0
    data: dict[str, Any] = json.loads(file.read_text())
    return data


class Stub:
    """An engine that writes down when it ran."""

    scale = 2

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def run(self, frame: Uint8Image) -> Uint8Image:
        self.log.append(self.name)
        return np.ascontiguousarray(frame.repeat(2, 0).repeat(2, 1))

    def close(self) -> None:
        pass


def test_the_report_says_what_was_measured_and_where(
    report: dict[str, Any], bundle: Bundle
) -> None:
    assert datetime.fromisoformat(report["date"]).tzinfo is not None
    assert report["machine"]["cores"] >= 1 and report["machine"]["cpu"]
    assert {"acf-edge", "python", "onnxruntime", "av", "numpy"} <= set(report["versions"])
    assert all(report["versions"].values())
    assert (report["width"], report["height"], report["scale"]) == (64, 48, 2)
    assert report["threads"] == 1
    assert report["bundle"]["digest"] == bundle.passport.to_json()["digest"]
    assert report["bundle"]["name"] == bundle.passport.name


def test_the_command_in_the_report_asks_for_the_same_again(
    report: dict[str, Any], bundle: Bundle
) -> None:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    program, name, *words = shlex.split(report["command"])
    args = parser.parse_args(words)
    assert (program, name) == ("acf-edge", "bench")
    assert args.bundle == str(bundle.path)
    assert (args.size, args.runs, args.clip, args.repeats) == ("64x48", 4, 0.3, 2)
    assert (args.threads, args.what) == (1, "engine,file")


def test_three_engines_are_timed_equally_often(report: dict[str, Any]) -> None:
    engine = report["engine"]
    assert [timing["role"] for timing in engine["timings"]] == ["bundle", "float", "bicubic"]
    assert engine["rounds"] == 4
    for timing in engine["timings"]:
        samples = timing["samples_ms"]
        assert len(samples) == 4 and min(samples) > 0
        assert timing["median_ms"] == pytest.approx(statistics.median(samples))
        assert timing["fps"] == pytest.approx(1e3 / timing["median_ms"])
        assert timing["min_ms"] <= timing["median_ms"] <= timing["p95_ms"] <= timing["max_ms"]


def test_ratios_are_formed_round_by_round(report: dict[str, Any]) -> None:
    engine = report["engine"]
    samples = {timing["role"]: timing["samples_ms"] for timing in engine["timings"]}
    assert [(ratio["of"], ratio["to"]) for ratio in engine["ratios"]] == [
        ("float", "bundle"),
        ("bicubic", "bundle"),
    ]
    for ratio in engine["ratios"]:
        pairs = zip(samples[ratio["of"]], samples["bundle"], strict=True)
        quotients = [above / below for above, below in pairs]
        assert ratio["samples"] == pytest.approx(quotients)
        assert ratio["median"] == pytest.approx(statistics.median(quotients))
        assert (ratio["min"], ratio["max"]) == pytest.approx((min(quotients), max(quotients)))


def test_the_median_of_ratios_is_not_misled_by_drift() -> None:
    # The machine becomes three times slower half-way; within each round nothing changes.
    slow = [1.0, 1.0, 3.0, 3.0]
    timings = (
        bench_engine.Timing("bundle", "a", tuple(10 * factor for factor in slow)),
        bench_engine.Timing("float", "b", tuple(20 * factor for factor in slow)),
    )
    (ratio,) = bench_engine.EngineBench(timings, warmup=0).ratios
    assert ratio.samples == (2.0, 2.0, 2.0, 2.0)


def test_file_to_file_and_each_stage_are_told(report: dict[str, Any]) -> None:
    file = report["file"]
    assert [one["what"] for one in file["throughputs"]] == ["file", "decode", "engine", "encode"]
    for one in file["throughputs"]:
        rates = [one["frames"] / seconds for seconds in one["seconds"]]
        assert one["frames"] == FRAMES and len(rates) == file["repeats"] == 2
        assert one["fps"] == pytest.approx(statistics.median(rates))
        assert (one["fps_min"], one["fps_max"]) == pytest.approx((min(rates), max(rates)))
        assert one["cores_busy"] >= 0 and min(one["cpu_seconds"]) >= 0
    assert file["clip"]["frames"] == FRAMES and file["clip"]["kbit_s"] > 0
    assert [set(busy) for busy in file["busy_seconds"]] == [{"decode", "infer", "encode"}] * 2


def throughput(what: str, fps: float, cores: float) -> bench_file.Throughput:
    return bench_file.Throughput(what, 10, (10 / fps,), (cores * 10 / fps,))


@pytest.mark.parametrize(
    ("engine", "cores", "bound"),
    [
        # Engine: 25 frames/s on both cores leave nothing for an encoder that wants one.
        ((25.0, 2.0), 2, "cores"),
        # With cores to spare the slowest stage decides.
        ((25.0, 2.0), 16, "engine"),
        # One thread of two: the encoder has its own core.
        ((20.0, 1.0), 2, "engine"),
    ],
)
def test_what_bounds_a_file(engine: tuple[float, float], cores: int, bound: str) -> None:
    stages = (
        throughput("file", 18, 1.9),
        throughput("decode", 1000, 1.0),
        throughput("engine", *engine),
        throughput("encode", 60, 1.0),
    )
    bench = bench_file.FileBench(10, 30, 100.0, 18, "veryfast", True, cores, stages, ({},))
    assert bench.slowest.what == "engine"
    assert bench.bound == bound
    spent = 1 / 1000 + engine[1] / engine[0] + 1 / 60
    assert bench.cores_fps == pytest.approx(cores / spent)


def test_engines_take_turns_and_each_run_that_counts_follows_one_that_does_not() -> None:
    log: list[str] = []
    engines = [Stub("a", log), Stub("b", log), Stub("c", log)]
    frame = np.zeros((4, 4, 3), np.uint8)
    samples = bench_engine._in_turns(engines, frame, runs=2, seconds=None, warmup=1, progress=None)
    assert "".join(log) == "abc" + "aabbcc" * 2
    assert [len(times) for times in samples] == [2, 2, 2]


def test_a_time_limit_still_leaves_three_rounds_and_progress_ends_at_one() -> None:
    shares: list[float] = []
    frame = np.zeros((4, 4, 3), np.uint8)
    samples = bench_engine._in_turns(
        [Stub("a", [])], frame, runs=None, seconds=1e-9, warmup=0, progress=shares.append
    )
    assert len(samples[0]) == bench_engine.LEAST_ROUNDS
    assert shares[-1] == 1 and all(a <= b for a, b in pairwise(shares))


def test_opencv_gets_its_threads_back(bundle: Bundle) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        bench_engine.bench_engines(bundle, 16, 16, threads=1, runs=1, warmup=0)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_frames_that_got_lost_fail_the_benchmark(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_file, "_decode", lambda clip: 2)
    with pytest.raises(GateError, match="2 frames came out of 'decode' where 3 went in"):
        bench_file.bench_file(bundle, 32, 32, threads=1, frames=3, repeats=1)


def test_long_clips_go_through_the_held_pictures_forth_and_back(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_file, "_HELD_BYTES", 3 * 64 * 64 * 3)
    shown: list[int] = []
    whole = bench_file._Material.picture

    def spy(self: Any, held: Any, index: int) -> Uint8Image:
        picture = whole(self, held, index)
        if held is self.high:
            shown.append(next(i for i, one in enumerate(held) if one is picture))
        return picture

    monkeypatch.setattr(bench_file._Material, "picture", spy)
    bench_file.bench_file(bundle, 32, 32, threads=1, frames=8, repeats=1)
    assert shown == [0, 1, 2, 1, 0, 1, 2, 1]


def test_the_clip_is_h264_that_moves_by_parts_of_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    bench_clip.write_clip(path, 64, 48, 12)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264" and stream.average_rate == 30
    assert len(frames) == 12 and frames[0].shape == (48, 64)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
    assert min(steps) > 0.2  # every frame differs from the one before it
    again = [bench_clip.camera_pictures(64, 48, 12) for _ in range(2)]
    assert all((a == b).all() for a, b in zip(*again, strict=True))


def test_one_part_alone_leaves_the_other_empty(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(bundle.path), "--size", "33x17", "--what", "engine", "--runs", "1"]
    assert main([*words, "--threads", "1", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)  # nothing else is on stdout
    assert data["file"] is None
    assert (data["width"], data["height"]) == (33, 17)  # odd sizes are no matter for an engine
    assert "--clip" not in data["command"]


def test_the_table_shows_the_ratio_and_warns_on_a_busy_machine(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for load, warns in ((4.0, True), (0.0, False)):
        monkeypatch.setattr("acf_edge.profile.bench._load", lambda load=load: load)
        options = BenchOptions(width=32, height=32, runs=1, threads=1, clip_seconds=0.1, repeats=1)
        bench = run_bench(bundle.path, options)
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(bench_table(bench))
        text = console.export_text()
        assert bench.engine is not None and f"{bench.engine.ratios[0].median:.2f} times" in text
        assert "file to file" in text and "decoding alone" in text
        assert ("busy (load" in text) is warns


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "320"],
        ["--size", "321x180"],  # H.264 in 4:2:0 has no such picture
        ["--size", "8x8"],
        ["--runs", "0"],
        ["--runs", "1001"],
        ["--runs", "2", "--seconds", "2"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--seconds", "inf"],
        ["--clip", "-1"],
        ["--repeats", "0"],
        ["--threads", "0"],
        ["--what", "gpu"],
        ["--what", ""],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    words: list[str], bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "speed.json"
    assert main(["bench", str(bundle.path), *words, "--json", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("acf-edge: error: ")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_cannot_be_measured_leaves_an_old_report_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its network.onnx is no model at all.
    folder = write_toy(tmp_path / "toy.bundle").path
    file = tmp_path / "speed.json"
    file.write_text("old")
    assert main(["bench", str(folder), *SHORT, "--json", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "toy.bundle"]


def test_an_engine_for_a_gpu_beside_its_network_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "can_work_apart", lambda: False)
    models = {"model.onnx": network(), "network.onnx": network()}
    folder = write_trt_bundle(tmp_path / "gpu.bundle", models=models, device="Orin").path
    options = BenchOptions(width=16, height=8, parts=("engine",), runs=2, threads=1)
    with rig():
        report = run_bench(folder, options).to_json()
    roles = {row["role"]: row["name"] for row in report["engine"]["timings"]}
    assert list(roles) == ["bundle", "float", "bicubic"] and roles["float"].endswith("CPU")
    assert report["bundle"]["runtime"] == "tensorrt 10.3.0"
    assert report["bundle"]["device"] == "Orin"


def test_a_gpu_that_is_not_here_is_not_measured(tmp_path: Path) -> None:
    folder = write_trt_bundle(tmp_path / "gpu.bundle", models={"network.onnx": network()}).path
    with rig(devices=0), pytest.raises(InputError):
        run_bench(folder, BenchOptions(width=16, height=8, parts=("engine",), runs=1, threads=1))


def test_a_report_that_cannot_be_written_is_found_out_at_once(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr("acf_edge.profile.bench.run_bench", lambda *args, **_: called.append(args))
    assert main(["bench", str(bundle.path), *SHORT, "--json", str(tmp_path)]) == 2
    assert called == []


def test_parts_come_in_their_order_once_each() -> None:
    assert parse_parts("file, engine,file") == ("engine", "file")
    with pytest.raises(InputError, match="'disk'"):
        parse_parts("engine,disk")


def test_measuring_needs_no_torch() -> None:
    code = (
        "import sys, acf_edge.profile.bench, acf_edge.cli.bench; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
