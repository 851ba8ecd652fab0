"""Kept engines and timing caches: named by what changes them, checked when read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acf_edge.engine.trt.compile import Plan, Request
from acf_edge.engine.trt.layers import Layer
from acf_edge.engine.trt.profiles import parse_profiles
from acf_edge.engine.trt.store import (
    PlanStore,
    Surroundings,
    compile_cached,
    plan_key,
)
from acf_edge.engine.trt.targets import find_target, sm_target
from acf_edge.errors import InputError
from acf_edge.files import cache_folder

REQUEST = Request(find_target("rtx30"), "fp16", parse_profiles(["64x64:320x180:1280x720"]))
AROUND = Surroundings("tensorrt", "10.13.3.9", "RTX 3090", "k" * 64)
PLAN = Plan(
    b"engine",
    (Layer("a", "CaskConvolution", ("int8",), ("fp16",), ("int8",), ("up/Conv",), "tactic"),),
    ("a warning",),
    b"",
)
KEY = plan_key(b"onnx", REQUEST, AROUND)


def test_the_key_is_the_same_for_the_same_engine() -> None:
    assert plan_key(b"onnx", replace(REQUEST), replace(AROUND)) == KEY
    # The same chip under another name, and the target's own workspace spelt out.
    twin = replace(REQUEST.target, name="sm86", title="another", dla_cores=9)
    assert plan_key(b"onnx", replace(REQUEST, target=twin), AROUND) == KEY
    spelt = replace(REQUEST, workspace=REQUEST.target.workspace, sms=("86",))
    assert plan_key(b"onnx", spelt, AROUND) == KEY
    # Without plugins the kernels are not in it.
    assert plan_key(b"onnx", REQUEST, replace(AROUND, kernels="")) == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"target": sm_target("89")},
        {"profiles": parse_profiles(["320x180"])},
        {"plugins": True},
        {"level": 5},
        {"workspace": 1 << 20},
        {"dla": True},
        {"compatible": True},
        {"sms": ("86", "89")},
    ],
)
def test_what_changes_the_engine_changes_the_key(change: dict[str, Any]) -> None:
    assert plan_key(b"onnx", replace(REQUEST, **change), AROUND) != KEY


@pytest.mark.parametrize(
    "change", [{"backend": "tensorrt_rtx"}, {"version": "10.3.0"}, {"device": "RTX 3060"}]
)
def test_the_surroundings_count(change: dict[str, Any]) -> None:
    assert plan_key(b"onnx", REQUEST, replace(AROUND, **change)) != KEY
    assert plan_key(b"other", REQUEST, AROUND) != KEY


def test_kernels_count_where_plugins_are_timed_and_devices_where_they_matter() -> None:
    plugins = replace(REQUEST, plugins=True)
    other = replace(AROUND, kernels="l" * 64)
    assert plan_key(b"onnx", plugins, AROUND) != plan_key(b"onnx", plugins, other)
    compatible = replace(REQUEST, compatible=True)
    device = replace(AROUND, device="RTX 4090")
    assert plan_key(b"onnx", compatible, AROUND) == plan_key(b"onnx", compatible, device)


def test_an_engine_comes_back_as_it_was(tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "cache")
    assert store.get(KEY) is None
    store.put(KEY, PLAN)
    assert store.get(KEY) == PLAN
    assert store.get(plan_key(b"other", REQUEST, AROUND)) is None


@pytest.mark.parametrize("damage", ["plan", "notes", "short", "gone", "format"])
def test_a_damaged_engine_is_none(tmp_path: Path, damage: str) -> None:
    store = PlanStore(tmp_path)
    store.put(KEY, PLAN)
    folder = tmp_path / "engines" / KEY
    plan, notes = folder / "engine.plan", folder / "engine.json"
    if damage == "plan":
        plan.write_bytes(b"engins")
    elif damage == "notes":
        notes.write_bytes(notes.read_bytes()[:-5])
    elif damage == "short":
        plan.write_bytes(b"engin")
    elif damage == "gone":
        plan.unlink()
    else:
        notes.write_bytes(notes.read_bytes().replace(b'"format": 1', b'"format": 2'))
    assert store.get(KEY) is None
    store.put(KEY, PLAN)
    assert store.get(KEY) == PLAN


def test_the_least_used_engines_go_first(tmp_path: Path) -> None:
    keys = [f"{number:064x}" for number in range(4)]
    store = PlanStore(tmp_path)
    for age, key in enumerate(keys[:3]):
        store.put(key, replace(PLAN, data=bytes(1000)))
        os.utime(tmp_path / "engines" / key, (100 + age, 100 + age))
    assert store.get(keys[0])  # used just now
    small = PlanStore(tmp_path, largest=3000)
    small.put(keys[3], replace(PLAN, data=bytes(1000)))
    assert [store.get(key) is not None for key in keys] == [True, False, False, True]


def test_the_newest_engine_stays_however_large(tmp_path: Path) -> None:
    store = PlanStore(tmp_path, largest=10)
    store.put(KEY, PLAN)
    assert store.get(KEY) == PLAN


def test_a_timing_cache_belongs_to_a_device_and_a_version(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    assert store.timing_cache(AROUND) == b""
    store.keep_timing_cache(AROUND, b"times")
    assert store.timing_cache(AROUND) == b"times"
    assert store.timing_cache(replace(AROUND, kernels="")) == b"times"
    for change in ({"device": "RTX 3060"}, {"version": "10.3.0"}, {"backend": "tensorrt_rtx"}):
        assert store.timing_cache(replace(AROUND, **change)) == b""
    store.keep_timing_cache(AROUND, b"")
    assert store.timing_cache(AROUND) == b"times"
    (file,) = (tmp_path / "timings").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert store.timing_cache(AROUND) == b""


def test_nothing_is_compiled_twice(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    made: list[bytes] = []

    def make(timings: bytes) -> Plan:
        made.append(timings)
        return replace(PLAN, timing_cache=b"times")

    first, kept = compile_cached(b"onnx", REQUEST, AROUND, make, store)
    assert (first.data, kept) == (b"engine", False)
    second, kept = compile_cached(b"onnx", REQUEST, AROUND, make, store)
    assert (second.data, second.layers, kept) == (b"engine", PLAN.layers, True)
    compile_cached(b"other", REQUEST, AROUND, make, store)
    assert made == [b"", b"times"]


def test_an_engine_that_cannot_be_kept_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = PlanStore(tmp_path / "file" / "cache")
    plan, kept = compile_cached(b"onnx", REQUEST, AROUND, lambda timings: PLAN, store)
    assert (plan, kept) == (PLAN, False)


@pytest.mark.parametrize("key", ["", "..", "a" * 63, "../" + "a" * 61, "A" * 64])
def test_only_keys_are_names(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        PlanStore(tmp_path).get(key)


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ACF_EDGE_CACHE", raising=False)
    assert cache_folder() == tmp_path / "acf-edge"
    monkeypatch.setenv("ACF_EDGE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert PlanStore().folder == tmp_path / "mine"


def test_a_cache_that_everybody_may_write_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACF_EDGE_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(InputError, match="Everybody may write"):
        cache_folder()
    tmp_path.chmod(0o755)
    assert cache_folder() == tmp_path
