"""What the stand-in for TensorRT is made of: its world, enumerations and plugin classes.

Use it through ``fake_tensorrt.make``. Names and enumeration values are those of the real bindings
of the same version (a test compares them where the bindings can be imported).
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Version = tuple[int, ...]


def view_of_host_memory(pointer: int, size: int) -> np.ndarray:
    """The bytes at an address of this process, as writable uint8."""
    return np.frombuffer((ctypes.c_uint8 * size).from_address(pointer), np.uint8)


def run_at_once(stream: int, work: Callable[[], None]) -> None:
    work()


@dataclass
class World:
    """The machine that the stand-in pretends to run on; tests change it as they like.

    Args:
        sm: the GPU's compute capability, e.g. "87"; None = no GPU.
        unknown_operators: ONNX operators that the parser does not know.
        needs_workspace: bytes that a build needs; a smaller pool limit fails the build.
        build_fails: text of an error that every build dies of.
        contexts: how many execution contexts fit the memory; None = any number.
        memory: ``(pointer, size) -> uint8 array`` that views device memory.
        enqueue: ``(stream, work)``: puts work into a stream.
        capturing: whether a stream is being captured into a graph.
        scale: what open output sizes are times the input size.
        network: the network: ``uint8 (N, H, W, 3) -> uint8 (N, sH, sW, 3)``; None = repeat pixels.
        fail_next_enqueue: the next ``execute_async_v3`` returns False.
        layer_times: ``(name, milliseconds)`` that a context's profiler hears after each run.
        log: every message that a logger got, as ``(severity name, text)``.
    """

    sm: str | None = "87"
    dla_cores: int = 0
    unknown_operators: frozenset[str] = frozenset()
    needs_workspace: int = 0
    build_fails: str = ""
    contexts: int | None = None
    memory: Callable[[int, int], np.ndarray] = view_of_host_memory
    enqueue: Callable[[int, Callable[[], None]], None] = run_at_once
    capturing: Callable[[int], bool] = lambda stream: False
    scale: int = 4
    network: Callable[[np.ndarray], np.ndarray] | None = None
    fail_next_enqueue: bool = False
    layer_times: tuple[tuple[str, float], ...] = (("conv_first", 0.25), ("junction", 0.5))
    log: list[tuple[str, str]] = field(default_factory=list)
    builds: int = 0
    live_contexts: int = 0


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def log(self, severity: Severity, msg: str) -> None:
        raise TypeError("a logger has a method log")


class Logger(ILogger):
    def __init__(self, min_severity: Severity = Severity.WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: Severity, msg: str) -> None:
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name}] {msg}")


class IProgressMonitor:
    pass


class IProfiler:
    pass


def say(world: World, logger: Any, severity: Severity, text: str) -> None:
    world.log.append((severity.name, text))
    logger.log(severity, text)


DATA_TYPES: dict[str, int] = {
    "FLOAT": 0,
    "HALF": 1,
    "INT8": 2,
    "INT32": 3,
    "BOOL": 4,
    "UINT8": 5,
    "FP8": 6,
    "BF16": 7,
    "INT64": 8,
    "INT4": 9,
}
FORMATS = "LINEAR CHW2 HWC8 CHW4 CHW16 CHW32 DHWC8 CDHW32 HWC DLA_LINEAR DLA_HWC4 HWC16 DHWC"
FIELD_TYPES = "FLOAT16 FLOAT32 FLOAT64 INT8 INT16 INT32 CHAR DIMS UNKNOWN BF16 INT64 FP8 INT4"
# Value by major version: 10 first, then 11, whose numbering TensorRT-RTX shares.
FLAGS: dict[str, tuple[int | None, int | None]] = {
    "FP16": (0, None),
    "INT8": (1, None),
    "DEBUG": (2, 2),
    "GPU_FALLBACK": (3, 3),
    "REFIT": (4, 4),
    "DISABLE_TIMING_CACHE": (5, 5),
    "TF32": (6, 6),
    "SPARSE_WEIGHTS": (7, 7),
    "DIRECT_IO": (11, 11),
    "VERSION_COMPATIBLE": (13, 12),
    "EXCLUDE_LEAN_RUNTIME": (14, 13),
    "FP8": (15, None),
    "ERROR_ON_TIMING_CACHE_MISS": (16, 15),
    "STRIP_PLAN": (19, 18),
    "WEIGHT_STREAMING": (21, 20),
}


def enumerations(version: Version, rtx: bool) -> dict[str, Any]:
    """The enumerations of one version, as attributes of its module."""
    old = version[0] == 10 and not rtx

    def make(name: str, members: dict[str, int]) -> Any:
        return enum.IntEnum(name, members)

    def count(names: str) -> dict[str, int]:
        return {name: number for number, name in enumerate(names.split())}

    later = {} if old and version < (10, 8) else {"FP4": 10, "E8M0": 11}
    creation = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1} if old else {"STRONGLY_TYPED": 0}
    hardware = {"NONE": 0, "AMPERE_PLUS": 1}
    if not old or version >= (10, 9):
        hardware["SAME_COMPUTE_CAPABILITY"] = 2
    flags = {
        name: value for name, pair in FLAGS.items() if (value := pair[0 if old else 1]) is not None
    }
    found = {
        "DataType": make("DataType", DATA_TYPES | later),
        "TensorFormat": make("TensorFormat", count(FORMATS)),
        "PluginFieldType": make("PluginFieldType", count(FIELD_TYPES)),
        "TensorRTPhase": make("TensorRTPhase", count("BUILD RUNTIME")),
        "PluginCapabilityType": make("PluginCapabilityType", count("CORE BUILD RUNTIME")),
        "MemoryPoolType": make(
            "MemoryPoolType",
            count(
                "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM TACTIC_DRAM "
                "TACTIC_SHARED_MEMORY"
            ),
        ),
        "HardwareCompatibilityLevel": make("HardwareCompatibilityLevel", hardware),
        "ProfilingVerbosity": make("ProfilingVerbosity", count("LAYER_NAMES_ONLY NONE DETAILED")),
        "TensorIOMode": make("TensorIOMode", count("NONE INPUT OUTPUT")),
        "DeviceType": make("DeviceType", count("GPU DLA")),
        "LayerInformationFormat": make("LayerInformationFormat", count("ONELINE JSON")),
        "ExecutionContextAllocationStrategy": make(
            "ExecutionContextAllocationStrategy", count("STATIC ON_PROFILE_CHANGE USER_MANAGED")
        ),
        "BuilderFlag": make("BuilderFlag", flags),
        "NetworkDefinitionCreationFlag": make("NetworkDefinitionCreationFlag", creation),
    }
    if rtx:
        found["DynamicShapesKernelSpecializationStrategy"] = make(
            "DynamicShapesKernelSpecializationStrategy", count("LAZY EAGER NONE")
        )
        found["CudaGraphStrategy"] = make(
            "CudaGraphStrategy", count("DISABLED WHOLE_GRAPH_CAPTURE")
        )
        found["ComputeCapability"] = make(
            "ComputeCapability",
            {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM80": 80, "SM86": 86, "SM89": 89}
            | {"SM120": 120, "SM121": 121},
        )
    return found


class Dims(tuple[int, ...]):
    """As TensorRT's: made of a sequence, read like one."""

    MAX_DIMS = 8

    def __new__(cls, shape: Any = ()) -> Dims:
        return super().__new__(cls, tuple(int(value) for value in shape))

    @property
    def nbDims(self) -> int:
        return len(self)


class IDimensionExpr:
    """A size that may not be known yet: a constant or a text."""

    def __init__(self, value: int | None, text: str = "") -> None:
        self.value, self.text = value, text or str(value)

    def is_constant(self) -> bool:
        return self.value is not None

    def get_constant_value(self) -> int:
        return -1 if self.value is None else self.value


class DimensionOperation(enum.IntEnum):
    SUM = 0
    PROD = 1
    MAX = 2
    MIN = 3
    SUB = 4
    EQUAL = 5
    LESS = 6
    FLOOR_DIV = 7
    CEIL_DIV = 8


class IExprBuilder:
    def constant(self, value: int) -> IDimensionExpr:
        return IDimensionExpr(value)

    def operation(
        self, op: DimensionOperation, a: IDimensionExpr, b: IDimensionExpr
    ) -> IDimensionExpr:
        if a.value is None or b.value is None:
            return IDimensionExpr(None, f"{op.name}({a.text}, {b.text})")
        functions: dict[DimensionOperation, Callable[[int, int], int]] = {
            DimensionOperation.SUM: lambda x, y: x + y,
            DimensionOperation.PROD: lambda x, y: x * y,
            DimensionOperation.SUB: lambda x, y: x - y,
            DimensionOperation.FLOOR_DIV: lambda x, y: x // y,
            DimensionOperation.CEIL_DIV: lambda x, y: -(-x // y),
        }
        return IDimensionExpr(functions[op](a.value, b.value))


class DimsExprs:
    """As TensorRT's: made of a length or of expressions."""

    def __init__(self, sizes: Any = 0) -> None:
        if isinstance(sizes, int):
            self._sizes: list[Any] = [IDimensionExpr(0) for _ in range(sizes)]
        else:
            self._sizes = list(sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> IDimensionExpr:
        return self._sizes[index]

    def __setitem__(self, index: int, value: IDimensionExpr) -> None:
        if not isinstance(value, IDimensionExpr):
            raise TypeError("a size of DimsExprs is an IDimensionExpr")
        self._sizes[index] = value

    def __iter__(self) -> Iterator[IDimensionExpr]:
        return iter(self._sizes)


@dataclass
class PluginTensorDesc:
    dims: Dims = field(default_factory=Dims)
    type: Any = 0
    format: Any = 0
    scale: float = 0.0


@dataclass
class DynamicPluginTensorDesc:
    desc: PluginTensorDesc = field(default_factory=PluginTensorDesc)
    min: Dims = field(default_factory=Dims)
    opt: Dims = field(default_factory=Dims)
    max: Dims = field(default_factory=Dims)


class PluginField:
    """As TensorRT's: keeps the address of its data, not the data.

    The stand-in holds no reference either: a buffer that nobody keeps is overwritten, so that a
    test sees it.
    """

    def __init__(self, name: Any = "", data: Any = None, type: Any = None) -> None:
        import weakref

        self.name = name
        self.type = type
        self.size = 0 if data is None else int(np.asarray(data).size)
        self._dtype = None if data is None else np.asarray(data).dtype
        self._data = None
        if isinstance(data, np.ndarray):
            self._data = weakref.ref(data)
        elif data is not None:
            self._data = lambda: data

    @property
    def data(self) -> Any:
        kept = None if self._data is None else self._data()
        if kept is None and self._dtype is not None:
            return np.frombuffer(b"\xaa" * self.size * self._dtype.itemsize, self._dtype)
        return kept


class PluginFieldCollection(list[PluginField]):
    pass


class PluginFieldCollection_(tuple[PluginField, ...]):
    """TensorRT's own collection: a view of the other one."""

    def __new__(cls, fields: PluginFieldCollection) -> PluginFieldCollection_:
        return super().__new__(cls, fields)


class IPluginCapability:
    pass


class IPluginV3:
    def __init__(self, other: IPluginV3 | None = None) -> None:
        pass


class IPluginV3OneCore(IPluginCapability):
    def __init__(self, other: Any = None) -> None:
        pass


class IPluginV3OneBuild(IPluginCapability):
    DEFAULT_FORMAT_COMBINATION_LIMIT = 100

    def __init__(self, other: Any = None) -> None:
        pass


class IPluginV3OneRuntime(IPluginCapability):
    def __init__(self, other: Any = None) -> None:
        pass


class IPluginCreatorV3One:
    def __init__(self) -> None:
        pass


class Registry:
    """The registry of one process: one for builder and runtime, as in TensorRT."""

    def __init__(self) -> None:
        self.all_creators: list[Any] = []

    def register_creator(self, creator: Any, plugin_namespace: str = "") -> bool:
        key = (creator.name, creator.plugin_version, plugin_namespace)
        if any((c.name, c.plugin_version, c.plugin_namespace) == key for c in self.all_creators):
            return False
        creator.plugin_namespace = plugin_namespace
        self.all_creators.append(creator)
        return True

    def deregister_creator(self, creator: Any) -> bool:
        if creator not in self.all_creators:
            return False
        self.all_creators.remove(creator)
        return True

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        for creator in self.all_creators:
            found = (creator.name, creator.plugin_version, creator.plugin_namespace)
            if found == (type, version, plugin_namespace):
                return creator
        return None

    def load_library(self, path: str) -> Any:
        raise RuntimeError(f"the stand-in loads no libraries: {path}")
