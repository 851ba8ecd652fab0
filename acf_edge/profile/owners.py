"""Which module of the network owns which kernel.

The exporter names every node ``<module path>/<operator>``. ONNX Runtime then
fuses, quantizes and re-lays the graph: it keeps names, lengthens them
(``.../Conv_token_10``), names kernels after their output tensor
(``<tensor>_nchwc``), or adds nodes of its own (``Transpose_token_5``). This
module finds the way back.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from acf_edge.engine.graph import Graph, Node

RUNTIME: Final = "(runtime)"
LAYOUT: Final = "(layout)"

_TOKEN: Final = re.compile(r"(_token_\d+)+$")
_SUFFIXES: Final = ("_nchwc", "_quant", "_dq", "_q")
_HEAVY: Final = ("Conv", "Gemm", "MatMul")
_Step = Callable[[Node], list[Node]]


class Owners:
    """The map from the kernels of a running graph to the modules of a network.

    Args:
        network: the graph as exported.
        running: the graph as optimized, if it is known; kernels with names of
            their own are then owned by what they feed.
    """

    def __init__(self, network: Graph, running: Graph | None) -> None:
        self._nodes = {node.name: node for node in network.nodes if node.name}
        self._producers = {out: node for node in network.nodes for out in node.outputs if out}
        nodes = running.nodes if running is not None else ()
        self._order = nodes
        self._running = {node.name: node for node in nodes if node.name}
        self._feeds: dict[str, list[Node]] = {}
        self._makes: dict[str, Node] = {}
        for node in nodes:
            for tensor in filter(None, node.inputs):
                self._feeds.setdefault(tensor, []).append(node)
            for tensor in filter(None, node.outputs):
                self._makes[tensor] = node

    def modules(self, kernels: Sequence[tuple[str, str]]) -> list[str]:
        """The module paths that own the kernels of one run.

        Args:
            kernels: name and operator type of each, in order of execution.

        Returns:
            for each a path such as ``"sharing.deblur.body.0.conv1"``;
            ``"(layout)"`` for what cannot be told.
        """
        nodes = self._nodes_of(kernels)
        return [
            self._own(node) or self._downstream(node) or self._upstream(node) or LAYOUT
            for node in nodes
        ]

    def _nodes_of(self, kernels: Sequence[tuple[str, str]]) -> list[Node]:
        # ONNX Runtime saves nodes in the order in which it runs them. Where the
        # operators agree one by one, so do the nodes, and the made-up names of
        # nodes that have none in the file (Sigmoid_33) do no harm.
        if [node.op for node in self._order] == [op for _, op in kernels]:
            return list(self._order)
        return [self._running.get(name, Node(name, op, "", (), ())) for name, op in kernels]

    def _own(self, node: Node) -> str:
        """The module by the kernel's own name or its output tensors; empty if neither tells."""
        origin = self._by_name(node.name) or self._by_tensor(node)
        return module_of(self._computing(origin, node.op).name) if origin else ""

    def _by_name(self, name: str) -> Node | None:
        if name in self._nodes:
            return self._nodes[name]
        bare = _TOKEN.sub("", name)
        if bare in self._nodes:
            return self._nodes[bare]
        # Cut at the ends of words only, so that .../Conv_1 is not taken for .../Conv_12.
        for cut in sorted((match.start() for match in re.finditer(r"[_/]", bare)), reverse=True):
            candidate = self._nodes.get(bare[:cut])
            if candidate is not None and "/" in candidate.name:
                return candidate
        return None

    def _by_tensor(self, node: Node) -> Node | None:
        for tensor in (*node.outputs, *_stems(node.name)):
            if tensor in self._producers:
                return self._producers[tensor]
        return None

    def _computing(self, node: Node, op: str) -> Node:
        """Behind a fused activation, the convolution that does the work."""
        heavy = next((kind for kind in _HEAVY if op.endswith(kind)), "")
        step: Node | None = node
        for _ in range(6):
            if not heavy or step is None or step.op.endswith(heavy):
                break
            step = self._producers.get(step.inputs[0]) if step.inputs else None
        return step if heavy and step is not None and step.op.endswith(heavy) else node

    def _downstream(self, node: Node) -> str:
        return self._nearest(
            node, lambda one: [user for out in one.outputs for user in self._feeds.get(out, ())]
        )

    def _upstream(self, node: Node) -> str:
        return self._nearest(
            node,
            lambda one: [self._makes[tensor] for tensor in one.inputs if tensor in self._makes],
        )

    def _nearest(self, node: Node, step: _Step) -> str:
        queue, seen = deque(step(node)), {id(node)}
        while queue:
            one = queue.popleft()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if module := self._own(one):
                return module
            queue.extend(step(one))
        return ""


def module_of(name: str) -> str:
    """The module path in a node's name; empty if it has none.

    >>> module_of("sharing.deblur.body.0.conv1/Conv")
    'sharing.deblur.body.0.conv1'
    >>> module_of("/sharing/stem/Conv")
    'sharing.stem'
    """
    if name.startswith("/"):
        return ".".join(name.strip("/").split("/")[:-1])
    module, slash, _ = name.partition("/")
    return module if slash else ""


def _stems(name: str) -> Iterable[str]:
    """``name`` without what ONNX Runtime hangs on tensor names."""
    bare = _TOKEN.sub("", name)
    for suffix in _SUFFIXES:
        if bare.endswith(suffix):
            yield bare.removesuffix(suffix)
