"""The builder's half of the stand-in for TensorRT: network, parser, configuration, plan.

A plan is ``MAGIC`` and JSON; ``fake_tensorrt_run`` reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fake_tensorrt_base import (
    Dims,
    PluginField,
    PluginFieldCollection,
    Severity,
    World,
    say,
)

MAGIC = b"ftrt"
ONNX_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}


class IHostMemory(bytearray):
    """Bytes with the attributes of TensorRT's own; read it through the buffer protocol."""

    @property
    def nbytes(self) -> int:
        return len(self)


class Tensor:
    def __init__(self, name: str, dtype: Any, shape: tuple[int, ...], is_input: bool) -> None:
        self.name, self.dtype, self.shape = name, dtype, Dims(shape)
        self.is_network_input, self.is_network_output = is_input, not is_input


class Layer:
    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind


class Network:
    def __init__(self, builder: Any, flags: int) -> None:
        self.builder, self.flags, self.name = builder, flags, "fake"
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.plugins: list[tuple[Any, dict[str, str]]] = []

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_layers = property(lambda self: len(self.layers))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)


@dataclass(frozen=True)
class Complaint:
    """As TensorRT's ParserError: everything is a method."""

    text: str
    index: int
    operator: str
    name: str

    def desc(self) -> str:
        return self.text

    def node(self) -> int:
        return self.index

    def node_operator(self) -> str:
        return self.operator

    def node_name(self) -> str:
        return self.name

    def code(self) -> int:
        return 8

    def func(self) -> str:
        return "parseNode"

    def file(self) -> str:
        return "ModelImporter.cpp"

    def line(self) -> int:
        return 951

    def local_function_stack(self) -> list[str]:
        return []


class OnnxParser:
    world: World
    module: Any

    def __init__(self, network: Network, logger: Any) -> None:
        self.network, self.logger = network, logger
        self.errors: list[Complaint] = []
        self._flags: set[int] = set()

    num_errors = property(lambda self: len(self.errors))

    def get_error(self, index: int) -> Complaint:
        return self.errors[index]

    def clear_errors(self) -> None:
        self.errors.clear()

    def set_flag(self, flag: Any) -> None:
        self._flags.add(int(flag))

    def parse(self, model: Any, path: str | None = None) -> bool:
        import onnx

        try:
            proto = onnx.ModelProto.FromString(bytes(model))
        except Exception:
            return self._complain(-1, "", "", "Failed to parse ONNX model")
        graph = proto.graph
        if not graph.node:
            return self._complain(-1, "", "", "Failed to parse ONNX model: no nodes")
        weights = {tensor.name: tensor for tensor in graph.initializer}
        for value in graph.input:
            if value.name not in weights:
                self.network.inputs.append(self._tensor(value, True))
        for value in graph.output:
            self.network.outputs.append(self._tensor(value, False))
        functions = {(function.domain, function.name) for function in proto.functions}
        for index, node in enumerate(graph.node):
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            space = attributes.get("plugin_namespace", b"").decode()
            creator = self._creator(node.op_type, space, attributes)
            foreign = node.domain not in ("", "ai.onnx")
            if self.module.is_rtx and creator is not None:
                raise SystemExit("terminate called: no plugins in this parser")
            if creator is not None:
                self._plugin(node, creator, attributes, index)
            elif node.op_type in self.world.unknown_operators or (
                foreign and (node.domain, node.op_type) not in functions
            ):
                return self._complain(
                    index,
                    node.op_type,
                    node.name,
                    f"No importer registered for op: {node.op_type}. Attempting to import as "
                    'plugin.: creator && "Plugin not found, are the plugin name, version, and '
                    f'namespace correct?"',
                )
            self.network.layers.append(Layer(node.name or f"node_{index}", node.op_type))
        return not self.errors

    def _creator(self, op: str, space: str, attributes: dict[str, Any]) -> Any:
        version = attributes.get("plugin_version", b"1").decode()
        return self.module.registry.get_creator(op, version, space)

    def _plugin(self, node: Any, creator: Any, attributes: dict[str, Any], index: int) -> None:
        import numpy as np

        types = self.module.PluginFieldType
        known = {name: found for name, found in attributes.items() if "plugin_" not in name}
        kept, fields = [], PluginFieldCollection()
        for name, value in known.items():
            whole = isinstance(value, int)
            kept.append(np.array([value], np.int32 if whole else np.float32))
            fields.append(PluginField(name, kept[-1], types.INT32 if whole else types.FLOAT32))
        plugin = creator.create_plugin(node.name, fields, self.module.TensorRTPhase.BUILD)
        if plugin is None:
            self._complain(index, node.op_type, node.name, "creator returned no plugin")
            return
        key = {
            "name": creator.name,
            "version": creator.plugin_version,
            "namespace": creator.plugin_namespace,
        }
        self.network.plugins.append((plugin, key))

    def _complain(self, index: int, operator: str, name: str, text: str) -> bool:
        self.errors.append(Complaint(text, index, operator, name))
        say(self.world, self.logger, Severity.ERROR, f"In node {index}: {text}")
        return False

    def _tensor(self, value: Any, is_input: bool) -> Tensor:
        kind = value.type.tensor_type
        dtype = self.module.DataType[ONNX_TYPES[kind.elem_type]]
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        return Tensor(value.name, dtype, tuple(shape), is_input)


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[Dims]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        triple = [Dims(min), Dims(opt), Dims(max)]
        if any(not a <= b <= c for a, b, c in zip(*triple, strict=True)):
            raise ValueError(f"Shape provided for min/opt/max is inconsistent: {triple}")
        self.shapes[input] = triple

    def get_shape(self, input: str) -> list[Dims]:
        return self.shapes.get(input, [])

    def __bool__(self) -> bool:
        return bool(self.shapes)


class TimingCache:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.content)

    def combine(self, other: TimingCache, ignore_mismatch: bool) -> bool:
        self.content += other.content
        return True

    def reset(self) -> bool:
        self.content = b""
        return True


class BuilderConfig:
    module: Any

    def __init__(self) -> None:
        self.flags = 0
        self.pools: dict[int, int] = {}
        self.profiles: list[OptimizationProfile] = []
        self.cache: TimingCache | None = None
        self.sms: list[Any] = []
        self.builder_optimization_level = 3
        self.progress_monitor: Any = None
        self.profiling_verbosity = self.module.ProfilingVerbosity.LAYER_NAMES_ONLY
        self.hardware_compatibility_level = self.module.HardwareCompatibilityLevel.NONE
        self.default_device_type, self.DLA_core = self.module.DeviceType.GPU, -1
        self.plugins_to_serialize: list[str] = []
        self.max_aux_streams, self.avg_timing_iterations = 0, 1

    num_optimization_profiles = property(lambda self: len(self.profiles))

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.pools[int(pool)] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self.pools.get(int(pool), 1 << 40)

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        if not profile:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> TimingCache:
        return TimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"bad"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.cache


class RtxBuilderConfig(BuilderConfig):
    """What TensorRT-RTX has besides."""

    num_compute_capabilities = 0

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        if not 0 <= index < self.num_compute_capabilities:
            return False
        self.sms = [*self.sms[:index], capability, *self.sms[index + 1 :]]
        return True


def plan_bytes(content: dict[str, Any]) -> bytes:
    return MAGIC + json.dumps(content, sort_keys=True).encode()
