"""A stand-in for the Python modules ``tensorrt`` and ``tensorrt_rtx``.

It knows the order of things and what goes wrong, no arithmetic: an engine repeats pixels. Example::

    fake = fake_tensorrt.make("10.3.0", World(sm="87"))
    monkeypatch.setitem(sys.modules, "tensorrt", fake)

Every mistake that it can make is set on its :class:`World` (``fake.world``).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import fake_tensorrt_base as base
import fake_tensorrt_build as build
import fake_tensorrt_run as run
from fake_tensorrt_base import Severity, World, say

__all__ = ["World", "make"]

PHASE = "Building an engine from network fake"


class Builder:
    world: World
    module: Any

    def __init__(self, logger: Any) -> None:
        if self.world.sm is None and not self.module.is_rtx:
            say(
                self.world,
                logger,
                Severity.ERROR,
                "CUDA initialization failure with error: 35. Please check your CUDA installation",
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger, self.max_threads = logger, 1

    num_DLA_cores = property(lambda self: self.world.dla_cores)

    def create_network(self, flags: int = 0) -> build.Network:
        return build.Network(self, flags)

    def create_builder_config(self) -> Any:
        return self.module.IBuilderConfig()

    def create_optimization_profile(self) -> build.OptimizationProfile:
        return build.OptimizationProfile()

    def get_plugin_registry(self) -> base.Registry:
        return self.module.registry

    def build_serialized_network(self, network: Any, config: Any) -> build.IHostMemory | None:
        """A plan, or None after an error in the log."""
        problem = self._problem(network, config)
        if problem:
            say(self.world, self.logger, Severity.ERROR, problem)
            return None
        monitor = config.progress_monitor
        steps = len(network) + 1
        if monitor is not None:
            monitor.phase_start(PHASE, None, steps)
        going = True
        for step in range(steps):
            if monitor is not None and not monitor.step_complete(PHASE, step):
                going = False
                break
        if monitor is not None:
            monitor.phase_finish(PHASE)
        if not going:
            say(self.world, self.logger, Severity.ERROR, "Error Code 10: Engine build canceled.")
            return None
        self.world.builds += 1
        if config.cache is not None:
            config.cache.content += b"timed;"
        self._table(network, config)
        return build.IHostMemory(build.plan_bytes(self._content(network, config)))

    def _problem(self, network: Any, config: Any) -> str:
        if self.world.build_fails:
            return self.world.build_fails
        if self.module.is_rtx and self.world.sm is None and not config.sms:
            return "No compute capability was set and there is no GPU"
        if not network.outputs:
            return "Network must have at least one output"
        open_inputs = [tensor for tensor in network.inputs if -1 in tensor.shape]
        if open_inputs and not config.profiles:
            return (
                "Error Code 4: API Usage Error (Network has dynamic or shape inputs, but no "
                "optimization profile has been defined.)"
            )
        limit = config.get_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE)
        if self.world.needs_workspace > limit:
            return (
                "Error Code 10: Internal Error (Could not find any implementation for node "
                f"{network.get_layer(0).name} due to insufficient workspace.)"
            )
        return ""

    def _table(self, network: Any, config: Any) -> None:
        if config.profiling_verbosity != self.module.ProfilingVerbosity.DETAILED:
            return
        tensor = "{ Name: t, Location: Device, Dimensions: [1,16,8,8], Format/Datatype: Half }"
        rows = [
            f"Name: {layer.name}, LayerType: {layer.kind}, Inputs: [ {tensor}], Outputs: "
            f"[ {tensor}], TacticName: , StreamId: 0, Metadata: [ONNX Layer: {layer.name}]"
            for layer in network.layers
        ]
        text = "Engine Layer Information:\nLayers:\n" + "\n".join(rows)
        say(self.world, self.logger, Severity.VERBOSE, text)

    def _content(self, network: Any, config: Any) -> dict[str, Any]:
        sms = [capability.name.lower().removeprefix("sm") for capability in config.sms]
        return {
            "rtx": self.module.is_rtx,
            "version": self.module.__version__,
            "sms": sms or [self.world.sm],
            "compatible": int(config.hardware_compatibility_level),
            "flags": network.flags,
            "tensors": [
                {
                    "name": tensor.name,
                    "dtype": tensor.dtype.name,
                    "shape": list(tensor.shape),
                    "input": tensor.is_network_input,
                }
                for tensor in [*network.inputs, *network.outputs]
            ],
            "profiles": [
                {name: [list(dims) for dims in triple] for name, triple in profile.shapes.items()}
                for profile in config.profiles
            ],
            "layers": [layer.name for layer in network.layers],
            "plugins": [
                key | {"fields": run.serialize_fields(plugin)} for plugin, key in network.plugins
            ],
        }


def make(version: str = "10.13.3.9", world: World | None = None, *, rtx: bool = False) -> Any:
    """A module that looks like ``tensorrt`` (or ``tensorrt_rtx``) of one version."""
    module: Any = types.ModuleType("tensorrt_rtx" if rtx else "tensorrt")
    module.__version__, module.is_rtx = version, rtx
    module.world, module.registry = world or World(), base.Registry()
    numbers = tuple(int(part) for part in version.split("."))
    for name, kind in base.enumerations(numbers, rtx).items():
        setattr(module, name, kind)
    simple: Callable[..., Any]
    for simple in (
        base.ILogger,
        base.Logger,
        base.IProgressMonitor,
        base.IProfiler,
        base.Dims,
        base.DimsExprs,
        base.DimensionOperation,
        base.PluginTensorDesc,
        base.DynamicPluginTensorDesc,
        base.PluginField,
        base.PluginFieldCollection,
        base.PluginFieldCollection_,
        base.IPluginCapability,
        base.IPluginV3,
        base.IPluginV3OneCore,
        base.IPluginV3OneBuild,
        base.IPluginV3OneRuntime,
        base.IPluginCreatorV3One,
        base.IExprBuilder,
        build.IHostMemory,
    ):
        setattr(module, simple.__name__, simple)
    bound = {
        "Builder": Builder,
        "OnnxParser": build.OnnxParser,
        "IBuilderConfig": build.RtxBuilderConfig if rtx else build.BuilderConfig,
        "Runtime": run.Runtime,
    }
    for name, kind in bound.items():
        shaped = type(name, (kind,), {"world": module.world, "module": module})
        setattr(module, name, shaped)
    module.get_plugin_registry = lambda: module.registry
    module.init_libnvinfer_plugins = lambda logger, namespace: True
    for name, member in {
        "float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64",
        "bool": "BOOL", "uint8": "UINT8", "fp8": "FP8", "bfloat16": "BF16",
    }.items():  # fmt: skip
        setattr(module, name, module.DataType[member])
    return module
