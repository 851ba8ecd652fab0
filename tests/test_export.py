"""The exported ONNX: uint8 in and out, any size, named after modules, equal to torch."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from tiny_networks import Image, noise, run_onnx, scenes, tiny_config, tiny_network
from torch import Tensor, nn
from torch.nn import functional

from acf_edge.engine.graph import read_graph
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import InputError
from acf_edge.export.graph import GraphParts, trace_into
from acf_edge.export.model import FOLDED, NORMALISED, PIXELS, export_network, inline_operators
from acf_edge.model.network import AcfNetwork
from acf_edge.model.runner import run_network

KINDS = [(2, 1), (2, 2), (4, 1), (4, 2)]
"""(scale, fold)"""


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"x{kind[0]}-fold{kind[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[AcfNetwork, onnx.ModelProto]:
    network = tiny_network(tiny_config(*request.param))
    return network, export_network(network)


def check_equal(ours: Image, theirs: Image) -> None:
    """Within one code value, and that rarely: ties that float sums break differently."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.uint8
    off = np.abs(ours.astype(int) - theirs.astype(int))
    assert off.max() <= 1
    assert (off == 0).mean() >= 0.999


def test_operators_are_functions(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    _, model = pair
    onnx.checker.check_model(model, full_check=True)
    ours = [node for node in model.graph.node if node.domain == "acf"]
    assert [(n.op_type, n.name) for n in ours] == [
        ("JunctionVote", "junction/JunctionVote"),
        (
            "ChannelSpatialAttention",
            "reconstruction.attention/ChannelSpatialAttention",
        ),
    ]
    assert {(f.domain, f.name) for f in model.functions} == {
        ("acf", "JunctionVote"),
        ("acf", "ChannelSpatialAttention"),
    }
    assert {o.domain: o.version for o in model.opset_import} == {"": 20, "acf": 1}
    assert {node.domain for node in model.graph.node} == {"", "acf"}
    assert model.ir_version <= 10


def test_ends_are_pictures_of_any_size(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    _, model = pair
    (entry,), (end,) = model.graph.input, model.graph.output
    assert (entry.name, end.name) == ("image", "enhanced")
    for value in (entry, end):
        assert value.type.tensor_type.elem_type == TensorProto.UINT8
        dims = value.type.tensor_type.shape.dim
        assert [bool(d.dim_param) for d in dims] == [True, True, True, False]
        assert dims[3].dim_value == 3


@pytest.mark.parametrize("size", [(24, 32), (17, 23), (1, 1), (5, 2), (3, 64)])
def test_it_says_what_torch_says(
    pair: tuple[AcfNetwork, onnx.ModelProto], size: tuple[int, int]
) -> None:
    network, model = pair
    picture = noise(*size, seed=size[0])
    theirs = run_network(network, picture)
    check_equal(run_onnx(model, {"image": picture[None]})[0][0], theirs)
    check_equal(run_onnx(inline_operators(model), {"image": picture[None]})[0][0], theirs)


def test_pictures_go_through_in_batches(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    network, model = pair
    pictures = np.stack([noise(9, 14, 1), scenes(1, 16, 16)[0][:9, :14].repeat(2, 1)[:, :14]])
    together = run_onnx(model, {"image": pictures})[0]
    for ours, picture in zip(together, pictures, strict=True):
        check_equal(ours, run_network(network, picture))


def test_real_contrasts_clip(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    """Black beside white overshoots on both sides; the result saturates instead of wrapping."""
    network, model = pair
    picture = np.zeros((12, 12, 3), np.uint8)
    picture[:, 6:] = 255
    ours = run_onnx(model, {"image": picture[None]})[0][0]
    check_equal(ours, run_network(network, picture))
    assert ours.min() == 0 and ours.max() == 255


def test_inlined_graph_knows_no_acf(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    _, model = pair
    before = model.SerializeToString()
    inlined = inline_operators(model)
    onnx.checker.check_model(inlined, full_check=True)
    assert model.SerializeToString() == before
    assert not inlined.functions
    assert {node.domain for node in inlined.graph.node} == {""}
    assert [o.domain for o in inlined.opset_import] == [""]
    pooled = [n.name for n in inlined.graph.node if n.op_type == "GlobalAveragePool"]
    assert pooled == [
        "junction/GlobalAveragePool:mean",
        "reconstruction.attention/GlobalAveragePool:mean",
    ]
    assert not [n for n in inlined.graph.node if n.op_type == "ReduceMean"]


@pytest.mark.parametrize("inlined", [False, True])
def test_nodes_are_named_after_modules(
    pair: tuple[AcfNetwork, onnx.ModelProto], inlined: bool
) -> None:
    network, model = pair
    graph = (inline_operators(model) if inlined else model).graph
    names = [node.name for node in graph.node]
    assert all(names) and len(set(names)) == len(names)
    owners = Counter(name.split("/")[0] for name in names)
    for owner in owners:
        if owner not in ("input", "output", "network"):
            network.get_submodule(owner)
    # And the other way round: every convolution of the network has its node.
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            assert f"{path}/Conv" in names
    produced = [name for node in graph.node for name in node.output]
    assert len(set(produced)) == len(produced)
    assert {PIXELS, NORMALISED, FOLDED} <= set(produced)


def test_weights_are_those_of_the_network(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    network, model = pair
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, parameter in network.named_parameters():
        np.testing.assert_array_equal(stored[name], parameter.detach().numpy(), err_msg=name)
    np.testing.assert_array_equal(stored["anchor.weight"], network.anchor.weight.numpy())


def test_export_copies_the_weights() -> None:
    network = tiny_network()
    model = export_network(network)
    picture = noise(8, 8)
    before = run_onnx(model, {"image": picture[None]})[0]
    with torch.no_grad():
        network.reconstruction.tail.weight.zero_()
    np.testing.assert_array_equal(run_onnx(model, {"image": picture[None]})[0], before)
    assert export_network(tiny_network()).SerializeToString() == model.SerializeToString()


def test_the_engine_reads_and_runs_it(pair: tuple[AcfNetwork, onnx.ModelProto]) -> None:
    network, model = pair
    content = model.SerializeToString()
    graph = read_graph(content)
    assert graph.opset == 20 and not graph.external
    scale = network.config.scale
    engine = OrtEngine(content, name="tiny fp32", scale=scale, threads=1)
    picture = noise(11, 7)
    check_equal(engine.run(picture), run_network(network, picture))
    engine.close()


class _Wrapped(nn.Module):
    """One operation between two convolutions, so that its owner has a name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(self.first(x))
        return result


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("weight", torch.ones(4, 4, 1, 1))

    def forward(self, x: Tensor) -> Any:
        return self.function(x, self.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layer, word",
    [
        (nn.PReLU(), "PReLU"),
        (nn.BatchNorm2d(4), "BatchNorm2d"),
        (nn.ConvTranspose2d(4, 4, 2), "ConvTranspose2d"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "Conv2d"),
        (nn.Conv2d(4, 4, 3, padding="same"), "padding 'same'"),
    ],
)
def test_an_unknown_layer_is_named(layer: nn.Module, word: str) -> None:
    with pytest.raises(InputError, match=rf"{word}.*'inner'"):
        trace_into(GraphParts(), _Wrapped(layer), "x")


@pytest.mark.parametrize(
    "function, word",
    [
        (lambda x, _: torch.tanh(x), "tanh"),
        (lambda x, _: x.clamp(0, 1), "clamp"),
        (lambda x, _: x + 1.0, "add"),
        (lambda x, _: torch.add(x, x, alpha=2), "add"),
        (lambda x, w: functional.conv2d(x, w, torch.ones(4)), "conv2d"),
        (lambda x, w: functional.conv2d(x, w, padding=1), "conv2d"),
        (lambda x, w: functional.conv2d(x, w, dilation=2), "conv2d"),
        (lambda x, _: operator.mul(x, 2.0), "mul"),
        (lambda x, w: operator.truediv(x, w), "truediv"),
        (lambda x, _: torch.cat([x, x], 1, out=None), "cat"),
    ],
    ids=range(10),
)
def test_an_unknown_operation_is_named(function: Callable[..., Any], word: str) -> None:
    """Above all those whose further arguments would silently be lost."""
    with pytest.raises(InputError, match=rf"'\w*{word}\w*'.*'inner'"):
        trace_into(GraphParts(), _Wrapped(_Function(function)), "x")


def test_branches_on_values_and_several_results_are_refused() -> None:
    with pytest.raises(InputError, match="traced"):
        trace_into(GraphParts(), _Wrapped(_Function(lambda x, _: x if x.sum() > 0 else x + x)), "x")
    with pytest.raises(InputError, match="several results"):
        trace_into(GraphParts(), _Function(lambda x, _: (x, x)), "x")


def test_a_network_with_a_foreign_layer_is_refused() -> None:
    network = tiny_network()
    network.reconstruction.blocks = nn.Sequential(nn.PReLU())
    with pytest.raises(InputError, match=r"PReLU.*'reconstruction\.blocks\.0'"):
        export_network(network)


def test_convolution_arguments_travel() -> None:
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 4), dilation=(1, 2), groups=2)
    parts = GraphParts()
    result = trace_into(parts, nn.Sequential(layer, nn.ReLU()), "x")
    graph = onnx.helper.make_graph(
        parts.nodes,
        "one",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 11])],
        [onnx.helper.make_tensor_value_info(result, TensorProto.FLOAT, [None] * 4)],
        parts.initializers,
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    x = torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(0))
    ours = run_onnx(model, {"x": x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(ours), torch.relu(layer(x)).detach())
