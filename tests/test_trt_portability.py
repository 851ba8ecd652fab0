"""An engine's passport against a machine: what differs, what to do about it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from acf_edge.engine.passport import FileEntry, Passport
from acf_edge.engine.trt.portability import (
    Machine,
    check_portable,
    covers,
    describe_here,
    differences,
)
from acf_edge.errors import InputError

ENTRY = FileEntry("0" * 64, 1)
PASSPORT = Passport(
    network="acf-t",
    scale=4,
    precision="int8",
    backend="tensorrt",
    target="orin-nano",
    runtime="tensorrt",
    runtime_version="10.3.0",
    weights_sha256="1" * 64,
    source_command=("acf-edge", "build", "acf.safetensors", "-o", "my bundle"),
    created="2026-11-23",
    acf_edge_version="0.1",
    device="Orin",
    sm="87",
    tensorrt_version="10.3.0",
    plugin_hash="a" * 64,
    kernel_hash="b" * 64,
    files={"engine.plan": ENTRY},
)
HERE = Machine(
    backend="tensorrt",
    version="10.3.0",
    device="Orin",
    sm="87",
    driver="12.6",
    cuda="12.6",
    plugin_hash="a" * 64,
    kernel_hash="b" * 64,
)


def test_where_it_was_built_nothing_differs() -> None:
    assert differences(PASSPORT, HERE) == []
    assert check_portable(PASSPORT, HERE, "x") == []


@pytest.mark.parametrize(
    ("change", "field", "built", "here"),
    [
        ({"sm": "86", "device": "Orin"}, "compute capability", "SM 87", "SM 86 (Orin)"),
        ({"version": "10.13.3.9"}, "TensorRT", "10.3.0", "10.13.3.9"),
        ({"version": "10.3.0.30"}, "TensorRT", "10.3.0", "10.3.0.30"),
        ({"plugin_hash": "c" * 64}, "plugin", "a" * 12, "c" * 12),
        ({"plugin_hash": None}, "plugin", "a" * 12, "none"),
        ({"kernel_hash": "c" * 64}, "kernels", "b" * 12, "c" * 12),
        ({"sm": None, "device": None}, "GPU", "SM 87", "none"),
        ({"cuda": "13.0"}, "driver", "CUDA 13.0", "CUDA 12.6"),
    ],
)
def test_each_difference_is_named_and_refused(
    change: dict[str, Any], field: str, built: str, here: str
) -> None:
    machine = replace(HERE, **change)
    (found,) = differences(PASSPORT, machine)
    assert (found.field, found.built, found.here, found.fatal) == (field, built, here, True)
    with pytest.raises(InputError) as caught:
        check_portable(PASSPORT, machine, "my bundle")
    assert (
        f"'my bundle' (acf-t-x4 int8) does not run here ({field}: built for {built}, here {here})"
        in str(caught.value)
    )
    if field not in ("GPU", "driver"):
        assert "acf-edge build 'my bundle' -o 'my bundle' --target auto" in caught.value.remedy
        assert "--rebuild auto" in caught.value.remedy
    else:
        assert "Rebuild" not in caught.value.remedy


def test_several_differences_come_together() -> None:
    machine = replace(HERE, sm="110", device="Thor", version="10.13.2")
    with pytest.raises(InputError) as caught:
        check_portable(PASSPORT, machine, "b")
    assert "SM 110 (Thor); TensorRT: built for 10.3.0, here 10.13.2" in caught.value.problem
    assert caught.value.remedy.count("Rebuild it here") == 1


def test_another_device_of_the_same_kind_is_a_warning() -> None:
    found = check_portable(PASSPORT, replace(HERE, device="Orin NX"), "b")
    assert [str(one) for one in found] == ["device: built for Orin, here Orin NX"]


def test_a_newer_driver_and_an_older_minor_one_serve() -> None:
    for driver, cuda in (("13.0", "12.6"), ("12.2", "12.6"), (None, "12.6"), ("12.6", None)):
        assert differences(PASSPORT, replace(HERE, driver=driver, cuda=cuda)) == []


def test_an_engine_without_plugins_cares_for_no_hash() -> None:
    plain = replace(PASSPORT, plugin_hash=None, kernel_hash=None)
    assert differences(plain, replace(HERE, plugin_hash="c" * 64, kernel_hash=None)) == []


def test_another_library_names_how_to_get_it() -> None:
    rtx = replace(PASSPORT, backend="tensorrt_rtx", tensorrt_version="1.7.1.116", device=None)
    with pytest.raises(InputError, match=r"acf-edge\[rtx\]"):
        check_portable(rtx, HERE, "b")
    with pytest.raises(InputError, match="JetPack"):
        check_portable(PASSPORT, replace(HERE, backend="tensorrt_rtx", version="1.7"), "b")


def test_an_engine_left_to_the_board() -> None:
    bare = replace(PASSPORT, files={"model.onnx": ENTRY})
    with pytest.raises(InputError, match="not compiled yet"):
        check_portable(bare, HERE, "b")


def test_tensorrt_rtx_does_not_care_for_the_device() -> None:
    passport = replace(
        PASSPORT, backend="tensorrt_rtx", sm="75,86,120", plugin_hash=None, kernel_hash=None
    )
    machine = replace(HERE, backend="tensorrt_rtx", sm="120", device="GeForce RTX 5090")
    assert differences(passport, machine) == []
    with pytest.raises(InputError, match="SM 75, 86, 120"):
        check_portable(passport, replace(machine, sm="89"), "b")


@pytest.mark.parametrize(
    ("built", "sm", "runs"),
    [
        ("87", "87", True),
        ("87", "86", False),
        ("75,86", "86", True),
        ("75, 86", "86", True),
        ("75,86", "8", False),
        ("80+", "80", True),
        ("80+", "120", True),
        ("80+", "75", False),
        ("80+", "87", False),
        ("80+", "110", False),
        ("ada+", "89", False),
        ("+", "89", False),
    ],
)
def test_which_compute_capabilities_an_engine_covers(built: str, sm: str, runs: bool) -> None:
    assert covers(built, sm) is runs


def test_the_hardware_compatible_mode_does_not_warn_of_the_device() -> None:
    passport = replace(PASSPORT, sm="80+", device="RTX 3090")
    assert differences(passport, replace(HERE, sm="89", device="RTX 4090")) == []


def test_a_machine_from_an_opened_gpu() -> None:
    device: Any = SimpleNamespace(name="Orin", sm="87", driver="12.6")
    here = describe_here("tensorrt", "10.3.0", device, kernel_hash="b" * 64)
    assert (here.device, here.sm, here.driver, here.kernel_hash) == ("Orin", "87", "12.6", "b" * 64)
    nobody = describe_here("tensorrt", "10.3.0", None)
    assert (nobody.device, nobody.sm, nobody.driver) == (None, None, None)
