"""Boards and cards: what they are, what they compute in, what is refused with which way out."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

from acf_edge.engine.trt import targets
from acf_edge.engine.trt.targets import (
    CLASSIC,
    RTX,
    TARGETS,
    find_target,
    sm_target,
    target_of,
)
from acf_edge.errors import InputError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("name", "sm", "gib", "dla", "integrated", "backend", "precision"),
    [
        ("orin-nano", "87", 4, 0, True, CLASSIC, "int8"),
        ("orin-nx", "87", 8, 1, True, CLASSIC, "int8"),
        ("agx-orin", "87", 32, 2, True, CLASSIC, "int8"),
        ("thor", "110", 64, 0, True, CLASSIC, "fp8"),
        ("rtx20", "75", 6, 0, False, RTX, "fp16"),
        ("rtx30", "86", 4, 0, False, RTX, "fp16"),
        ("rtx40", "89", 6, 0, False, RTX, "fp16"),
        ("rtx50", "120", 8, 0, False, RTX, "fp16"),
        ("a100", "80", 40, 0, False, CLASSIC, "int8"),
        ("h100", "90", 80, 0, False, CLASSIC, "int8"),
    ],
)
def test_every_named_target(
    name: str, sm: str, gib: int, dla: int, integrated: bool, backend: str, precision: str
) -> None:
    target = find_target(name)
    assert target.name == name
    assert (target.sm, target.memory, target.dla_cores) == (sm, gib * GIB, dla)
    assert (target.integrated, target.backend) == (integrated, backend)
    assert target.best_precision == precision
    assert target.check("auto") == precision
    assert 0 < target.workspace <= target.memory // 2
    assert target.workspace % (1 << 20) == 0


def test_a_name_is_read_without_fuss() -> None:
    assert find_target(" Orin_Nano ").name == "orin-nano"
    assert find_target("SM86") == find_target("sm-86")


@pytest.mark.parametrize("sm", ["75", "80", "86", "87", "89", "90", "100", "103", "110", "120"])
def test_a_compute_capability_is_a_target(sm: str) -> None:
    target = find_target(f"sm{sm}")
    assert target.sm == sm
    assert ("fp8" in target.precisions(CLASSIC)) == (int(sm) >= 89)
    assert target.ahead_of_time() == (target.backend == RTX)
    assert target.workspace > 0


def test_tensorrt_rtx_compiles_ahead_for_what_it_knows() -> None:
    ahead = {sm for sm in ("75", "80", "86", "87", "89", "90", "110", "120") if
             sm_target(sm).ahead_of_time(RTX)}  # fmt: skip
    assert ahead == {"75", "80", "86", "89", "120"}
    assert not sm_target("86").ahead_of_time(CLASSIC)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("xavier", "TensorRT 8.5"),
        ("agx-xavier", "TensorRT 8.5"),
        ("xavier-nx", "TensorRT 8.5"),
        ("jetson-agx-xavier", "TensorRT 8.5"),
        ("sm72", "TensorRT 8.5"),
        ("tx2", "JetPack 4.6"),
        ("nano", "Maxwell"),
        ("jetson-nano", "Maxwell"),
        ("maxwell", "Maxwell"),
        ("sm53", "Maxwell"),
        ("sm61", "Pascal"),
        ("gtx10", "Pascal"),
        ("v100", "Volta"),
        ("sm70", "Volta"),
    ],
)
def test_what_is_too_old_is_refused_with_what_works_there(name: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        find_target(name)
    assert says in caught.value.problem
    assert "ONNX Runtime" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "orin", "sm", "sm999", "sm8", "gpu", "rtx60"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_target(name)
    assert "orin-nano" in str(caught.value) or "87" in str(caught.value)


def test_a_precision_that_a_target_lacks() -> None:
    with pytest.raises(InputError, match="fp16"):
        find_target("rtx20").check("fp8")
    with pytest.raises(InputError, match="int8"):
        find_target("orin-nano").check("fp8")
    assert find_target("rtx40").check("fp8") == "fp8"
    with pytest.raises(InputError, match="no precision 'int4'"):
        find_target("rtx40").check("int4")


def test_the_backend_follows_the_precision() -> None:
    assert find_target("rtx30").backend_for("fp16") == RTX
    assert find_target("rtx30").backend_for("int8") == CLASSIC
    assert find_target("rtx30").backend_for("auto") == RTX
    assert find_target("rtx20").backend_for("fp32") == CLASSIC
    with pytest.raises(InputError, match="int8, fp32"):
        find_target("rtx20").backend_for("fp8")


def test_a_backend_that_does_not_run_there() -> None:
    with pytest.raises(InputError, match="is not run by tensorrt_rtx"):
        find_target("orin-nano").check("fp16", backend=RTX)


def test_the_accelerator() -> None:
    assert find_target("agx-orin").check("auto", dla=True) == "int8"
    assert find_target("orin-nx").check("fp16", dla=True) == "fp16"
    for name in ("orin-nano", "thor", "rtx40"):
        with pytest.raises(InputError, match="orin-nx, agx-orin"):
            find_target(name).check("auto", dla=True)
    with pytest.raises(InputError, match="int8 or fp16"):
        find_target("agx-orin").check("fp32", dla=True)


def device(sm: str, integrated: bool, gib: int, name: str = "GPU") -> SimpleNamespace:
    return SimpleNamespace(
        ordinal=0, name=name, sm=sm, integrated=integrated, memory=gib * GIB, driver="12.6"
    )


@pytest.mark.parametrize(
    ("model", "sm", "name"),
    [
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "87", "orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "87", "orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "87", "agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "110", "thor"),
        ("NVIDIA Jetson of tomorrow", "87", "sm87"),
    ],
)
def test_a_board_is_told_by_its_model(
    monkeypatch: pytest.MonkeyPatch, model: str, sm: str, name: str
) -> None:
    monkeypatch.setattr(targets, "_board_model", lambda: model)
    found = target_of(device(sm, True, 7))  # type: ignore[arg-type]
    assert found.name == name
    assert found.memory == 7 * GIB


def test_a_card_is_its_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_board_model", lambda: "")
    found = target_of(device("89", False, 24))  # type: ignore[arg-type]
    assert (found.name, found.memory, found.workspace) == ("sm89", 24 * GIB, 8 * GIB)


def test_auto_asks_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = types.ModuleType("acf_edge.cuda.driver")
    driver.open_device = lambda: device("86", False, 12)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acf_edge.cuda.driver", driver)
    assert find_target("auto").sm == "86"


def test_the_model_of_a_machine_that_is_no_board(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(targets, "BOARD_MODEL", tmp_path / "model")
    assert targets._board_model() == ""
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson AGX Orin\0")
    assert targets._board_model() == "NVIDIA Jetson AGX Orin"


def test_every_target_has_a_precision_with_each_of_its_backends() -> None:
    for target in TARGETS.values():
        for backend in target.backends:
            assert target.check("auto", backend=backend) in target.precisions(backend)
