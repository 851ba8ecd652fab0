"""Every form goes through the parser and the builder of TensorRT-RTX, which need no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import onnx
import pytest
import torch
from foreign_networks import compact, span
from tiny_networks import scenes, tiny_config

from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.scales import ScaleStore, load_scales
from acf_edge.engine.trt.api import TrtApi, load_api
from acf_edge.engine.trt.compile import Request, compile_plan
from acf_edge.engine.trt.layers import Layer, summarize
from acf_edge.engine.trt.profiles import parse_profiles
from acf_edge.engine.trt.targets import RTX, sm_target
from acf_edge.errors import MissingExtraError
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.trt.write import (
    measure_means,
    quantized_values,
    write_tensorrt,
)
from acf_edge.foreign.network import export_foreign, load_foreign
from acf_edge.model.config import VOTINGS
from acf_edge.model.plain import build_network
from acf_edge.resources import default_bundle

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")

PROFILES = parse_profiles(["32x32:160x96:320x240"])


@pytest.fixture(scope="module")
def compiled() -> Callable[..., tuple[Layer, ...]]:
    api: TrtApi = load_api(RTX)

    def build(model: onnx.ModelProto, precision: str, sm: str = "89") -> tuple[Layer, ...]:
        target = replace(sm_target(sm), backends=(RTX,))
        # The graph decides; INT8 is just nothing that this backend is offered for.
        request = Request(target, "fp16" if precision == "int8" else precision, PROFILES)
        plan = compile_plan(model.SerializeToString(), request, api)
        assert plan.data
        return plan.layers

    return build


def store_of(plain: onnx.ModelProto) -> ScaleStore:
    model = inline_operators(plain)
    return calibrate(model, quantized_values(model), scenes(2), source="scenes", weights_sha256="")


@cache
def shipped() -> tuple[onnx.ModelProto, ScaleStore]:
    plain = onnx.load(default_bundle() / "network.onnx")
    return plain, load_scales(default_bundle() / "scales.json")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "fp8"])
@pytest.mark.parametrize("dla", [False, True])
def test_the_shipped_network_in_every_form(
    compiled: Callable[..., tuple[Layer, ...]], precision: str, dla: bool
) -> None:
    plain, store = shipped()
    means = measure_means(plain, scenes(1)) if dla else None
    model = write_tensorrt(plain, precision=precision, store=store, dla=dla, means=means)
    layers = compiled(model, precision)
    found = summarize(layers)
    wanted = {"fp8": {"fp8": 16, "fp16": 4}}.get(precision, {precision: 20})
    assert dict(found.convolutions) == wanted
    assert next(layer.inputs for layer in layers if layer.inputs) == ("uint8",)
    assert layers[-1].outputs == ("uint8",)
    if precision == "fp8":
        # One scale per weight: scale and bias are inside, and no sums of 32 bits come out.
        coded = [layer for layer in layers if layer.convolution and layer.inputs[0] == "fp8"]
        assert {kind for layer in coded for kind in layer.outputs} <= {"fp16", "fp8"}


def test_ampere_runs_int8_convolutions(compiled: Callable[..., tuple[Layer, ...]]) -> None:
    plain, store = shipped()
    model = write_tensorrt(plain, precision="int8", store=store)
    assert dict(summarize(compiled(model, "int8", "86")).convolutions) == {"int8": 20}


@pytest.mark.parametrize("voting", VOTINGS)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_voting(
    compiled: Callable[..., tuple[Layer, ...]], voting: str, precision: str
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = export_network(build_network(replace(tiny_config(), voting=voting)).eval())
    model = write_tensorrt(plain, precision=precision, store=store_of(plain))
    found = summarize(compiled(model, precision))
    assert set(found.convolutions) == {precision}


@pytest.mark.parametrize("name", ["compact", "span"])
@pytest.mark.parametrize("precision", ["fp16", "int8", "fp8"])
def test_networks_of_others(
    compiled: Callable[..., tuple[Layer, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    precision: str,
) -> None:
    from foreign_networks import saved

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = compact(2, width=16) if name == "compact" else span(2, width=16, norm=True)
    path = saved(network, tmp_path_factory.mktemp(name) / "weights.pth")
    try:
        plain = export_foreign(load_foreign(path)).model
    except MissingExtraError as error:
        pytest.skip(str(error))
    model = write_tensorrt(plain, precision=precision, store=store_of(plain))
    assert precision in summarize(compiled(model, precision)).convolutions
