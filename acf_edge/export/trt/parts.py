"""A typed graph under construction: nodes, constants, conversions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from acf_edge.export.trt.numbers import Kind, half

ELEMENTS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}


@dataclass
class TypedParts:
    """Nodes and initializers; ``element`` is the type of what is floating point.

    Attributes:
        element: ``TensorProto.FLOAT`` or ``FLOAT16``.
        nodes: in order.
        initializers: by name.
        converted: (value, type) -> name of the value in that type.
    """

    element: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    converted: dict[tuple[str, int], str] = field(default_factory=dict)

    def add(self, op: str, name: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; returns ``output``."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def integers(self, name: str, values: list[int]) -> str:
        """A constant of 64-bit integers."""
        self.initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def floats(self, name: str, values: Any, element: int | None = None) -> str:
        """A floating-point constant, of the graph's element type or another."""
        wide = (self.element if element is None else element) == TensorProto.FLOAT
        array = np.asarray(values, np.float32) if wide else half(values)
        self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def cast(self, value: str, to: int) -> str:
        """``value`` in another floating-point type; made once."""
        if (value, to) not in self.converted:
            word = "fp32" if to == TensorProto.FLOAT else "fp16"
            name = f"{value}:{word}"
            self.converted[value, to] = self.add("Cast", name, [value], name, to=to)
        return self.converted[value, to]

    def quantize(self, value: str, step: np.float16, kind: Kind) -> None:
        """Append ``<value>:codes``."""
        inputs = [value, *self.scale(f"{value}:codes", step, kind)]
        self.add("QuantizeLinear", f"{value}:quantize", inputs, f"{value}:codes")

    def dequantize(self, value: str, taker: str, kind: Kind) -> str:
        """What ``taker`` reads instead of ``value``; one for each taker, as fusions want it."""
        codes, read = f"{value}:codes", f"{taker}:{value}"
        inputs = [codes, f"{codes}:scale", f"{codes}:zero"]
        return self.add("DequantizeLinear", f"{read}:dequantize", inputs, read)

    def weight(
        self, name: str, codes: np.ndarray[Any, Any], scales: Any, kind: Kind, axis: int
    ) -> str:
        """A constant of 8-bit codes (given as bytes), read as floating point."""
        inputs = [f"{name}:codes", *self.scale(name, scales, kind)]
        self.initializers[inputs[0]] = helper.make_tensor(
            inputs[0], kind.onnx_type, codes.shape, codes.tobytes(), raw=True
        )
        output = f"{name}:float"
        places = {"axis": axis} if np.ndim(scales) else {}
        return self.add("DequantizeLinear", f"{name}:dequantize", inputs, output, **places)

    def scale(self, name: str, scales: Any, kind: Kind) -> list[str]:
        """Scale and zero of what is called ``name``; returns their names."""
        scales = np.asarray(scales)
        self.floats(f"{name}:scale", scales)
        zeros = bytes(scales.size)
        self.initializers[f"{name}:zero"] = helper.make_tensor(
            f"{name}:zero", kind.onnx_type, scales.shape, zeros, raw=True
        )
        return [f"{name}:scale", f"{name}:zero"]
