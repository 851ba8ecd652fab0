"""Networks of others in TensorRT's dialects."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from foreign_networks import Around, Does, compact, exported, need_spandrel, saved, span
from onnx import TensorProto
from tiny_networks import noise, run_onnx, scenes
from torch import nn

from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.scales import ScaleStore
from acf_edge.export import qdq_ort
from acf_edge.export.trt.core import count_types
from acf_edge.export.trt.judged import for_onnxruntime
from acf_edge.export.trt.write import PRECISIONS, quantized_values, write_tensorrt
from acf_edge.foreign.network import export_foreign, load_foreign
from acf_edge.imaging.metrics import psnr

need_spandrel()

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "compact": lambda: compact(2),
    "span": lambda: span(4),
    "span-norm": lambda: span(2, norm=True),
}
LEAST = {"fp32": 80.0, "fp16": 60.0, "int8": 42.0, "fp8": 36.0}
"""dB between a form and the plain network, random weights."""


@pytest.fixture(scope="module")
def plain_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], onnx.ModelProto]:
    folder: Path = tmp_path_factory.mktemp("foreign")

    @cache
    def make(name: str) -> onnx.ModelProto:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            path = saved(NETWORKS[name](), folder / f"{name}.pth")
        return export_foreign(load_foreign(path)).model

    return make


def store_of(plain: onnx.ModelProto) -> ScaleStore:
    values = qdq_ort.quantized_values(plain)
    assert set(quantized_values(plain)) <= set(values)
    return calibrate(plain, values, scenes(3), source="scenes", weights_sha256="")


@pytest.mark.parametrize("name", NETWORKS)
def test_they_go_the_same_way(plain_of: Callable[[str], onnx.ModelProto], name: str) -> None:
    plain = plain_of(name)
    store = store_of(plain)
    pictures = [scenes(4)[3][None], noise(17, 23)[None]]
    theirs = [run_onnx(plain, {"image": picture})[0] for picture in pictures]
    for precision in PRECISIONS:
        model = write_tensorrt(plain, precision=precision, store=store, plugins=True)
        onnx.checker.check_model(model, full_check=True)
        graph = for_onnxruntime(model)
        ours = [run_onnx(graph, {"image": picture})[0] for picture in pictures]
        assert ours[1].shape == theirs[1].shape
        assert psnr(ours[0][0], theirs[0][0]) >= LEAST[precision], precision
        counts = count_types(model)
        if precision == "int8":
            assert set(counts) == {"int8"}
        elif precision == "fp8":
            # The picture is looked at, and put together, in more than four bits.
            assert counts["fp16"] >= 1 and counts["fp8"] >= 1
        else:
            assert set(counts) == {precision}


def test_zeros_around_the_picture_stay_black(
    plain_of: Callable[[str], onnx.ModelProto],
) -> None:
    """The centred picture has another zero, and its padding has to know."""
    plain = plain_of("compact")
    picture = np.full((1, 9, 9, 3), 255, np.uint8)
    theirs = run_onnx(plain, {"image": picture})[0]
    for precision in ("fp32", "int8"):
        model = write_tensorrt(plain, precision=precision, store=store_of(plain))
        pads = [n for n in model.graph.node if n.op_type == "Pad" and "Centred" in n.name]
        assert len(pads) == 1
        ours = run_onnx(for_onnxruntime(model), {"image": picture})[0]
        assert psnr(ours[0], theirs[0]) >= {"fp32": 80.0, "int8": 40.0}[precision]


def _normalised(x: torch.Tensor) -> torch.Tensor:
    """A layer normalization of large values."""
    x = x * 2000.0
    middle = x.mean(1, keepdim=True)
    apart = x - middle
    return apart / torch.sqrt((apart * apart).mean(1, keepdim=True) + 1e-6)


def test_normalizations_are_computed_in_32_bits() -> None:
    """Squares beyond 65504 are no numbers of FP16."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = exported(Around(Does(_normalised)))
    model = write_tensorrt(plain, precision="fp16")
    onnx.checker.check_model(model, full_check=True)
    types = {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    for node in model.graph.node:
        if node.op_type in ("ReduceMean", "Sqrt", "Div", "Pow"):
            assert types[node.output[0]] == TensorProto.FLOAT, node.name
        if node.op_type == "Conv":
            assert types[node.output[0]] == TensorProto.FLOAT16
    picture = scenes(1)[0][None]
    theirs = run_onnx(plain, {"image": picture})[0]
    assert psnr(run_onnx(model, {"image": picture})[0][0], theirs[0]) >= 45.0


@pytest.mark.parametrize(
    "body",
    [
        nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 2, 2)),
        nn.Sequential(nn.GELU(), nn.Conv2d(8, 8, 1), nn.Mish(), nn.Conv2d(8, 8, 3, 1, 1)),
        nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(), nn.Conv2d(8, 8, 1)),
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 2, 2)),
        nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 3, padding=1), nn.Hardswish()),
    ],
    ids=["transposed", "gelu-mish", "grouped", "nearest", "leaky-hard"],
)
def test_other_operations(body: nn.Module) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in body:  # type: ignore[attr-defined]
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()
        plain = exported(Around(body))
    store = store_of(plain)
    picture = scenes(4)[3][None]
    theirs = run_onnx(plain, {"image": picture})[0]
    for precision in PRECISIONS:
        model = write_tensorrt(plain, precision=precision, store=store)
        onnx.checker.check_model(model, full_check=True)
        ours = run_onnx(for_onnxruntime(model), {"image": picture})[0]
        assert psnr(ours[0], theirs[0]) >= LEAST[precision] - 3.0, precision
    if any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in body):  # type: ignore[attr-defined]
        assert count_types(write_tensorrt(plain, precision="int8", store=store))["fp16"] == 1
