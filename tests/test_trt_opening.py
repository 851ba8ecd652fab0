"""From a bundle to an engine of TensorRT: plugins, sizes that are too large, who runs where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trt_rig import expected, picture, plan_bytes, rig, write_trt_bundle

from acf_edge.engine import load_engine
from acf_edge.engine.passport import InputProfile
from acf_edge.engine.trt import runtime
from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.plugin import unregister
from acf_edge.engine.trt.plugin_fields import plugin_hash
from acf_edge.engine.trt.runtime import TrtEngine, open_trt
from acf_edge.errors import InputError
from acf_edge.stream.live.fitting import FittingEngine

VOTE = {
    "name": "JunctionVote",
    "version": "1",
    "namespace": "acf",
    "fields": [
        ["branches", "INT32", [3]],
        ["features_scale", "FLOAT32", [0.0]],
        ["logits_scale", "FLOAT32", [0.0]],
        ["output_scale", "FLOAT32", [0.0]],
    ],
}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker: the stand-ins are in this process."""
    monkeypatch.setattr(runtime, "can_work_apart", lambda: False)


def test_plugins_are_registered_before_the_engine_is_loaded(tmp_path: Path) -> None:
    plan = plan_bytes(plugins=[VOTE])
    hashed = write_trt_bundle(tmp_path / "with", plan=plan, plugin_hash=plugin_hash())
    silent = write_trt_bundle(tmp_path / "without", plan=plan)
    with rig() as found:
        with pytest.raises(InputError, match="Cannot find plugin: JunctionVote"):
            open_trt(silent)
        for _ in range(2):
            engine = open_trt(hashed)
            frame = picture(16, 8)
            assert np.array_equal(engine.run(frame), expected(frame))
            engine.close()
        assert len(found.module.registry.all_creators) == 2
        unregister(load_api("tensorrt"))


def test_an_engine_for_other_plugins(tmp_path: Path) -> None:
    bundle = write_trt_bundle(
        tmp_path / "bundle", plan=plan_bytes(plugins=[VOTE]), plugin_hash="cd" * 32
    )
    with rig() as found:
        with pytest.raises(InputError, match=r"plugin: built for cdcdcd.*Rebuild it here"):
            open_trt(bundle)
        assert found.module.registry.all_creators == []


def test_a_bundle_that_is_compiled_on_the_board_only(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle")
    (bundle.path / "engine.plan").unlink()
    with rig(), pytest.raises(InputError, match=r"engine\.plan.*acf-edge build"):
        open_trt(bundle)


@pytest.mark.parametrize(
    ("plan", "changes", "words"),
    [
        (None, {"sm": "86"}, "compute capability: built for SM 86, here SM 87"),
        (None, {"tensorrt_version": "10.13.3.9"}, "TensorRT: built for 10.13.3.9, here 10.3.0"),
        (None, {"kernel_hash": "ab" * 32}, "kernels: built for abababababab"),
        (plan_bytes(version="10.13.3.9"), {}, "Version tag does not match"),
        (b"no engine", {}, "magicTag"),
        (plan_bytes(dtype="FLOAT"), {}, "takes and gives uint8"),
        (plan_bytes(names=("input", "output")), {}, "inputs and outputs input, output"),
    ],
)
def test_an_engine_that_does_not_run_here(
    tmp_path: Path, plan: bytes | None, changes: dict[str, str], words: str
) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle", plan=plan, **changes)
    with rig() as found:
        with pytest.raises(InputError, match=words):
            open_trt(bundle)
        assert found.machine.memory.leaks() == 0


def test_no_gpu(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle")
    with rig(devices=0), pytest.raises(InputError, match="No NVIDIA GPU"):
        open_trt(bundle)


def test_damaged_bytes_never_reach_tensorrt(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle")
    file = bundle.path / "engine.plan"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(bytes(content))
    with rig() as found:
        with pytest.raises(InputError, match="damaged"):
            open_trt(bundle)
        assert "cuInit" not in found.machine.calls


@pytest.mark.usefixtures("here")
def test_by_the_way_that_all_engines_are_loaded(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "bundle")
    with rig():
        engine = load_engine(bundle.path, spin=False)
        assert isinstance(engine, TrtEngine)
        assert (engine.name, engine.scale) == ("toy-x2 fp16", 2)
        frame = picture(16, 8)
        assert np.array_equal(engine.run(frame), expected(frame))
        engine.close()


@pytest.mark.usefixtures("here")
def test_pictures_larger_than_the_profile_go_in_tiles(tmp_path: Path) -> None:
    profile = InputProfile((64, 64), (256, 256), (256, 256))
    bundle = write_trt_bundle(tmp_path / "bundle", (profile,))
    with rig() as found:
        # What does not look beyond its pixel: then tiles may not show.
        found.world.network = None
        engine = FittingEngine(bundle.path, threads=1, spin=False)
        # The last two are smaller than the profile, too: they are padded.
        for size in [(200, 100), (300, 100), (400, 270), (200, 4), (300, 4)]:
            frame = picture(*size)
            large = frame.repeat(2, axis=0).repeat(2, axis=1)
            assert np.array_equal(engine.run(frame), large)
        engine.close()
        assert found.machine.memory.leaks() == 0
