"""From a torch module to ONNX nodes that are named after its modules.

The module is traced symbolically (``torch.fx``), so there is one description of
the network, its ``forward``; every node keeps the path of the module it came
from: ``sharing.artefact.stem/Conv``. That name is what a profile shows and what
the scale store is keyed by.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import fx, nn
from torch.nn import functional

from acf_edge.errors import InputError
from acf_edge.model.attention import channel_spatial_attention
from acf_edge.model.junction import (
    branch_shares,
    channel_logits,
    junction_vote,
    sum_branches,
)
from acf_edge.model.network import depth_to_space
from acf_edge.ops.functions import DOMAIN


class _Tracer(fx.Tracer):
    """Remembers the module in which each node came to be; keeps our operators whole."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=_WHOLE)
        self.stack: list[str] = [""]

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self.stack.append(self.path_of_module(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.stack.pop()

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["module"] = self.stack[-1]
        return node


_WHOLE = (
    depth_to_space,
    junction_vote,
    channel_spatial_attention,
    sum_branches,
    channel_logits,
    branch_shares,
)
"""Functions that are written as one thing, not as what they are made of."""


@dataclass
class GraphParts:
    """Nodes and initializers of a graph under construction, names unique."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(
        self, op: str, module: str, inputs: list[str], domain: str = "", **attributes: Any
    ) -> str:
        """Append a node named ``<module>/<op>``; returns the name of its output, the same."""
        name = self.unique(f"{module}/{op}" if module else op)
        node = helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """Add an initializer once; returns its name."""
        if name not in self.names:
            self.names.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def unique(self, name: str) -> str:
        """``name``, or ``name_2``, ``name_3`` ... if it is taken."""
        candidate, count = name, 1
        while candidate in self.names:
            count += 1
            candidate = f"{name}_{count}"
        self.names.add(candidate)
        return candidate


def trace_into(parts: GraphParts, module: nn.Module, source: str) -> str:
    """Append the nodes of ``module`` to ``parts``.

    Args:
        parts: the graph so far.
        module: takes one tensor and gives one; only operations listed in this file.
        source: name of the value that is the module's input, float32 NCHW.

    Returns:
        The name of the module's output.

    Raises:
        InputError: the module uses an operation that cannot be exported.
    """
    tracer = _Tracer()
    try:
        traced = tracer.trace(module)
    except (fx.proxy.TraceError, TypeError) as error:
        # Control flow or arithmetic that depends on a tensor's values or size.
        words = " ".join(str(error).split())
        raise InputError(
            f"'{type(module).__name__}' cannot be traced: {words}.",
            "Write its forward without branches that look at tensors.",
        ) from None
    values: dict[fx.Node, str] = {}
    result = ""
    for node in traced.nodes:
        owner = str(node.meta.get("module", "")) or "network"
        if node.op == "placeholder":
            values[node] = source
        elif node.op == "get_attr":
            target = str(node.target)
            values[node] = parts.constant(target, _array(_attribute(module, target)))
        elif node.op == "call_module":
            path = str(node.target)
            layer = module.get_submodule(path)
            inputs = [values[a] for a in node.args if isinstance(a, fx.Node)]
            if node.kwargs or len(inputs) != 1 or len(node.args) != 1:
                raise _cannot(path, type(layer).__name__)
            values[node] = _layer(parts, layer, path, inputs)
        elif node.op == "call_function":
            values[node] = _function(parts, node, owner, values)
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise _cannot(owner, "several results")
            result = values[node.args[0]]
        else:
            raise _cannot(owner, str(node.target))
    return result


def _cannot(owner: str, what: str) -> InputError:
    return InputError(
        f"The operation '{what}' in '{owner}' cannot be exported.",
        "Use convolutions, ReLU, sums, concatenation and the acf operators.",
    )


def _attribute(module: nn.Module, path: str) -> torch.Tensor:
    value: Any = module
    for part in path.split("."):
        value = getattr(value, part)
    assert isinstance(value, torch.Tensor)
    return value


def _array(tensor: torch.Tensor | None) -> np.ndarray[Any, Any]:
    assert tensor is not None
    return tensor.detach().cpu().float().numpy()


def _layer(parts: GraphParts, layer: nn.Module, path: str, inputs: list[str]) -> str:
    if isinstance(layer, nn.ReLU):
        return parts.add("Relu", path, inputs)
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros":
        raise _cannot(path, type(layer).__name__)
    if isinstance(layer.padding, str):
        raise _cannot(path, f"Conv2d with padding '{layer.padding}'")
    names = [*inputs, parts.constant(f"{path}.weight", _array(layer.weight))]
    if layer.bias is not None:
        names.append(parts.constant(f"{path}.bias", _array(layer.bias)))
    vertical, horizontal = (int(p) for p in layer.padding)
    return parts.add(
        "Conv",
        path,
        names,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[vertical, horizontal, vertical, horizontal],
        dilations=list(layer.dilation),
        group=layer.groups,
    )


def _function(parts: GraphParts, node: fx.Node, owner: str, values: dict[fx.Node, str]) -> str:
    target, args = node.target, node.args
    called = getattr(target, "__name__", str(target))

    def name(argument: Any) -> str:
        if not isinstance(argument, fx.Node):
            raise _cannot(owner, called)
        return values[argument]

    # An argument that is not looked at here would change the result silently.
    count, known = _ARGUMENTS.get(target, (-1, ()))
    if len(args) != count or set(node.kwargs) - set(known):
        raise _cannot(owner, called)
    if target in _PLAIN:
        return parts.add(_PLAIN[target], owner, [name(argument) for argument in args])
    if target is torch.cat:
        rows, axis = args[0], node.kwargs.get("dim", 0)
        assert isinstance(rows, list | tuple) and isinstance(axis, int)
        return parts.add("Concat", owner, [name(row) for row in rows], axis=axis)
    if target is functional.conv2d:
        stride = node.kwargs.get("stride", 1)
        side = [stride, stride] if isinstance(stride, int) else list(stride)  # type: ignore[arg-type]
        return parts.add("Conv", owner, [name(args[0]), name(args[1])], strides=side)
    if target is depth_to_space:
        return parts.add("DepthToSpace", owner, [name(args[0])], blocksize=args[1], mode="DCR")
    if target is junction_vote:
        inputs = [name(a) for a in args[:4]]
        return parts.add("JunctionVote", owner, inputs, DOMAIN, branches=args[4])
    if target is channel_spatial_attention:
        return parts.add("ChannelSpatialAttention", owner, [name(a) for a in args], DOMAIN)
    if target is channel_logits:
        return _channel_logits(parts, owner, [name(argument) for argument in args])
    branches = args[1]
    assert isinstance(branches, int)
    if target is branch_shares:
        return _branch_shares(parts, owner, name(args[0]), branches)
    return _sum_branches(parts, owner, name(args[0]), branches)


def _channel_logits(parts: GraphParts, owner: str, inputs: list[str]) -> str:
    mean = parts.add("GlobalAveragePool", owner, inputs[:1])
    row = parts.add("Flatten", owner, [mean], axis=1)
    logits = parts.add("Gemm", owner, [row, *inputs[1:]], transB=1)
    axes = parts.constant(f"{owner}.places", np.array([2, 3], np.int64))
    return parts.add("Unsqueeze", owner, [logits, axes])


def _branch_shares(parts: GraphParts, owner: str, logits: str, branches: int) -> str:
    # Only the branches' own dimension matters to the softmax.
    apart = parts.constant(f"{owner}.apart", np.array([0, branches, -1], np.int64))
    wide = parts.add("Reshape", owner, [logits, apart])
    shares = parts.add("Softmax", owner, [wide], axis=1)
    shape = parts.add("Shape", owner, [logits])
    return parts.add("Reshape", owner, [shares, shape])


def _sum_branches(parts: GraphParts, owner: str, features: str, branches: int) -> str:
    first = parts.add("Split", owner, [features], axis=1, num_outputs=branches)
    pieces = [first, *(parts.unique(f"{owner}/Split:{index}") for index in range(1, branches))]
    parts.nodes[-1].output[:] = pieces
    total = pieces[0]
    for piece in pieces[1:]:
        total = parts.add("Add", owner, [total, piece])
    return total


_PLAIN: dict[Any, str] = {
    torch.relu: "Relu",
    torch.sigmoid: "Sigmoid",
    operator.add: "Add",
    torch.add: "Add",
    operator.sub: "Sub",
    operator.mul: "Mul",
}
"""One operation there, one here, all arguments tensors."""

_ARGUMENTS: dict[Any, tuple[int, tuple[str, ...]]] = {
    torch.relu: (1, ()),
    torch.sigmoid: (1, ()),
    operator.add: (2, ()),
    torch.add: (2, ()),
    operator.sub: (2, ()),
    operator.mul: (2, ()),
    sum_branches: (2, ()),
    channel_logits: (3, ()),
    branch_shares: (2, ()),
    torch.cat: (1, ("dim",)),
    functional.conv2d: (2, ("stride",)),
    depth_to_space: (2, ()),
    junction_vote: (5, ()),
    channel_spatial_attention: (6, ()),
}
"""What can be exported: the number of positional arguments, the names of the others."""
