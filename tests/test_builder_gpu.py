"""Bundles for GPUs: what is written without one, and what boards and TensorRT-RTX make of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gpu_builds import SIZE, board, build, write_inputs
from trt_rig import rig

from acf_edge.builder.chain import build_bundle
from acf_edge.builder.options import BuildOptions, GpuOptions
from acf_edge.cli.main import main
from acf_edge.engine import Bundle, load_engine, open_bundle
from acf_edge.engine.ort import OrtEngine
from acf_edge.engine.trt import assemble
from acf_edge.engine.trt.fit import fitting_bundle
from acf_edge.engine.trt.recompile import Changes, recompile
from acf_edge.engine.trt.runtime import open_trt
from acf_edge.errors import InputError
from acf_edge.imaging.metrics import psnr
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.runner import run_network

RTX = all(importlib.util.find_spec(name) for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"))
needs_rtx = pytest.mark.skipif(not RTX, reason="the extra 'rtx' is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ACF_EDGE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def checkpoint(inputs: tuple[Path, Path]) -> Path:
    return inputs[0]


@pytest.fixture(scope="module")
def photos(inputs: tuple[Path, Path]) -> Path:
    return inputs[1]


@pytest.fixture(scope="module")
def portable(checkpoint: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """For an Orin Nano, written where there is no GPU."""
    return build(checkpoint, photos, tmp_path_factory.mktemp("portable") / "nano.bundle")


def test_without_a_gpu_the_models_are_written_and_the_rest_is_left_to_the_board(
    portable: Bundle,
) -> None:
    passport = portable.passport
    assert (passport.backend, passport.precision, passport.sm) == ("tensorrt", "int8", "87")
    assert {"model.onnx", "model.plugin.onnx", "network.onnx", "scales.json"} <= set(passport.files)
    assert "engine.plan" not in passport.files
    row = portable.ledger.rows[-1]
    assert (row.stage, row.verdict) == ("compiled", "skipped")
    assert "acf-edge build THIS_BUNDLE -o NEW_BUNDLE --target auto" in row.note
    # A stage that was not run claims no figures.
    assert row.quality == () and row.ms is None
    quantized = next(row for row in portable.ledger.rows if row.stage == "quantized")
    assert quantized.note.startswith("INT8") and quantized.quality


def test_the_two_models_are_one_network(portable: Bundle) -> None:
    plain = onnx.load_from_string(portable.read("model.onnx"))
    plugin = onnx.load_from_string(portable.read("model.plugin.onnx"))
    assert {node.domain for node in plain.graph.node} == {""}
    ours = [node for node in plugin.graph.node if node.domain]
    assert sorted(node.op_type for node in ours) == ["ChannelSpatialAttention", "JunctionVote"]
    assert not plugin.functions


def test_a_bundle_without_an_engine_says_how_to_get_one(portable: Bundle) -> None:
    with rig(), pytest.raises(InputError) as caught:
        load_engine(portable)
    assert "not compiled" in caught.value.problem
    assert f"acf-edge build {portable.path}" in caught.value.remedy


def test_the_board_compiles_what_the_workshop_wrote(portable: Bundle, tmp_path: Path) -> None:
    told: list[int] = []
    with board():
        bundle = recompile(portable, tmp_path / "here", tell=lambda done, total: told.append(done))
        frame = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(32, 48, 3)
        engine = open_trt(bundle)
        result = engine.run(frame)
        engine.close()
    assert np.array_equal(result, frame.repeat(4, 0).repeat(4, 1))
    assert told[0] == 0 and told[-1] == 100
    passport = bundle.passport
    assert passport.target == "sm87" or passport.target.endswith(("orin", "nano"))
    assert passport.tensorrt_version == "10.3.0" and passport.device
    # Nothing of the network was lost on the way.
    for name in ("model.onnx", "model.plugin.onnx", "network.onnx", "scales.json"):
        assert bundle.read(name) == portable.read(name)
    row = bundle.ledger.rows[-1]
    assert row.verdict == "pass" and row.ms is not None and row.quality
    assert "plugins" in row.note and "inlined" in row.note


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_form_is_kept(
    portable: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    times = iter([1.0, 2.0] if faster else [2.0, 1.0])
    monkeypatch.setattr(assemble, "_milliseconds", lambda *_: next(times))
    with board():
        bundle = recompile(portable, tmp_path / "here")
    assert (bundle.passport.plugin_hash is not None) == faster
    assert (bundle.passport.kernel_hash is not None) == faster
    assert bundle.ledger.rows[-1].ms == 1.0


@pytest.mark.parametrize("plugins", ["on", "off"])
def test_the_form_that_is_asked_for(portable: Bundle, tmp_path: Path, plugins: str) -> None:
    with board() as found:
        bundle = recompile(portable, tmp_path / "here", Changes(plugins=plugins))
        assert found.world.builds == 1
    assert (bundle.passport.plugin_hash is not None) == (plugins == "on")


def test_a_bundle_may_be_compiled_in_place(portable: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "nano"
    with board():
        first = recompile(portable, folder, Changes(plugins="off"))
        second = recompile(first, folder, Changes(plugins="off", sizes=("64x64",)))
    assert open_bundle(folder).passport.input_profiles == second.passport.input_profiles
    assert second.passport.input_profiles != first.passport.input_profiles


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (Changes(precision="fp16"), "holds int8"),
        (Changes(target="h100"), "SM 90"),
        (Changes(sizes=("64x64:32x32:16x16",)), "out of order"),
        (Changes(target="xavier"), "Xavier"),
    ],
)
def test_what_a_board_cannot_make(
    portable: Bundle, tmp_path: Path, changes: Changes, words: str
) -> None:
    with board():
        if changes.target == "h100":
            # Another GPU's engine is left to that GPU, with its models kept.
            bundle = recompile(portable, tmp_path / "other", changes)
            assert words in bundle.ledger.rows[-1].note
            assert "engine.plan" not in bundle.passport.files
            return
        with pytest.raises(InputError, match=words):
            recompile(portable, tmp_path / "other", changes)
    assert not (tmp_path / "other").exists()


def test_a_compilation_that_fails_leaves_the_old_bundle(portable: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "nano"
    with board() as found:
        recompile(portable, folder, Changes(plugins="off"))
        before = (folder / "passport.json").read_bytes()
        found.world.build_fails = "Error Code 10: Internal Error (no tactic)"
        with pytest.raises(InputError):
            recompile(open_bundle(folder), folder, Changes(plugins="off", sizes=("64x64",)))
    assert (folder / "passport.json").read_bytes() == before
    open_bundle(folder)


def test_a_bundle_for_a_cpu_is_not_compiled(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    options = BuildOptions(
        checkpoint, tmp_path / "cpu", source=str(photos), recipes=("acf-std",), precision="fp32"
    )
    bundle = build_bundle(options).bundle
    with pytest.raises(InputError, match="only bundles for GPUs"):
        recompile(bundle, tmp_path / "other")
    assert fitting_bundle(bundle.path) == bundle.path


def test_plugins_on_codes(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    bundle = build(checkpoint, photos, tmp_path / "codes", gpu={"int8_plugins": True})
    model = onnx.load_from_string(bundle.read("model.plugin.onnx"))
    for node in model.graph.node:
        if node.domain:
            scales = {one.name: one.f for one in node.attribute if one.name.endswith("_scale")}
            assert len(scales) == 3 and all(scale > 0 for scale in scales.values())


def test_a_dla_takes_one_size(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    options = BuildOptions(
        checkpoint,
        tmp_path / "dla",
        target="agx-orin",
        source=str(photos),
        recipes=("acf-std",),
        allow_drop=9.0,
        gpu=GpuOptions(sizes=("64x48",), dla=True),
    )
    bundle = build_bundle(options).bundle
    model = onnx.load_from_string(bundle.read("model.onnx"))
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"GlobalAveragePool", "Sigmoid"}
    assert "model.plugin.onnx" not in bundle.passport.files


@needs_rtx
@pytest.mark.parametrize(
    ("target", "precision", "sms"),
    [("rtx40", "fp16", ()), ("rtx50", "fp8", ()), ("rtx30", "fp16", ("86", "89"))],
)
def test_tensorrt_rtx_compiles_ahead_of_time(
    checkpoint: Path,
    photos: Path,
    tmp_path: Path,
    target: str,
    precision: str,
    sms: tuple[str, ...],
) -> None:
    bundle = build(
        checkpoint,
        photos,
        tmp_path / "rtx",
        target=target,
        precision=precision,
        gpu={"sms": sms},
    )
    passport = bundle.passport
    assert passport.backend == "tensorrt_rtx" and passport.precision == precision
    assert passport.sm == (",".join(sms) or {"rtx40": "89", "rtx50": "120"}[target])
    assert passport.tensorrt_version and passport.device is None
    assert len(bundle.read("engine.plan")) > 10_000
    assert "model.plugin.onnx" not in passport.files
    row = bundle.ledger.rows[-1]
    assert row.verdict == "pass" and "convolutions" in row.note and "plugins: 0" in row.note
    assert f"{'FP8' if precision == 'fp8' else 'Half'}" in row.note or precision in row.note.lower()
    # The model that was compiled says what the network says.
    frame = dead_leaves(48, 40, 3)
    engine = OrtEngine(bundle.read("model.onnx"), name="t", scale=4, threads=1)
    truth = run_network(load_checkpoint(checkpoint).network, frame)
    assert psnr(engine.run(frame), truth) > (50 if precision == "fp16" else 35)
    engine.close()


@needs_rtx
def test_what_was_measured_outlives_a_compilation_that_fails(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    wishes: dict[str, Any] = {"target": "rtx40", "precision": "fp8"}
    with pytest.raises(InputError, match="workspace of 1 MiB"):
        build(checkpoint, photos, tmp_path / "rtx", gpu={"workspace": 1}, **wishes)
    assert not (tmp_path / "rtx").exists()
    assert (tmp_path / "rtx.work" / "scales.json").is_file()
    build(checkpoint, photos, tmp_path / "rtx", **wishes)
    assert not (tmp_path / "rtx.work").exists()


@needs_rtx
def test_an_engine_for_other_cards_is_refused_by_name(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    bundle = build(checkpoint, photos, tmp_path / "rtx", target="rtx40", precision="fp16")
    version = bundle.passport.tensorrt_version or ""
    with rig(rtx=True, version=version, sm="86"), pytest.raises(InputError) as caught:
        open_trt(bundle)
    assert "SM 89" in caught.value.problem and "SM 86" in caught.value.problem
    assert "acf-edge build" in caught.value.remedy


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "cpu", "--size", "64x64"], "for GPUs"),
        (["--target", "abacus"], "Unknown target"),
        (["--target", "rtx20", "--precision", "fp8"], "fp8"),
        (["--target", "orin-nano", "--size", "0x0"], "0x0"),
        (["--target", "orin-nano", "--runtime", "tensorrt-rtx"], "not run by"),
        (["--target", "orin-nano", "--level", "9"], "level of 9"),
        (["--target", "orin-nano", "--precision", "fp16", "--int8-plugins"], "with fp16"),
        (["--target", "orin-nano", "--no-plugins", "--int8-plugins"], "without plugins"),
        (["--target", "orin-nano", "--workspace", "0"], "workspace of 0"),
        (["--target", "rtx40", "--dla"], "accelerator"),
        (["--target", "orin-nano", "--size", "8192x8192"], "too large for TensorRT"),
        (["--target", "auto"], ""),
    ],
)
def test_bad_wishes(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert main(["build", str(checkpoint), "-o", str(tmp_path / "out"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "Traceback" not in said
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()


def test_the_command_in_the_passport_has_every_wish(
    checkpoint: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--target", "orin-nano", "--precision", "fp16", "--size", SIZE, "--no-plugins"]
    words += ["--level", "2", "--workspace", "64"]
    out = tmp_path / "out"
    more = ["--calibrate", str(photos), "--recipe", "acf-std", "--json"]
    assert main(["build", str(checkpoint), "-o", str(out), *words, *more]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == str(out)
    passport = open_bundle(out).passport
    for word in words:
        assert word in passport.source_command
    assert "model.plugin.onnx" not in passport.files and passport.precision == "fp16"


def test_a_bundle_is_compiled_by_the_same_verb(
    portable: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "here"
    with board():
        assert main(["build", str(portable.path), "-o", str(out), "--size", "64x64"]) == 0
    assert "compiled" in capsys.readouterr().out
    assert len(open_bundle(out).passport.input_profiles) == 1
