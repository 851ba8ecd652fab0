"""Both operators: torch, the ONNX function and the float64 reference say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from tiny_networks import run_onnx

from acf_edge.export.model import inline_operators
from acf_edge.model.attention import channel_spatial_attention
from acf_edge.model.junction import junction_vote
from acf_edge.ops import functions, reference

Float = npt.NDArray[np.float32]
LIMIT = 1e-5


def error(result: Any, truth: npt.NDArray[np.float64]) -> float:
    """Largest deviation, relative to the largest value."""
    assert result.shape == truth.shape
    return float(np.abs(np.asarray(result, np.float64) - truth).max() / np.abs(truth).max())


def one_node(op: str, body: onnx.FunctionProto, count: int, **attributes: Any) -> onnx.ModelProto:
    names = list(body.input)
    assert len(names) == count
    node = helper.make_node(op, names, ["y"], name="here/Node", domain="acf", **attributes)
    ranks = [1 if "bias" in name else 2 if "weight" in name else 4 for name in names]
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
        for name, rank in zip([*names, "y"], [*ranks, 4], strict=True)
    ]
    graph = helper.make_graph([node], "one", floats[:-1], floats[-1:])
    model = helper.make_model(
        graph,
        functions=[body],
        opset_imports=[helper.make_opsetid("", functions.OPSET), helper.make_opsetid("acf", 1)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model


def bodies(model: onnx.ModelProto, inputs: list[Float]) -> dict[str, Any]:
    """The function, the inlined body and ONNX' own evaluator."""
    feed = {v.name: x for v, x in zip(model.graph.input, inputs, strict=True)}
    inlined = inline_operators(model)
    assert all(node.domain == "" for node in inlined.graph.node)
    return {
        "function": run_onnx(model, feed)[0],
        "inlined": run_onnx(inlined, feed)[0],
        "evaluator": ReferenceEvaluator(model).run(None, feed)[0],
    }


def junction_inputs(
    shape: tuple[int, int, int, int], branches: int = 3, seed: int = 0, logits: float = 1.5
) -> list[Float]:
    n, c, h, w = shape
    rng = np.random.default_rng(seed)
    total = branches * c
    arrays = (
        rng.standard_normal((n, total, h, w)),
        logits * rng.standard_normal((n, total, h, w)),
        rng.standard_normal((total, total)) / np.sqrt(total),
        rng.standard_normal(total),
    )
    return [a.astype(np.float32) for a in arrays]


def attention_inputs(
    shape: tuple[int, int, int, int], maps: int, seed: int = 0, squeeze: int = 5
) -> list[Float]:
    n, c, h, w = shape
    rng = np.random.default_rng(seed)
    arrays = (
        rng.standard_normal(shape),
        1.5 * rng.standard_normal((n, maps, h, w)),
        rng.standard_normal((squeeze, c)),
        rng.standard_normal(squeeze),
        rng.standard_normal((c, squeeze)),
        rng.standard_normal(c),
    )
    return [a.astype(np.float32) for a in arrays]


def check_junction(inputs: list[Float], branches: int = 3) -> None:
    truth = reference.junction_vote(*inputs, branches)
    assert np.isfinite(truth).all() and np.abs(truth).max() > 0
    body = functions.junction_vote_function(branches)
    results = bodies(one_node("JunctionVote", body, 4, branches=branches), inputs)
    results["torch"] = junction_vote(*map(torch.from_numpy, inputs), branches).numpy()
    for name, result in results.items():
        assert result.dtype == np.float32
        assert error(result, truth) <= LIMIT, name


def check_attention(inputs: list[Float]) -> None:
    truth = reference.channel_spatial_attention(*inputs)
    assert np.isfinite(truth).all() and np.abs(truth).max() > 0
    model = one_node("ChannelSpatialAttention", functions.attention_function(), 6)
    results = bodies(model, inputs)
    results["torch"] = channel_spatial_attention(*map(torch.from_numpy, inputs)).numpy()
    for name, result in results.items():
        assert result.dtype == np.float32
        assert error(result, truth) <= LIMIT, name


SHAPES = [(1, 16, 8, 8), (1, 16, 7, 13), (2, 5, 9, 4), (1, 32, 1, 1), (3, 1, 1, 17), (1, 3, 64, 33)]


@pytest.mark.parametrize("shape", SHAPES)
def test_junction_bodies_agree(shape: tuple[int, int, int, int]) -> None:
    check_junction(junction_inputs(shape, seed=sum(shape)))


@pytest.mark.parametrize("branches", [2, 3, 4])
def test_junction_takes_any_number_of_branches(branches: int) -> None:
    check_junction(junction_inputs((2, 4, 5, 3), branches), branches)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("all_channels", [False, True], ids=["one-map", "map-per-channel"])
def test_attention_bodies_agree(shape: tuple[int, int, int, int], all_channels: bool) -> None:
    maps = shape[1] if all_channels else 1
    check_attention(attention_inputs(shape, maps, seed=sum(shape)))


@pytest.mark.parametrize("level", [-30.0, 30.0])
def test_saturated_votes_and_gates(level: float) -> None:
    """One channel keeps a usual vote, so that the relative error has something to stand on."""
    inputs = junction_inputs((1, 4, 5, 6))
    inputs[1][:, 1:] = level
    inputs[3][1:] = level
    check_junction(inputs)
    inputs = attention_inputs((1, 8, 5, 6), 8)
    inputs[1][:, 1:] = level
    inputs[5][1:] = level
    check_attention(inputs)


def test_saturated_votes_filter_and_preserve() -> None:
    x = np.ones((1, 3, 2, 2), np.float32)
    logits = np.full_like(x, 30.0)
    logits[:, 1] = -30.0
    weight = np.zeros((3, 3), np.float32)
    bias = np.array([30.0, 30.0, -30.0], np.float32)
    # Branch 0 is preserved, 1 is filtered by the element vote, 2 by the channel vote.
    np.testing.assert_allclose(reference.junction_vote(x, logits, weight, bias), 1.0, atol=1e-12)
    body = one_node("JunctionVote", functions.junction_vote_function(), 4, branches=3)
    for result in bodies(body, [x, logits, weight, bias]).values():
        np.testing.assert_allclose(result, 1.0, atol=1e-6)


def test_nothing_in_nothing_out() -> None:
    vote = junction_inputs((2, 4, 3, 3))
    vote[0][:] = 0
    body = one_node("JunctionVote", functions.junction_vote_function(), 4, branches=3)
    assert not reference.junction_vote(*vote).any()
    assert not any(result.any() for result in bodies(body, vote).values())
    gate = attention_inputs((2, 4, 3, 3), 1)
    gate[0][:] = 0
    model = one_node("ChannelSpatialAttention", functions.attention_function(), 6)
    assert not reference.channel_spatial_attention(*gate).any()
    assert not any(result.any() for result in bodies(model, gate).values())


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    inputs = junction_inputs((2, 4, 6, 5), seed=3)
    both = reference.junction_vote(*inputs)
    alone = reference.junction_vote(inputs[0][1:], inputs[1][1:], *inputs[2:])
    np.testing.assert_array_equal(both[1:], alone)


def test_reference_by_hand() -> None:
    """Two branches of one channel, one place, numbers that can be checked on paper."""
    x = np.array([2.0, 4.0]).reshape(1, 2, 1, 1)
    e = np.array([0.0, np.log(3.0)]).reshape(1, 2, 1, 1)
    weight = np.array([[0.0, 0.0], [0.5, -0.25]])
    bias = np.array([0.0, -np.log(3.0)])
    # votes: element 1/2, 3/4; channel 1/2, sigmoid(1 - 1 - ln 3) = 1/4.
    result = reference.junction_vote(x, e, weight, bias, branches=2)
    np.testing.assert_allclose(result.ravel(), [2 * 0.5 * 0.5 + 4 * 0.75 * 0.25])
    gated = reference.channel_spatial_attention(
        x, np.zeros((1, 1, 1, 1)), [[1.0, -1.0]], [0.0], [[5.0], [7.0]], [0.0, np.log(3.0)]
    )
    # The hidden unit is cut off at zero (2 - 4 < 0), so the gates are those of the biases.
    np.testing.assert_allclose(gated.ravel(), [2 * 0.5 * 0.5, 4 * 0.75 * 0.5])


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        values = reference.sigmoid([-1e4, -30.0, 0.0, 30.0, 1e4])
    np.testing.assert_allclose(values, [0.0, np.exp(-30.0), 0.5, 1.0, 1.0], atol=1e-13)


def _changed(body: onnx.FunctionProto, op: str, **attributes: Any) -> onnx.FunctionProto:
    for node in body.node:
        if node.op_type == op:
            del node.attribute[:]
            node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
            return body
    raise AssertionError(op)


def test_a_wrong_body_is_caught() -> None:
    """The comparison above can fail: a transposed weight, a forgotten gate."""
    inputs = junction_inputs((1, 4, 5, 6))
    truth = reference.junction_vote(*inputs)
    transposed = _changed(functions.junction_vote_function(), "Gemm", transB=0)
    wrong = bodies(one_node("JunctionVote", transposed, 4, branches=3), inputs)
    assert all(error(result, truth) > 100 * LIMIT for result in wrong.values())

    gates = attention_inputs((1, 4, 5, 6), 1)
    truth = reference.channel_spatial_attention(*gates)
    linear = functions.attention_function()
    for node in linear.node:
        node.op_type = "Identity" if node.op_type == "Relu" else node.op_type
    results = bodies(one_node("ChannelSpatialAttention", linear, 6), gates)
    assert all(error(result, truth) > 100 * LIMIT for result in results.values())


@pytest.mark.parametrize(
    "place, shape",
    [
        (0, (1, 7, 2, 2)),  # no multiple of three branches
        (0, (6, 2, 2)),
        (1, (1, 6, 2, 3)),
        (1, (2, 6, 2, 2)),
        (2, (6, 5)),
        (2, (6,)),
        (3, (5,)),
        (3, (6, 1)),
    ],
)
def test_junction_reference_refuses_wrong_shapes(place: int, shape: tuple[int, ...]) -> None:
    inputs = [np.zeros(s) for s in ((1, 6, 2, 2), (1, 6, 2, 2), (6, 6), (6,))]
    assert reference.junction_vote(*inputs).shape == (1, 2, 2, 2)
    inputs[place] = np.zeros(shape)
    if shape == (1, 7, 2, 2):
        inputs[1] = np.zeros(shape)
    with pytest.raises(ValueError, match="do not fit"):
        reference.junction_vote(*inputs)


@pytest.mark.parametrize("branches", [0, -3])
def test_junction_reference_refuses_no_branches(branches: int) -> None:
    inputs = [np.zeros(s) for s in ((1, 6, 2, 2), (1, 6, 2, 2), (6, 6), (6,))]
    with pytest.raises(ValueError):
        reference.junction_vote(*inputs, branches=branches)


@pytest.mark.parametrize(
    "place, shape",
    [
        (0, (6, 2, 2)),
        (1, (1, 2, 2, 2)),  # neither one map nor one per channel
        (1, (2, 1, 2, 2)),
        (1, (1, 1, 2, 1)),
        (2, (4, 5)),
        (3, (3,)),
        (3, ()),
        (4, (4, 6)),
        (5, (1,)),
    ],
)
def test_attention_reference_refuses_wrong_shapes(place: int, shape: tuple[int, ...]) -> None:
    shapes = ((1, 6, 2, 2), (1, 1, 2, 2), (4, 6), (4,), (6, 4), (6,))
    inputs = [np.zeros(s) for s in shapes]
    assert reference.channel_spatial_attention(*inputs).shape == (1, 6, 2, 2)
    inputs[place] = np.zeros(shape)
    with pytest.raises(ValueError, match="do not fit"):
        reference.channel_spatial_attention(*inputs)


def test_a_junction_of_one_branch_is_refused() -> None:
    with pytest.raises(ValueError, match="branches"):
        functions.junction_vote_function(1)
