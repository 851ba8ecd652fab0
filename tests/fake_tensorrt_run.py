"""The runtime's half of the stand-in for TensorRT: engine, context, execution."""

from __future__ import annotations

import json
import weakref
from typing import Any

import numpy as np
from fake_tensorrt_base import Dims, PluginField, PluginFieldCollection, Severity, World, say
from fake_tensorrt_build import MAGIC, IHostMemory


def serialize_fields(plugin: Any) -> list[list[Any]]:
    """What TensorRT writes of a plugin: the fields that its runtime side names."""
    fields = plugin.get_fields_to_serialize()
    return [[str(f.name), f.type.name, np.asarray(f.data).ravel().tolist()] for f in fields]


class Runtime:
    world: World
    module: Any

    def __init__(self, logger: Any) -> None:
        if self.world.sm is None:
            say(self.world, logger, Severity.ERROR, "CUDA initialization failure with error: 35.")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger, self.max_threads = logger, 1
        self.engine_host_code_allowed = False

    def get_plugin_registry(self) -> Any:
        return self.module.registry

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Engine | None:
        """The engine, or None after an error in the log."""
        raw = bytes(serialized_engine)
        problem, plugins = "", []
        content: dict[str, Any] = {}
        if not raw.startswith(MAGIC):
            problem = "Serialization assertion magicTagRead == kMAGIC_TAG failed."
        else:
            try:
                content = json.loads(raw[len(MAGIC) :])
            except ValueError:
                problem = "Error Code 1: Serialization (the plan is cut off)"
        if content and not problem:
            problem = self._misfit(content)
        for entry in content.get("plugins", []) if not problem else []:
            plugin = self._plugin(entry)
            if plugin is None:
                problem = (
                    f"IPluginRegistry::getCreator: Error Code 4: API Usage Error (Cannot find "
                    f"plugin: {entry['name']}, version: {entry['version']}, namespace:"
                    f"{entry['namespace']}.)"
                )
            plugins.append(plugin)
        if problem:
            say(self.world, self.logger, Severity.ERROR, problem)
            return None
        return Engine(self, content, plugins)

    def _misfit(self, content: dict[str, Any]) -> str:
        if content["version"] != self.module.__version__ or content["rtx"] != self.module.is_rtx:
            return (
                "Error Code 1: Serialization (Serialization assertion stdVersionRead == "
                "kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: "
                "240, Serialized Engine Version: 239)"
            )
        ampere = content["compatible"] == 1 and int(self.world.sm or 0) >= 80
        if self.world.sm not in content["sms"] and not ampere:
            return (
                "Error Code 6: API Usage Error (The engine plan file is generated on an "
                f"incompatible device, expecting compute {self.world.sm} got compute "
                f"{content['sms'][0]}, please rebuild.)"
            )
        return ""

    def _plugin(self, entry: dict[str, Any]) -> Any:
        creator = self.module.registry.get_creator(
            entry["name"], entry["version"], entry["namespace"]
        )
        if creator is None:
            return None
        kept, fields = [], PluginFieldCollection()
        for name, kind, values in entry["fields"]:
            kept.append(np.array(values, np.int32 if kind == "INT32" else np.float32))
            fields.append(PluginField(name, kept[-1], self.module.PluginFieldType[kind]))
        return creator.create_plugin(entry["name"], fields, self.module.TensorRTPhase.RUNTIME)


class Engine:
    """As ICudaEngine. The first tensors are inputs."""

    def __init__(self, runtime: Runtime, content: dict[str, Any], plugins: list[Any]) -> None:
        self.runtime, self.content, self.plugins = runtime, content, plugins
        self.world, self.module = runtime.world, runtime.module
        self._tensors = {tensor["name"]: tensor for tensor in content["tensors"]}
        self.name, self.device_memory_size_v2 = "fake", 1 << 16
        self.num_aux_streams = 0

    num_io_tensors = property(lambda self: len(self._tensors))
    num_layers = property(lambda self: len(self.content["layers"]))
    num_optimization_profiles = property(lambda self: max(1, len(self.content["profiles"])))

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def __getitem__(self, index: int) -> str:
        return self.get_tensor_name(index)

    def get_tensor_mode(self, name: str) -> Any:
        mode = self.module.TensorIOMode
        if name not in self._tensors:
            return mode.NONE
        return mode.INPUT if self._tensors[name]["input"] else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.module.DataType[self._tensors[name]["dtype"]]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensors[name]["shape"])

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return self.module.TensorFormat.LINEAR

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if not self.content["profiles"]:
            return [self.get_tensor_shape(name)] * 3
        return [Dims(dims) for dims in self.content["profiles"][profile_index][name]]

    def create_runtime_config(self) -> RuntimeConfig:
        if not self.module.is_rtx:
            raise AttributeError("only TensorRT-RTX configures its runtime")
        return RuntimeConfig(self)

    def create_execution_context(self, choice: Any = None) -> Context | None:
        """``choice``: an allocation strategy or, with TensorRT-RTX, a configuration."""
        world = self.world
        strategies = self.module.ExecutionContextAllocationStrategy
        strategy = choice.strategy if isinstance(choice, RuntimeConfig) else choice
        if world.contexts is not None and world.live_contexts >= world.contexts:
            say(world, self.runtime.logger, Severity.ERROR, "Error Code 2: OutOfMemory")
            return None
        world.live_contexts += 1
        return Context(self, strategy == strategies.USER_MANAGED)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self)

    def serialize(self) -> IHostMemory:
        return IHostMemory(MAGIC + json.dumps(self.content, sort_keys=True).encode())


class RuntimeConfig:
    """As TensorRT-RTX's IRuntimeConfig."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.strategy, self.cache = engine, None, None
        self.dynamic_shapes_kernel_specialization_strategy: Any = None
        self.cuda_graph_strategy: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class RuntimeCache:
    """As TensorRT-RTX's IRuntimeCache: a hint, refused if it is not its own."""

    MAGIC = b"FAKEJIT"

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, blob: Any) -> bool:
        if not bytes(blob).startswith(self.MAGIC):
            return False
        self.content = bytes(blob)[len(self.MAGIC) :]
        return True

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.MAGIC + (self.content or b"made here"))


class Inspector:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.execution_context = engine, None

    def get_engine_information(self, format: Any) -> str:
        return json.dumps({"Layers": self.engine.content["layers"], "Bindings": []})

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        return json.dumps(self.engine.content["layers"][layer_index])


class Context:
    """As IExecutionContext: shapes, addresses, enqueue.

    What TensorRT forbids gives noise: a graph that is launched after the context that it was
    captured from was changed, and work that runs after its context is gone.
    """

    def __init__(self, engine: Engine, managed: bool = False) -> None:
        self.engine, self.world = engine, engine.world
        self._managed, self._scratch = managed, (0, 0)
        self._changes = 0
        self.active_optimization_profile = 0
        self.profiler: Any = None
        self.enqueue_emits_profile = True
        self._shapes: dict[str, Dims] = {}
        self._addresses: dict[str, int] = {}
        # The first enqueue after a new shape sets things up, which no capture allows.
        self._settled: tuple[Any, ...] | None = None

    def __del__(self) -> None:
        self.world.live_contexts -= 1

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = (memory, size)
        self._changes += 1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._changes += 1
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._error(f"profile {profile_index} does not exist")
        if profile_index != self.active_optimization_profile:
            self._shapes.clear()
        self.active_optimization_profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        wanted = Dims(shape)
        self._changes += 1
        if self.engine.get_tensor_mode(name) != self.engine.module.TensorIOMode.INPUT:
            return self._error(f"{name} is no input")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        inside = len(wanted) == len(low) and all(
            a <= size <= b for a, size, b in zip(low, wanted, high, strict=True)
        )
        if not inside:
            return self._error(
                f"IExecutionContext::setInputShape: Error Code 3: API Usage Error (Supplied "
                f"dimension {list(wanted)} of {name} is outside [{list(low)}, {list(high)}])"
            )
        self._shapes[name] = wanted
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        shape = self.engine.get_tensor_shape(name)
        if name in self._shapes:
            return self._shapes[name]
        if self.engine.get_tensor_mode(name) == self.engine.module.TensorIOMode.INPUT:
            return shape
        source = self.get_tensor_shape(self.engine.get_tensor_name(0))
        if -1 in source or -1 not in shape:
            return shape
        scale = self.world.scale
        return Dims((source[0], source[1] * scale, source[2] * scale, source[3]))

    def infer_shapes(self) -> list[str]:
        return [n for n in self.engine._tensors if -1 in self.get_tensor_shape(n)]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine._tensors:
            return self._error(f"Given invalid tensor name: {name}")
        if memory % 256:
            return self._error(f"Error Code 3: The address of {name} is not aligned to 256 bytes")
        self._addresses[name] = memory
        self._changes += 1
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put one run into the stream; False after an error in the log."""
        names = list(self.engine._tensors)
        if open_ones := self.infer_shapes():
            return self._error(f"Error Code 3: Not all shapes are specified: {open_ones}")
        if missing := [name for name in names if not self._addresses.get(name)]:
            return self._error(f"Error Code 3: Address is not set for: {missing}")
        scratch, room = self._scratch
        if self._managed and room < self.engine.device_memory_size_v2:
            return self._error("Error Code 3: Device memory of the context is not set")
        state = (self.active_optimization_profile, *(self.get_tensor_shape(n) for n in names))
        if self.world.capturing(stream_handle) and state != self._settled:
            return self._error("Error Code 1: Cuda Runtime (operation not permitted in capture)")
        if self.world.fail_next_enqueue:
            self.world.fail_next_enqueue = False
            return self._error("Error Code 1: Cuda Runtime (an illegal memory access)")
        self._settled = state
        # Addresses and shapes as they are now; the bytes as they are when the stream gets there.
        first, last = names[0], names[-1]
        source, target = self._addresses[first], self._addresses[last]
        taken, given = self.get_tensor_shape(first), self.get_tensor_shape(last)

        world, alive, changes = self.world, weakref.ref(self), self._changes
        captured = self.world.capturing(stream_handle)

        def work() -> None:
            context = alive()
            if room:
                # Freed, or too small: the stand-in of CUDA says so.
                world.memory(scratch, room)[...] = 0x5A
            picture = world.memory(source, int(np.prod(taken))).reshape(taken)
            result = world.memory(target, int(np.prod(given))).reshape(given)
            if context is None or (captured and context._changes != changes):
                result[...] = 0xA5 ^ picture.ravel()[0]
            else:
                result[...] = context._network(picture, given)

        self.world.enqueue(stream_handle, work)
        if self.profiler is not None and self.enqueue_emits_profile:
            for name, milliseconds in self.world.layer_times:
                self.profiler.report_layer_time(name, milliseconds)
        return True

    def _network(self, picture: np.ndarray, given: Dims) -> np.ndarray:
        if self.world.network is not None:
            return self.world.network(picture)
        scale = given[1] // picture.shape[1]
        return picture.repeat(scale, axis=1).repeat(scale, axis=2)

    def _error(self, text: str) -> bool:
        say(self.world, self.engine.runtime.logger, Severity.ERROR, text)
        return False
