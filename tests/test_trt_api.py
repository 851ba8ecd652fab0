"""TensorRT's versions behind one face: loading, features, messages, errors."""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest
from fake_tensorrt import World

from acf_edge.engine.trt import api as api_file
from acf_edge.engine.trt.api import (
    available,
    create_builder,
    create_network,
    create_parser,
    create_runtime,
    load_api,
    set_compatible,
    set_sms,
    set_workspace,
)
from acf_edge.engine.trt.log import Message, Steps, make_monitor, make_profiler
from acf_edge.errors import InputError, MissingExtraError

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="no TensorRT-RTX"
)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Python without any TensorRT."""
    for names in api_file.MODULES.values():
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
    yield


def install(monkeypatch: pytest.MonkeyPatch, version: str, **options: Any) -> Any:
    rtx = options.pop("rtx", False)
    fake = fake_tensorrt.make(version, World(**options), rtx=rtx)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx" if rtx else "tensorrt", fake)
    return fake


@pytest.mark.usefixtures("nothing")
def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_file, "TEGRA", Path("/nonexistent"))
    with pytest.raises(MissingExtraError, match=r"acf-edge\[tensorrt\]"):
        load_api("tensorrt")
    with pytest.raises(MissingExtraError, match=r"acf-edge\[rtx\]"):
        load_api("tensorrt_rtx")
    assert available() == []


@pytest.mark.usefixtures("nothing")
def test_on_a_jetson_jetpack_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "release").touch()
    monkeypatch.setattr(api_file, "TEGRA", tmp_path / "release")
    with pytest.raises(InputError, match=r"JetPack.*system-site-packages"):
        load_api("tensorrt")


@pytest.mark.usefixtures("nothing")
def test_bindings_without_their_library_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt_bindings.py").write_text(
        'raise ImportError("libnvinfer.so.11: cannot open shared object file")\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt_bindings")
    monkeypatch.setattr(api_file, "TEGRA", Path("/nonexistent"))
    with pytest.raises(InputError, match=r"libnvinfer\.so\.11.*LD_LIBRARY_PATH") as caught:
        load_api("tensorrt")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.usefixtures("nothing")
def test_a_folder_of_type_stubs_is_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))
    monkeypatch.setattr(api_file, "TEGRA", Path("/nonexistent"))
    with pytest.raises(MissingExtraError):
        load_api("tensorrt")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="tensorrt_rtx"):
        load_api("openvino")


@pytest.mark.parametrize("version", ["8.5.2.2", "10.2.0"])
def test_an_old_version_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    with pytest.raises(InputError, match=rf"{version} is too old.*10\.3"):
        load_api("tensorrt")


def test_versions_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0")
    old = load_api("tensorrt")
    assert old is load_api("tensorrt")
    assert (old.version, old.text, old.is_rtx) == ((10, 3, 0), "TensorRT 10.3.0", False)
    assert old.features.plugins
    assert old.features.timing_cache
    assert old.features.hardware_levels == ("AMPERE_PLUS",)
    install(monkeypatch, "11.4.0.106")
    new = load_api("tensorrt")
    assert new.version == (11, 4, 0, 106)
    assert "SAME_COMPUTE_CAPABILITY" in new.features.hardware_levels
    install(monkeypatch, "1.7.1.116", rtx=True)
    rtx = load_api("tensorrt_rtx")
    assert rtx.is_rtx
    assert not rtx.features.plugins
    assert not rtx.features.timing_cache
    assert {"75", "86", "120"} <= set(rtx.features.sms)


@pytest.mark.parametrize(("version", "flags"), [("10.3.0", 2), ("10.13.3.9", 2), ("11.4.0", 1)])
def test_networks_are_strongly_typed_in_every_version(
    monkeypatch: pytest.MonkeyPatch, version: str, flags: int
) -> None:
    fake = install(monkeypatch, version)
    api = load_api("tensorrt")
    network: Any = create_network(api, create_builder(api))
    assert network.flags == flags
    assert network.get_flag(fake.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_no_gpu_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.13.3.9", sm=None)
    api = load_api("tensorrt")
    with pytest.raises(InputError, match=r"without a usable GPU: CUDA initialization.*rtx"):
        create_builder(api)
    with pytest.raises(InputError, match="cannot load an engine here"):
        create_runtime(api)


def test_settings_that_a_version_lacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, "10.3.0")
    api = load_api("tensorrt")
    config: Any = create_builder(api).create_builder_config()
    set_workspace(api, config, 5 << 20)
    assert config.get_memory_pool_limit(fake.MemoryPoolType.WORKSPACE) == 5 << 20
    set_sms(api, config, [])
    with pytest.raises(InputError, match="compiles for the GPU that it finds"):
        set_sms(api, config, ["86"])
    set_compatible(api, config)
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"
    with pytest.raises(InputError, match="It has: AMPERE_PLUS"):
        set_compatible(api, config, "SAME_COMPUTE_CAPABILITY")


@needs_rtx
def test_tensorrt_rtx_takes_its_compute_capabilities() -> None:
    api = load_api("tensorrt_rtx")
    builder = create_builder(api)
    config: Any = builder.create_builder_config()
    set_sms(api, config, ["86", "120"])
    assert config.num_compute_capabilities == 2
    found = [config.get_compute_capability(index).name for index in range(2)]
    assert found == ["SM86", "SM120"]
    with pytest.raises(InputError, match="cannot compile ahead for SM 87"):
        set_sms(api, config, ["87"])
    set_workspace(api, config, 1 << 20)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, 8, 8, 3), (1, 8, 9, 3), (1, 9, 9, 3))
    assert [tuple(dims) for dims in profile.get_shape("image")][1] == (1, 8, 9, 3)
    assert "tensorrt_rtx" in api_file.loaded_kinds()


@needs_rtx
def test_real_messages_come_to_the_listener_and_the_error_is_remembered() -> None:
    api = load_api("tensorrt_rtx")
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>'
        "g (float[1] x) => (float[1] y) { y = own.Unheard(x) }"
    )
    network = create_network(api, create_builder(api))
    parser = create_parser(api, network)
    api.last_error()
    with api.log.listen("error") as found:
        assert not parser.parse(model.SerializeToString())
    assert found
    assert all(message.is_error for message in found)
    text = api.last_error()
    assert "Unheard" in text
    assert "\n" not in text
    assert api.last_error() == ""


def test_a_listener_gets_the_levels_that_it_asked_for_while_it_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = install(monkeypatch, "10.13.3.9")
    api = load_api("tensorrt")
    logger: Any = api.logger
    with api.log.listen("warning") as outer, api.log.listen("verbose") as inner:
        logger.log(fake.ILogger.VERBOSE, "small")
        logger.log(fake.ILogger.WARNING, "middling")
        thread = threading.Thread(target=logger.log, args=(fake.ILogger.ERROR, "grave\ncause"))
        thread.start()
        thread.join()
    logger.log(fake.ILogger.ERROR, "grave\ncause")
    assert outer == [Message("warning", "middling"), Message("error", "grave\ncause")]
    assert [message.level for message in inner] == ["verbose", "warning", "error"]
    assert api.last_error() == "grave cause"


def test_what_a_listener_raises_comes_out_where_the_listening_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = install(monkeypatch, "10.13.3.9")
    api = load_api("tensorrt")
    logger: Any = api.logger
    heard: list[Message] = []

    def deaf(message: Message) -> None:
        heard.append(message)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), api.log.hear(deaf):
        logger.log(fake.ILogger.INFO, "one")
        logger.log(fake.ILogger.INFO, "two")
    assert [message.text for message in heard] == ["one"]


class Count(Steps):
    def __init__(self, stop_at: int = -1, error: BaseException | None = None) -> None:
        self.seen: list[str] = []
        self.stop_at, self.error = stop_at, error

    def start(self, phase: str, parent: str, steps: int) -> None:
        self.seen.append(f"{phase!r} in {parent!r} has {steps}")

    def step(self, phase: str, step: int) -> bool:
        if self.error is not None:
            raise self.error
        self.seen.append(str(step))
        return step != self.stop_at

    def finish(self, phase: str) -> None:
        self.seen.append("end")


def test_progress_is_told_and_can_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, "10.3.0")
    steps = Count(stop_at=1)
    monitor = make_monitor(fake, steps)
    handle: Any = monitor.handle
    handle.phase_start("build", None, 3)
    assert handle.step_complete("build", 0)
    assert not handle.step_complete("build", 1)
    handle.phase_finish("build")
    monitor.check()
    assert steps.seen == ["'build' in '' has 3", "0", "1", "end"]


def test_what_the_steps_raise_cancels_and_comes_back_after_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = install(monkeypatch, "10.3.0")
    monitor = make_monitor(fake, Count(error=KeyboardInterrupt()))
    handle: Any = monitor.handle
    handle.phase_start("build", None, 3)
    assert not handle.step_complete("build", 0)
    assert not handle.step_complete("build", 1)
    handle.phase_finish("build")
    with pytest.raises(KeyboardInterrupt):
        monitor.check()
    monitor.check()


@needs_rtx
def test_monitor_and_profiler_are_what_real_bindings_take() -> None:
    api = load_api("tensorrt_rtx")
    config = create_builder(api).create_builder_config()
    monitor = make_monitor(api.module, Count())
    config.progress_monitor = monitor.handle
    assert config.progress_monitor is monitor.handle
    heard: list[tuple[str, float]] = []
    profiler = make_profiler(api.module, lambda name, ms: heard.append((name, ms)))
    profiler.report_layer_time("conv", 0.5)
    assert heard == [("conv", 0.5)]
