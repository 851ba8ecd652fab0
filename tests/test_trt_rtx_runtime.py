"""What running with TensorRT-RTX needs besides: kernels made on the spot, and a cache of them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path

import fake_tensorrt_run
import numpy as np
import pytest
from trt_rig import SMALL, Rig, expected, picture, plan_bytes, rig, write_trt_bundle

from acf_edge.engine import Bundle
from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.runtime import open_trt
from acf_edge.errors import InputError

VERSION = "1.7.1.116"


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("ACF_EDGE_CACHE", str(tmp_path / "cache"))
    with rig("random", rtx=True, version=VERSION) as made:
        made.module.IExecutionContext = types.SimpleNamespace(is_stream_capturable=True)
        monkeypatch.setattr(
            fake_tensorrt_run.Context,
            "is_stream_capturable",
            lambda self, stream: True,
            raising=False,
        )
        yield made


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_trt_bundle(
        tmp_path / "bundle",
        plan=plan_bytes((SMALL,), version=VERSION, rtx=True),
        backend="tensorrt_rtx",
        tensorrt_version=VERSION,
        sm="86,87",
    )


def check(bundle: Bundle, frames: int = 5) -> tuple[str, ...]:
    engine = open_trt(bundle, Options(slots=1))
    for seed in range(frames):
        frame = picture(16, 8, seed)
        assert np.array_equal(engine.run(frame), expected(frame))
    notes = engine.notes
    engine.close()
    return notes


def test_contexts_are_told_to_make_their_kernels_at_once(found: Rig, bundle: Bundle) -> None:
    seen = []
    make = fake_tensorrt_run.Engine.create_execution_context

    def watch(self: fake_tensorrt_run.Engine, config: object) -> object:
        seen.append(config)
        return make(self, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_tensorrt_run.Engine, "create_execution_context", watch)
        assert check(bundle) == ()
    (config,) = seen
    kinds = found.module.DynamicShapesKernelSpecializationStrategy
    assert config.dynamic_shapes_kernel_specialization_strategy == kinds.EAGER
    assert config.cuda_graph_strategy == found.module.CudaGraphStrategy.DISABLED
    assert config.cache is not None
    assert "cuGraphLaunch" in found.machine.calls


def test_what_was_made_is_kept(found: Rig, bundle: Bundle, tmp_path: Path) -> None:
    check(bundle)
    (file,) = (tmp_path / "cache" / "jit").iterdir()
    first = file.read_bytes()
    read: list[bytes] = []
    take = fake_tensorrt_run.RuntimeCache.deserialize

    def watch(self: fake_tensorrt_run.RuntimeCache, blob: bytes) -> bool:
        read.append(bytes(blob))
        return take(self, blob)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_tensorrt_run.RuntimeCache, "deserialize", watch)
        check(bundle)
        assert read == [first[32:]]
        # Damaged bytes are not handed over, and are written anew.
        file.write_bytes(first[:-1] + b"\0")
        check(bundle)
        assert len(read) == 1
    assert file.read_bytes() == first


def test_a_cache_folder_that_cannot_be_written(
    found: Rig, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACF_EDGE_CACHE", str(tmp_path / "file"))
    assert check(bundle) == ()


def test_where_no_capture_is_possible_none_is_tried(
    found: Rig, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fake_tensorrt_run.Context, "is_stream_capturable", lambda self, stream: False
    )
    (note,) = check(bundle)
    assert "cannot be captured" in note
    assert "cuStreamBeginCapture" not in found.machine.calls


def test_a_plan_of_the_other_library(found: Rig, tmp_path: Path) -> None:
    bundle = write_trt_bundle(
        tmp_path / "classic", backend="tensorrt_rtx", tensorrt_version=VERSION
    )
    with pytest.raises(InputError, match=r"TensorRT-RTX 1\.7\.1\.116 cannot load"):
        open_trt(bundle)


RUNNING = {
    "Runtime": "deserialize_cuda_engine",
    "ICudaEngine": "create_execution_context create_engine_inspector device_memory_size_v2 "
    "get_tensor_dtype get_tensor_mode get_tensor_name get_tensor_profile_shape num_io_tensors "
    "num_optimization_profiles create_runtime_config",
    "IExecutionContext": "execute_async_v3 get_tensor_shape infer_shapes profiler "
    "set_device_memory set_input_shape set_optimization_profile_async set_tensor_address "
    "is_stream_capturable",
    "IRuntimeConfig": "create_runtime_cache cuda_graph_strategy set_runtime_cache "
    "dynamic_shapes_kernel_specialization_strategy set_execution_context_allocation_strategy",
    "IRuntimeCache": "deserialize serialize",
    "ExecutionContextAllocationStrategy": "USER_MANAGED",
    "DynamicShapesKernelSpecializationStrategy": "EAGER",
    "CudaGraphStrategy": "DISABLED",
    "IProfiler": "report_layer_time",
}


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt_rtx"])
def test_the_names_are_those_of_the_real_bindings(kind: str) -> None:
    try:
        api = load_api(kind)
    except InputError as error:
        pytest.skip(str(error))
    for owner, names in RUNNING.items():
        for name in names.split():
            rtx_only = name in ("create_runtime_config", "is_stream_capturable") or owner in (
                "IRuntimeConfig",
                "IRuntimeCache",
                "DynamicShapesKernelSpecializationStrategy",
                "CudaGraphStrategy",
            )
            if api.is_rtx or not rtx_only:
                assert hasattr(getattr(api.module, owner), name), f"{owner}.{name}"
