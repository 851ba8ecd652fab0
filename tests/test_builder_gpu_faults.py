"""Bundles for GPUs where something is missing, fails or is asked for at the wrong time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_networks import small_network, write_checkpoint
from toy_bundles import toy_ledger
from trt_rig import Rig, rig, write_trt_bundle

from acf_edge.cli.main import main
from acf_edge.engine import Bundle, write_bundle
from acf_edge.engine.trt import assemble
from acf_edge.engine.trt.compile import Plan
from acf_edge.engine.trt.recompile import Changes, recompile
from acf_edge.engine.trt.runtime import load_trt, open_trt
from acf_edge.errors import InputError

NOT_HERE = "There is no TensorRT here. Install it."


@pytest.fixture(autouse=True)
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("ACF_EDGE_CACHE", str(tmp_path / "cache"))
    with rig() as found:
        yield found


@pytest.fixture
def compiled(tmp_path: Path) -> Bundle:
    return write_trt_bundle(tmp_path / "compiled", target="orin-nano", sm="87")


@pytest.fixture
def models(compiled: Bundle, tmp_path: Path) -> Bundle:
    """Both forms, and no engine."""
    files = {"model.onnx": b"inlined", "model.plugin.onnx": b"plugins"}
    return write_bundle(tmp_path / "models", files, compiled.passport, toy_ledger())


def test_where_nothing_compiles_there_is_an_error_and_no_bundle(
    models: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acf_edge.engine.trt.recompile.why_not_here", lambda *_: NOT_HERE)
    with pytest.raises(InputError, match="no TensorRT here"):
        recompile(models, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_engine_is_not_replaced_by_none(
    compiled: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acf_edge.engine.trt.recompile.why_not_here", lambda *_: NOT_HERE)
    before = (compiled.path / "passport.json").read_bytes()
    with pytest.raises(InputError, match="replaced by none"):
        recompile(compiled, compiled.path, Changes(target="orin-nano"))
    assert (compiled.path / "passport.json").read_bytes() == before


def test_what_is_not_compiled_is_told_however_it_is_opened(models: Bundle) -> None:
    for load in (load_trt, open_trt):
        with pytest.raises(InputError, match="not compiled yet"):
            load(models)


@pytest.mark.parametrize("fails", [InputError("NVRTC is missing."), None])
def test_where_plugins_fail_the_inlined_form_stays(
    models: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: InputError | None
) -> None:
    def compile_form(model: bytes, request: Any, *_: Any) -> Plan:
        if request.plugins and fails is not None:
            raise fails
        return Plan(b"plan of " + model, (), (), b"")

    monkeypatch.setattr(assemble, "_compile", compile_form)
    times = {b"plan of inlined": 2.0, b"plan of plugins": 1.0}
    monkeypatch.setattr(assemble, "_milliseconds", lambda api, plan, *_: times[plan.data])
    bundle = recompile(models, tmp_path / "auto")
    failed = fails is not None
    assert bundle.read("engine.plan") == (b"plan of inlined" if failed else b"plan of plugins")
    assert ("plugins fail: NVRTC is missing" in bundle.ledger.rows[-1].note) == failed
    if failed:
        with pytest.raises(InputError, match="NVRTC"):
            recompile(models, tmp_path / "on", Changes(plugins="on"))


def test_models_for_the_accelerator_are_compiled_for_it(
    models: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ("64x48",)
    with pytest.raises(InputError, match="not written for the deep-learning accelerator"):
        recompile(models, tmp_path / "new", Changes(target="orin-nx", dla=True, sizes=one))
    passport = replace(models.passport, dla=True)
    dla = write_bundle(tmp_path / "dla", {"model.onnx": b"m"}, passport, toy_ledger())
    asked: list[bool] = []

    def compile_form(model: bytes, request: Any, *_: Any) -> Plan:
        asked.append(request.dla)
        return Plan(b"plan", (), (), b"")

    monkeypatch.setattr(assemble, "_compile", compile_form)
    monkeypatch.setattr(assemble, "_milliseconds", lambda *_: None)
    bundle = recompile(dla.path, tmp_path / "new", Changes(target="orin-nx", sizes=one))
    assert asked == [True] and bundle.passport.dla
    with pytest.raises(InputError, match="one size only"):
        recompile(dla, tmp_path / "ranges", Changes(target="orin-nx", sizes=("8x8:16x16:32x32",)))
    with pytest.raises(InputError, match="accelerator"):
        recompile(dla, tmp_path / "nano", Changes(target="orin-nano", sizes=one))


@pytest.mark.parametrize("more", [["--prune", "0.1"], ["--int8-plugins"], ["--calibrate", "x"]])
def test_what_would_change_the_models_wants_the_checkpoint(
    models: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(["build", str(models.path), "-o", str(tmp_path / "new"), *more]) == 2
    said = capsys.readouterr().err
    assert more[0] in said and said.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "orin-nx", "--dla"], "one size only"),
        (["--target", "orin-nx", "--dla", "--size", "64x64", "--plugins"], "runs no plugins"),
        (["--target", "orin-nano", "--sm", "86"], "one compute capability"),
        (["--target", "orin-nano", "--compatible"], "hardware-compatible"),
        (["--target", "rtx40", "--plugins"], "no plugins in TensorRT-RTX"),
        (["--target", "rtx40", "--sm", "ada"], "'ada' is no compute capability"),
        (["--target", "rtx40", "--sm", "86", "--precision", "fp8"], "SM 86 has no FP8"),
        (["--target", "rtx40", "--sm", "120", "--sm", "121"], "does not run on the target 'rtx40'"),
    ],
)
def test_what_cannot_be_compiled_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    checkpoint = write_checkpoint(tmp_path / "small.safetensors", small_network(width=32))
    out = tmp_path / "out"
    assert main(["build", str(checkpoint), "-o", str(out), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not out.exists() and not (tmp_path / "out.work").exists()


def test_shapes_that_tensorrt_cannot_infer(
    compiled: Bundle, board: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fake_tensorrt_run import Context
    from trt_rig import picture

    from acf_edge.errors import AcfError

    def fails(_: Context) -> list[str]:
        raise RuntimeError("infer_shapes error code: -1")

    monkeypatch.setattr(Context, "infer_shapes", fails)
    engine = open_trt(compiled)
    with pytest.raises(AcfError, match="cannot run"):
        engine.run(picture(16, 8))
    engine.close()
