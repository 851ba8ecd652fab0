"""TensorRT-RTX compiles the shipped model for every GPU that it knows, without a GPU.

The data types are read from the layer table that it prints.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from trt_networks import small_network, with_operator

from acf_edge.engine.trt.api import TrtApi, load_api
from acf_edge.engine.trt.compile import (
    CompileCancelled,
    Plan,
    Progress,
    Request,
    compile_plan,
)
from acf_edge.engine.trt.layers import summarize
from acf_edge.engine.trt.log import Message
from acf_edge.engine.trt.profiles import DEFAULT_SIZE, parse_profiles
from acf_edge.engine.trt.targets import RTX, sm_target
from acf_edge.errors import InputError
from acf_edge.resources import default_bundle

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")

SMS = ("75", "80", "86", "89", "120")
PROFILES = parse_profiles([DEFAULT_SIZE])
SMALL = small_network().SerializeToString()


@pytest.fixture(scope="module")
def api() -> TrtApi:
    return load_api(RTX)


@pytest.fixture(scope="module")
def shipped() -> Callable[[str], bytes]:
    """Precision -> the shipped model in TensorRT's dialect."""
    onnx = pytest.importorskip("onnx")
    from acf_edge.compress.scales import load_scales
    from acf_edge.export.trt.write import write_tensorrt

    plain = onnx.load(default_bundle() / "network.onnx")
    store = load_scales(default_bundle() / "scales.json")

    @cache
    def write(precision: str) -> bytes:
        model = write_tensorrt(plain, precision=precision, store=store)
        return bytes(model.SerializeToString())

    return write


def request(sm: str, precision: str = "fp16", **changes: object) -> Request:
    target = sm_target(sm)
    target = replace(target, backends=(RTX,))
    return replace(Request(target, precision, PROFILES), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("sm", SMS)
def test_the_shipped_model_in_fp16(api: TrtApi, shipped: Callable[[str], bytes], sm: str) -> None:
    plan = compile_plan(shipped("fp16"), request(sm), api)
    found = summarize(plan.layers)
    assert len(plan.data) > 100_000
    assert set(found.convolutions) == {"fp16"}
    assert sum(found.convolutions.values()) >= 15
    assert found.plugins == ()
    assert next(one.inputs for one in plan.layers if one.inputs) == ("uint8",)
    assert plan.layers[-1].outputs == ("uint8",)
    assert plan.timing_cache == b""


@pytest.mark.parametrize("sm", [sm for sm in SMS if int(sm) >= 89])
def test_the_shipped_model_in_fp8(api: TrtApi, shipped: Callable[[str], bytes], sm: str) -> None:
    found = summarize(compile_plan(shipped("fp8"), request(sm, "fp8"), api).layers)
    # What reads the picture stays in FP16; all that matters runs on 8 bits.
    assert set(found.convolutions) == {"fp8", "fp16"}
    assert found.convolutions["fp8"] >= 3 * found.convolutions["fp16"]


def test_int8_convolutions_run_on_8_bits_and_widen(
    api: TrtApi, shipped: Callable[[str], bytes]
) -> None:
    # Why INT8 is left to classic TensorRT. The request cannot ask for it; the ONNX can.
    found = summarize(compile_plan(shipped("int8"), request("86"), api).layers)
    assert set(found.convolutions) == {"int8"}
    assert found.widened > 0.8 * found.convolutions["int8"]


def test_one_engine_for_several_gpus(api: TrtApi, shipped: Callable[[str], bytes]) -> None:
    wanted = request("86", sms=SMS)
    plan = compile_plan(shipped("fp16"), wanted, api)
    single = compile_plan(shipped("fp16"), request("86"), api)
    assert len(plan.data) > len(single.data)
    assert set(summarize(plan.layers).convolutions) == {"fp16"}
    assert wanted.passport_sm == "75,80,86,89,120"


@pytest.mark.parametrize(
    ("precision", "sm", "expected"),
    [
        ("fp16", "86", {"fp16": 3}),
        ("fp32", "86", {"fp32": 3}),
        ("fp8", "89", {"fp16": 2, "fp8": 1}),
    ],
)
def test_the_table_tells_each_precision(
    api: TrtApi, precision: str, sm: str, expected: dict[str, int]
) -> None:
    data = small_network(precision).SerializeToString()
    plan = compile_plan(data, request(sm, precision), api)
    assert summarize(plan.layers).convolutions == expected
    assert {"first", "middle", "last"} <= {name for one in plan.layers for name in one.sources}


def test_progress_and_several_profiles(api: TrtApi) -> None:
    seen: list[Progress] = []
    sizes = parse_profiles(["320x180", "64x64:640x360:1280x720"])
    compile_plan(SMALL, request("89", profiles=sizes), api, seen.append)
    done = [one.done for one in seen]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert len(set(done)) > 20
    assert all(one.phase for one in seen)


def test_cancelling(api: TrtApi) -> None:
    asked: list[bool] = []

    def enough() -> bool:
        asked.append(True)
        return len(asked) > 5

    with pytest.raises(CompileCancelled):
        compile_plan(SMALL, request("86"), api, cancel=enough)
    assert len(asked) == 6


def test_ctrl_c_is_heard_wherever_it_comes(api: TrtApi) -> None:
    handler = signal.getsignal(signal.SIGINT)
    heard: list[str] = []

    def interrupt(message: Message) -> None:
        # Within the logger, whose exceptions the bindings print and forget.
        heard.append(message.text)
        if len(heard) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with api.log.hear(interrupt), pytest.raises(KeyboardInterrupt):
        compile_plan(SMALL, request("86"), api)
    assert heard and signal.getsignal(signal.SIGINT) is handler
    assert compile_plan(SMALL, request("86"), api).data


def test_an_exception_in_a_callback_comes_out_and_the_next_build_works(api: TrtApi) -> None:
    def angry(progress: Progress) -> None:
        if progress.done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_plan(SMALL, request("86"), api, angry)
    assert isinstance(compile_plan(SMALL, request("86"), api), Plan)


def test_too_small_a_workspace(api: TrtApi, shipped: Callable[[str], bytes]) -> None:
    small = request("86", workspace=16 << 20)
    for data in (SMALL, shipped("fp16")):
        with pytest.raises(InputError, match=r"workspace of 16 MiB for pictures of 1280x720"):
            compile_plan(data, small, api)
    assert compile_plan(SMALL, replace(small, profiles=parse_profiles(["64x64"])), api).data


def test_an_unknown_operator(api: TrtApi) -> None:
    with pytest.raises(InputError, match=r"TensorRT-RTX 1\.\S+ does not know the operator 'Odd'"):
        compile_plan(with_operator(small_network(), "Odd"), request("86"), api)


def test_our_operators_are_no_plugins_here(api: TrtApi) -> None:
    data = with_operator(small_network(), "JunctionVote", "acf")
    with pytest.raises(InputError, match=r"'JunctionVote'.*--no-plugins"):
        compile_plan(data, request("86"), api)
    with pytest.raises(InputError, match=r"no plugins.*--no-plugins"):
        compile_plan(SMALL, request("86", plugins=True), api)


@pytest.mark.parametrize("data", [b"", b"abcdefgh" * 20, SMALL[: len(SMALL) // 2]])
def test_what_is_no_model(api: TrtApi, data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        compile_plan(data, request("86"), api)
    assert "\n" not in str(caught.value)


def test_what_this_library_cannot(api: TrtApi) -> None:
    with pytest.raises(InputError, match=r"does not compile for SM 90.*75, 80, 86, 89, 120"):
        compile_plan(SMALL, request("90"), api)
    with pytest.raises(InputError, match="SM 86 has no FP8"):
        compile_plan(SMALL, request("89", "fp8", sms=("86", "89")), api)
    with pytest.raises(InputError, match="named twice"):
        compile_plan(SMALL, request("86", sms=("86", "86")), api)
    with pytest.raises(InputError, match="no hardware-compatible mode"):
        compile_plan(SMALL, request("86", compatible=True), api)


def test_fp8_in_the_model_for_a_gpu_without_it(api: TrtApi) -> None:
    data = small_network("fp8").SerializeToString()
    with pytest.raises(InputError, match=r"cannot compile this precision.*--precision fp16"):
        compile_plan(data, request("86"), api)
