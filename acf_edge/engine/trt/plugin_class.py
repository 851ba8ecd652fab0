"""Plugins for our operators in Python: TensorRT's ``IPluginV3`` around the kernels.

They launch what :mod:`acf_edge.cuda` compiled for the GPU, so that nobody needs a compiler. Names,
fields and serialized bytes are those of the C++ plugin (``kernels/plugin``): an engine that was
built with one loads with the other. ``enqueue`` only launches kernels on the stream that it is
given, so it can be captured into a CUDA graph; Python runs at the capture then, not at replays.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from acf_edge.engine.trt.api import TrtApi
from acf_edge.engine.trt.plugin_fields import (
    NAMESPACE,
    VERSION,
    Operator,
    Settings,
    advertised,
    field_collection,
    field_values,
    read_fields,
)
from acf_edge.engine.trt.plugin_tensors import (
    INPUTS,
    OUTPUT,
    Problem,
    accepts,
    demand_types,
    problem_of,
)

if TYPE_CHECKING:
    import tensorrt as trt

    from acf_edge.cuda.plan import Plan

ALIGNMENT: Final = 16
# TensorRT asks once, for the largest picture. A smaller one may be cut into more parts, up to twice
# as many: a plan fills half of the parts that it may have, or more.
SMALLER_NEEDS: Final = 2


class Launcher(Protocol):
    """What launches kernels: :class:`acf_edge.cuda.Kernels`."""

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        shared: int,
        stream: int,
    ) -> None:
        """Queue one kernel."""


@dataclass
class DeviceKernels:
    """The kernels of the GPU whose context is current, loaded at the first call for it.

    The context is the GPU's primary one, as TensorRT, PyTorch and we use it.
    """

    _loaded: dict[int, Launcher] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Launcher:
        from acf_edge.cuda import load_kernels, open_device
        from acf_edge.cuda.driver import call

        ordinal = int(call("cuCtxGetDevice"))
        with self._lock:
            if ordinal not in self._loaded:
                self._loaded[ordinal] = load_kernels(open_device(ordinal))
            return self._loaded[ordinal]


@dataclass(frozen=True)
class Prepared:
    """All that a launch needs but addresses.

    Attributes:
        key: of the tensors that it was prepared for.
    """

    key: tuple[Any, ...]
    problem: Problem
    plan: Plan
    kernels: Launcher

    def queue(self, buffers: dict[str, int], stream: int) -> None:
        """Launch everything, without waiting."""
        plan = self.plan
        if any(address % ALIGNMENT for address in buffers.values()):
            plan = self.problem.plan(aligned=False)
        for launch in plan.launches:
            self.kernels.launch(
                launch.kernel,
                launch.grid,
                launch.block,
                launch.resolve(buffers),
                launch.shared,
                stream,
            )


def make_creator(
    api: TrtApi, operator: Operator, kernels: Callable[[], Launcher]
) -> trt.IPluginCreatorV3One:
    """A creator of one operator's plugins. Keep it as long as the registry has it."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = api.module
    from acf_edge.cuda import kernel_hash

    kernels_id = kernel_hash()[:16]
    names = INPUTS[operator]

    @contextmanager
    def told(step: str) -> Iterator[None]:
        # The bindings print what is raised here; the log brings it to the user.
        try:
            yield
        except Exception as error:
            api.log.report("error", f"{operator}, {step}: {error}")
            raise

    def problem(settings: Settings, tensors: Sequence[Any]) -> Problem:
        return problem_of(operator, settings, tensors)

    class Plugin(
        trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime
    ):
        def __init__(self, settings: Settings) -> None:
            trt.IPluginV3.__init__(self)
            trt.IPluginV3OneCore.__init__(self)
            trt.IPluginV3OneBuild.__init__(self)
            trt.IPluginV3OneRuntime.__init__(self)
            self.plugin_name = operator
            self.plugin_version = VERSION
            self.plugin_namespace = NAMESPACE
            self.num_outputs = 1
            numbers = "-".join(scale.hex() for scale in settings.scales)
            # Timings hold for the same kernels and the same arithmetic.
            self.timing_cache_id = (
                f"acf-{operator}-python-{kernels_id}-b{settings.branches}-{numbers}"
            )
            self.metadata_string = self.timing_cache_id
            self.settings = settings
            self.prepared: Prepared | None = None
            # TensorRT reads the values where they lie.
            self.values = field_values(operator, settings)
            self.collection, self.fields = field_collection(api.module, self.values)
            pin(self)

        def get_capability_interface(self, type: trt.PluginCapabilityType) -> Any:
            return self

        def clone(self) -> trt.IPluginV3:
            return Plugin(self.settings)

        def destroy(self) -> None:
            self.prepared = None

        def get_output_data_types(self, input_types: list[trt.DataType]) -> list[trt.DataType]:
            with told("data types"):
                demand_types(operator, self.settings, input_types)
                return [input_types[0]]

        def get_output_shapes(
            self,
            inputs: list[trt.DimsExprs],
            shape_inputs: list[trt.DimsExprs],
            expr_builder: trt.IExprBuilder,
        ) -> list[trt.DimsExprs]:
            with told("shapes"):
                if len(inputs) != len(names) or len(inputs[0]) != 4 or len(inputs[1]) != 4:
                    raise ValueError("features and logits must have 4 dimensions (NCHW)")
                shape = trt.DimsExprs(4)
                for axis in range(4):
                    shape[axis] = inputs[0][axis]
                if operator == "JunctionVote":
                    shape[1] = self._width(inputs[0][1], expr_builder)
                return [shape]

        def _width(self, joined: trt.IDimensionExpr, builder: trt.IExprBuilder) -> Any:
            count = self.settings.branches
            known = joined.get_constant_value() if joined.is_constant() else 0
            if known % count:
                raise ValueError(f"{known} channels cannot be shared among {count} branches")
            divide = trt.DimensionOperation.FLOOR_DIV
            return builder.operation(divide, joined, builder.constant(count))

        def supports_format_combination(
            self, pos: int, in_out: list[trt.DynamicPluginTensorDesc], num_inputs: int
        ) -> bool:
            with told("formats"):
                if num_inputs != len(names) or len(in_out) != len(names) + 1:
                    return False
                tensors: list[Any] = [tensor.desc for tensor in in_out]
                return accepts(operator, self.settings, pos, tensors, api.version)

        def configure_plugin(
            self,
            inputs: list[trt.DynamicPluginTensorDesc],
            outputs: list[trt.DynamicPluginTensorDesc],
        ) -> None:
            with told("configure"):
                problem(self.settings, _largest([*inputs, *outputs]))

        def get_workspace_size(
            self,
            inputs: list[trt.DynamicPluginTensorDesc],
            outputs: list[trt.DynamicPluginTensorDesc],
        ) -> int:
            with told("workspace"):
                largest = problem(self.settings, _largest([*inputs, *outputs])).plan()
                return SMALLER_NEEDS * largest.workspace

        def on_shape_change(
            self, inputs: list[trt.PluginTensorDesc], outputs: list[trt.PluginTensorDesc]
        ) -> None:
            with told("shape change"):
                self._prepare(inputs, outputs)

        def _prepare(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Prepared:
            key = _key(inputs)
            if self.prepared is None or self.prepared.key != key:
                found = problem(self.settings, [*inputs, *outputs])
                self.prepared = Prepared(key, found, found.plan(), kernels())
            return self.prepared

        def enqueue(
            self,
            input_desc: list[trt.PluginTensorDesc],
            output_desc: list[trt.PluginTensorDesc],
            inputs: list[int],
            outputs: list[int],
            workspace: int,
            stream: int,
        ) -> None:
            with told("enqueue"):
                buffers = dict(zip(names, inputs, strict=True))
                buffers[OUTPUT] = outputs[0]
                buffers["workspace"] = workspace
                self._prepare(input_desc, output_desc).queue(buffers, stream)

        def attach_to_context(self, resource_context: Any) -> trt.IPluginV3:
            return self.clone()

        def get_fields_to_serialize(self) -> Any:
            return self.fields

    class Creator(trt.IPluginCreatorV3One):
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name = operator
            self.plugin_version = VERSION
            self.plugin_namespace = NAMESPACE
            self.collection, self.field_names = advertised(api.module, operator)

        def create_plugin(self, name: str, field_collection: Any, phase: Any) -> trt.IPluginV3:
            with told(f"creation of {name}"):
                return Plugin(read_fields(operator, field_collection))

    return Creator()


def pin(item: object) -> None:
    """Keep an object for ever: one more reference, which nobody gives back.

    The bindings' destructor of a plugin gives back a reference, and where that was the last one the
    plugin is deleted within its own deletion. (In 10.3 also where Python drops a plugin itself.)
    As a rule ``get_capability_interface`` leaks a reference and hides it; this makes it sure. What
    stays behind per plugin is a few hundred bytes.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


def _key(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """What of the inputs decides the launches, quick to read."""
    features, logits, weight = inputs[0], inputs[1], inputs[2]
    return (
        tuple(features.dims),
        int(features.type),
        int(features.format),
        tuple(logits.dims),
        tuple(weight.dims),
        int(weight.type),
    )


@dataclass(frozen=True)
class _Largest:
    """A tensor at the upper end of its profile."""

    type: Any
    format: Any
    dims: tuple[int, ...]


def _largest(tensors: Sequence[Any]) -> list[_Largest]:
    found = []
    for tensor in tensors:
        dims = tuple(int(size) for size in tensor.desc.dims)
        most = tuple(int(size) for size in tensor.max)
        # A shape that no profile touches stands in the description alone.
        if len(most) == len(dims):
            dims = tuple(map(max, dims, most))
        found.append(_Largest(tensor.desc.type, tensor.desc.format, dims))
    return found
