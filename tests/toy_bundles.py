"""Small ONNX models and bundles, made by hand, for the tests of engines and profiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from acf_edge.engine import Bundle, DegradationQuality, Ledger, Passport, StageRow, write_bundle

QUALITY = DegradationQuality("acf-std", 24.5, 0.71, 23.2, 0.66, 23.9, 0.68)


def toy_passport(**changes: Any) -> Passport:
    """The passport of a toy, with some fields changed."""
    fields: dict[str, Any] = {
        "network": "toy",
        "scale": 2,
        "precision": "fp32",
        "backend": "onnxruntime",
        "target": "cpu",
        "runtime": "onnxruntime",
        "runtime_version": "1.20.0",
        "weights_sha256": "ab" * 32,
        "source_command": ("acf-edge", "build", "my weights.safetensors"),
        "created": "2026-01-02",
        "acf_edge_version": "0.1.0",
    }
    return Passport(**{**fields, **changes})


def toy_ledger() -> Ledger:
    """A ledger of two stages."""
    return Ledger(
        [
            StageRow("trained", "pass", 12.5, "k1", params=100, macs=2000, quality=(QUALITY,)),
            StageRow("exported", "pass", 0.5, "k2", note="opset 18", mib=0.1, ms=1.5),
        ]
    )


def write_toy(folder: Path, model: bytes | None = None, **changes: Any) -> Bundle:
    """Write a bundle around ``model`` (default: :func:`nearest`)."""
    files: Mapping[str, bytes | Path] = {
        "model.onnx": nearest() if model is None else model,
        "network.onnx": b"the plain network",
        "report.html": b"<p>report</p>",
    }
    return write_bundle(folder, files, toy_passport(**changes), toy_ledger())


def serialize(
    nodes: list[onnx.NodeProto],
    tensors: Mapping[str, np.ndarray],
    functions: list[onnx.FunctionProto] | None = None,
    opset: int = 18,
    ends: tuple[str, str] = ("image", "enhanced"),
) -> bytes:
    """A model from uint8 [n, h, w, 3] to uint8 [n, H, W, 3]."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(ends[0], TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(ends[1], TensorProto.UINT8, ["n", "H", "W", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("acf", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)
    return bytes(model.SerializeToString())


def nearest(scale: int = 2, ends: tuple[str, str] = ("image", "enhanced")) -> bytes:
    """Nearest-neighbour up-sampling."""
    node = helper.make_node
    nodes = [
        node("Transpose", [ends[0]], ["nchw"], name="enter/Transpose", perm=[0, 3, 1, 2]),
        node(
            "Resize",
            ["nchw", "", "scales"],
            ["large"],
            name="upsample/Resize",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("Transpose", ["large"], [ends[1]], name="leave/Transpose", perm=[0, 2, 3, 1]),
    ]
    return serialize(nodes, {"scales": np.array([1, 1, scale, scale], np.float32)}, ends=ends)


class NetworkWriter:
    """Writes a network as the exporter does: nodes named ``<module>/<operator>``."""

    def __init__(self, quantize: bool) -> None:
        self.quantize = quantize
        self.random = np.random.default_rng(5)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, np.ndarray] = {}
        self.functions: list[onnx.FunctionProto] = []

    def add(self, module: str, op: str, inputs: list[str], out: str, **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"{module}/{op}", **attributes))
        return out

    def quantized(self, module: str, tensor: str) -> str:
        """Append Q/DQ after ``tensor`` if this is a quantized network."""
        if not self.quantize:
            return tensor
        scale, zero = f"{tensor}.scale", f"{tensor}.zero"
        self.tensors[scale], self.tensors[zero] = np.float32(0.02), np.uint8(128)
        middle = f"{tensor}.q"
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear", [tensor, scale, zero], [middle], name=f"{module}/QuantizeLinear"
            )
        )
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [middle, scale, zero],
                [f"{tensor}.dq"],
                name=f"{module}/DequantizeLinear",
            )
        )
        return f"{tensor}.dq"

    def conv(self, module: str, x: str, width: tuple[int, int], relu: bool = False) -> str:
        """Append a 3x3 convolution, and a ReLU that belongs to the parent module."""
        shape = (width[1], width[0], 3, 3)
        weight = f"{module}.weight"
        if self.quantize:
            self.tensors[weight] = self.random.integers(-99, 99, shape).astype(np.int8)
            self.tensors[f"{weight}.scale"] = np.full(width[1], 0.002, np.float32)
            self.tensors[f"{weight}.zero"] = np.zeros(width[1], np.int8)
            weight = self.add(
                f"{module}/weight",
                "DequantizeLinear",
                [weight, f"{weight}.scale", f"{weight}.zero"],
                f"{weight}.dq",
                axis=0,
            )
        else:
            self.tensors[weight] = self.random.normal(0, 0.1, shape).astype(np.float32)
        out = f"{module}.out".replace(".", "_")
        self.add(module, "Conv", [x, weight], out, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        if relu:
            out = self.add(module.rpartition(".")[0], "Relu", [out], f"{out}_relu")
        return self.quantized(module, out)


def network(quantize: bool = False, width: int = 32) -> bytes:
    """A network of a few modules, the junction a function of the domain ``acf``; x2."""
    writer = NetworkWriter(quantize)
    x = writer.add("acf.enter", "Cast", ["image"], "float", to=TensorProto.FLOAT)
    x = writer.add("acf.enter", "Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    x = writer.quantized("acf.enter", x)
    x = writer.conv("sharing.stem.conv", x, (3, width), relu=True)
    y = writer.conv("sharing.deblur.0.conv1", x, (width, width), relu=True)
    y = writer.conv("sharing.deblur.0.conv2", y, (width, width))
    y = writer.quantized("sharing.deblur.0", writer.add("sharing.deblur.0", "Add", [x, y], "sum"))
    writer.nodes.append(
        helper.make_node(
            "JunctionVote", [y], ["voted"], name="junction.vote/JunctionVote", domain="acf"
        )
    )
    body = [
        helper.make_node("GlobalAveragePool", ["a"], ["mean"], name="pool"),
        helper.make_node("Sigmoid", ["mean"], ["gate"]),
        helper.make_node("Mul", ["a", "gate"], ["b"], name="gating"),
    ]
    opset = [helper.make_opsetid("", 18)]
    writer.functions.append(helper.make_function("acf", "JunctionVote", ["a"], ["b"], body, opset))
    y = writer.quantized("junction.vote", "voted")
    y = writer.conv("reconstruction.up", y, (width, 12))
    y = writer.add("reconstruction.shuffle", "DepthToSpace", [y], "shuffled", blocksize=2)
    y = writer.add("acf.leave", "Transpose", [y], "nhwc", perm=[0, 2, 3, 1])
    writer.tensors["low"], writer.tensors["high"] = np.float32(0), np.float32(255)
    y = writer.add("acf.leave", "Clip", [y, "low", "high"], "clipped")
    writer.add("acf.leave", "Cast", [y], "enhanced", to=TensorProto.UINT8)
    model = serialize(writer.nodes, writer.tensors, writer.functions)
    onnx.checker.check_model(model)
    return model
