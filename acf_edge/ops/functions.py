"""The portable bodies: both operators as ONNX functions of the domain ``acf``.

Any runtime that knows ONNX functions (1.8 and later) can run a graph with these
nodes without knowing ACF; one that has a kernel of its own for a node replaces it.
The bodies use operators that quantize well: a global average is a
``GlobalAveragePool``, not a ``ReduceMean``, and the votes act element by element.
"""

from __future__ import annotations

import onnx
from onnx import parser

DOMAIN = "acf"
DOMAIN_VERSION = 1
OPSET = 20
"""The version of ONNX' own operators that all exported graphs use."""

_HEADER = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>\n'

_JUNCTION_VOTE = """
JunctionVote <branches> (features, element_logits, weight, bias) => (joined)
{
    mean = GlobalAveragePool(features)
    mean_row = Flatten<axis: int = 1>(mean)
    channel_logits = Gemm<transB: int = 1>(mean_row, weight, bias)
    channel_row = Sigmoid(channel_logits)
    axes = Constant<value_ints: ints = [2, 3]>()
    channel_vote = Unsqueeze(channel_row, axes)
    element_vote = Sigmoid(element_logits)
    heard = Mul(features, element_vote)
    voted = Mul(heard, channel_vote)
    SPLIT
    SUM
}
"""

_ATTENTION = """
ChannelSpatialAttention (features, spatial_logits, squeeze_weight, squeeze_bias,
                         excite_weight, excite_bias) => (attended)
{
    mean = GlobalAveragePool(features)
    mean_row = Flatten<axis: int = 1>(mean)
    squeezed = Gemm<transB: int = 1>(mean_row, squeeze_weight, squeeze_bias)
    hidden = Relu(squeezed)
    excited = Gemm<transB: int = 1>(hidden, excite_weight, excite_bias)
    channel_row = Sigmoid(excited)
    axes = Constant<value_ints: ints = [2, 3]>()
    channel_gate = Unsqueeze(channel_row, axes)
    spatial_gate = Sigmoid(spatial_logits)
    placed = Mul(features, spatial_gate)
    attended = Mul(placed, channel_gate)
}
"""


def junction_vote_function(branches: int = 3) -> onnx.FunctionProto:
    """The body of ``acf::JunctionVote`` for ``branches`` >= 2 branches.

    Inputs and output as :func:`acf_edge.ops.reference.junction_vote`; the attribute
    ``branches`` tells kernels what the body has written out.

    Raises:
        ValueError: fewer than two branches.
    """
    if branches < 2:
        raise ValueError(f"{branches} branches have nothing to vote on")
    parts = [f"part{index}" for index in range(branches)]
    split = f"{', '.join(parts)} = Split<axis: int = 1, num_outputs: int = {branches}>(voted)"
    sums, total = [], parts[0]
    for index, part in enumerate(parts[1:], 1):
        name = "joined" if index == branches - 1 else f"sum{index}"
        sums.append(f"{name} = Add({total}, {part})")
        total = name
    text = _JUNCTION_VOTE.replace("SPLIT", split).replace("SUM", "\n    ".join(sums))
    return parser.parse_function(_HEADER + text.strip())


def attention_function() -> onnx.FunctionProto:
    """The body of ``acf::ChannelSpatialAttention``; see the reference for shapes."""
    return parser.parse_function(_HEADER + _ATTENTION.strip())
