"""TensorRT 10.3 to 11.x and TensorRT-RTX behind one face: their differences are here.

Everything else asks ``api.features`` or calls a function of this file. What all versions share is
called directly, through ``api.module``, which mypy knows (:mod:`acf_edge.engine.trt.names`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from acf_edge.engine.trt.log import Log
from acf_edge.engine.trt.names import Module
from acf_edge.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt

Kind = Literal["tensorrt", "tensorrt_rtx"]
KINDS: Final[tuple[Kind, ...]] = ("tensorrt", "tensorrt_rtx")
NAMES: Final[dict[str, str]] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
EXTRAS: Final[dict[str, str]] = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}
# The wheels of the bindings alone bring the second name only.
MODULES: Final[dict[str, tuple[str, str]]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
OLDEST: Final = (10, 3)
OUR_OPERATORS: Final = ("JunctionVote", "ChannelSpatialAttention")
TEGRA: Final = Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Features:
    """What one version has and another has not.

    Attributes:
        plugins: networks may have plugin layers.
        timing_cache: builds measure kernels and keep the times.
        sms: compute capabilities that can be compiled for without such a GPU.
        hardware_levels: names of the hardware compatibility levels beside none.
        weight_streaming: weights may stay in host memory.
        asks_capturable: a context tells whether a stream capture would work.
        asks_validity: a runtime tells why an engine would not load, before it loads it.
        dla_in_parser: the parser can be told to keep to what the DLA runs.
    """

    plugins: bool
    timing_cache: bool
    sms: tuple[str, ...]
    hardware_levels: tuple[str, ...]
    weight_streaming: bool
    asks_capturable: bool
    asks_validity: bool
    dla_in_parser: bool


@dataclass(frozen=True)
class TrtApi:
    """One loaded module. Get it from :func:`load_api`.

    Attributes:
        kind: ``"tensorrt"`` or ``"tensorrt_rtx"``.
        module: the Python module.
        version: e.g. ``(10, 3, 0)``; that of an engine has to be the same.
        text: for messages, e.g. ``"TensorRT 10.3.0"``.
        features: what this version has.
        log: what the module says.
        creators: our plugins' creators by operator; the registry keeps an address, no reference.
        libraries: handles of plugin libraries.
    """

    kind: Kind
    module: Module
    version: tuple[int, ...]
    text: str
    features: Features
    log: Log
    creators: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    libraries: list[object] = field(default_factory=list, repr=False, compare=False)

    @property
    def is_rtx(self) -> bool:
        """TensorRT-RTX: compiles without a GPU, knows no plugins."""
        return self.kind == "tensorrt_rtx"

    @property
    def logger(self) -> trt.ILogger:
        """The logger to give to every builder, parser and runtime of this module."""
        return self.log.logger

    def last_error(self) -> str:
        """What went wrong last, on one line; empty where nothing did since it was asked last."""
        return self.log.last_error()


def load_api(kind: str) -> TrtApi:
    """Import TensorRT or TensorRT-RTX.

    The same object comes back for the same module: a process has one logger per module.

    Raises:
        MissingExtraError: the package is not installed.
        InputError: no such kind; the package is there and its library is not, or is too old.
    """
    for known in KINDS:
        if kind == known:
            return _api_of(known, _import(known))
    raise InputError(f"There is no TensorRT of the kind '{kind}'.", f"One of: {', '.join(KINDS)}.")


def available() -> list[str]:
    """The kinds that can be loaded here, in the order of :data:`KINDS`. Imports them."""
    found: list[str] = []
    for kind in KINDS:
        try:
            load_api(kind)
        except InputError:
            continue
        found.append(kind)
    return found


def _import(kind: Kind) -> ModuleType:
    problem = ""
    for name in MODULES[kind]:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                problem = f"its module '{error.name}' is missing"
        except (ImportError, OSError) as error:
            problem = " ".join(str(error).split())
        else:
            # A folder of type stubs imports as a package without contents.
            if hasattr(module, "Builder"):
                return module
    if problem:
        raise InputError(
            f"The Python bindings of {NAMES[kind]} are installed and cannot be loaded: {problem}.",
            _library_remedy(kind),
        )
    if kind == "tensorrt" and TEGRA.exists():
        raise InputError(
            "TensorRT's Python bindings are not visible to this Python.",
            "On a Jetson they come with JetPack: sudo apt-get install python3-libnvinfer, and make "
            "the virtual environment with --system-site-packages and the system's Python.",
        )
    raise MissingExtraError(f"{NAMES[kind]}", MODULES[kind][1], EXTRAS[kind])


def _library_remedy(kind: Kind) -> str:
    if kind == "tensorrt_rtx":
        return "Run: pip install --force-reinstall 'acf-edge[rtx]'"
    if TEGRA.exists():
        return (
            "On a Jetson the library comes with JetPack (sudo apt-get install tensorrt); its "
            "version and that of the bindings must be the same."
        )
    return (
        "Install NVIDIA's TensorRT library of the same version and put its folder 'lib' into "
        "LD_LIBRARY_PATH."
    )


# One per module: TensorRT takes the first logger of a process and ignores all later ones.
@cache
def _api_of(kind: Kind, found: ModuleType) -> TrtApi:
    module = cast(Module, found)
    numbers = [part for part in module.__version__.split(".") if part.isdigit()]
    version = tuple(int(part) for part in numbers)
    text = f"{NAMES[kind]} {module.__version__}"
    if kind == "tensorrt" and version < OLDEST:
        raise InputError(
            f"{text} is too old: acf-edge needs {OLDEST[0]}.{OLDEST[1]} or newer (JetPack 6.2).",
            "Update it, or run the bundle's network.onnx with your own runtime.",
        )
    if kind == "tensorrt_rtx" and not hasattr(found, "ComputeCapability"):
        raise InputError(f"{text} is too old.", "Run: pip install -U 'acf-edge[rtx]'")
    return TrtApi(kind, module, version, text, _features(kind, found), Log(module))


def _features(kind: Kind, found: ModuleType) -> Features:
    def has(owner: str, name: str) -> bool:
        return hasattr(getattr(found, owner, None), name)

    rtx = kind == "tensorrt_rtx"
    capabilities = found.ComputeCapability.__members__ if rtx else {}
    levels = found.HardwareCompatibilityLevel.__members__
    return Features(
        plugins=not rtx,
        # TensorRT-RTX has the calls and says that they do nothing.
        timing_cache=not rtx,
        sms=tuple(name[2:] for name in capabilities if name.startswith("SM")),
        hardware_levels=tuple(name for name in levels if name != "NONE"),
        weight_streaming=has("BuilderFlag", "WEIGHT_STREAMING"),
        asks_capturable=has("IExecutionContext", "is_stream_capturable"),
        asks_validity=has("Runtime", "get_engine_validity"),
        dla_in_parser=has("OnnxParserFlag", "ADJUST_FOR_DLA"),
    )


def create_builder(api: TrtApi) -> trt.Builder:
    """TensorRT's builder.

    Raises:
        InputError: classic TensorRT without a usable GPU.
    """
    api.last_error()
    try:
        builder = api.module.Builder(api.logger)
    except (TypeError, RuntimeError) as error:
        raise _no_gpu(api, "compile", error) from error
    return builder


def create_runtime(api: TrtApi) -> trt.Runtime:
    """TensorRT's runtime, which engines are loaded with.

    Raises:
        InputError: there is no usable GPU.
    """
    api.last_error()
    try:
        runtime = api.module.Runtime(api.logger)
    except (TypeError, RuntimeError) as error:
        raise _no_gpu(api, "load an engine", error) from error
    return runtime


def _no_gpu(api: TrtApi, deed: str, error: Exception) -> InputError:
    reason = api.last_error() or str(error)
    remedy = "Run this on the GPU's own machine (nvidia-smi shows it)"
    if deed == "compile":
        remedy += "; for a desktop GPU TensorRT-RTX compiles anywhere: pip install 'acf-edge[rtx]'"
    problem = f"{api.text} cannot {deed} here, without a usable GPU: {reason}."
    return InputError(problem, f"{remedy}.")


def create_network(api: TrtApi, builder: trt.Builder) -> trt.INetworkDefinition:
    """An empty, strongly typed network: precisions are what the ONNX says, nothing else."""
    # The flag has another number in TensorRT 11; it is the default there and may go one day.
    flag = getattr(api.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if flag is None else 1 << int(flag))


def create_parser(api: TrtApi, network: trt.INetworkDefinition) -> trt.OnnxParser:
    """The ONNX parser; the only way that we make one.

    Keep the network as long as the parser: nobody else does. What is no ONNX at all may parse
    without an error (TensorRT-RTX 1.7) and leave a network without outputs.

    Raises:
        InputError: TensorRT-RTX with a creator of our operators in its registry: its parser would
            end the process.
    """
    if api.is_rtx:
        refuse_plugins(api)
    return api.module.OnnxParser(network, api.logger)


def refuse_plugins(api: TrtApi) -> None:
    """Make sure that no creator of our operators is where a parser of TensorRT-RTX could find it.

    Raises:
        InputError: one is registered in this process, with TensorRT-RTX or with TensorRT, whose
            registry stands in for the other's where its library was loaded for everybody.
    """
    modules: list[Any] = [api.module]
    modules += [
        sys.modules[name] for names in MODULES.values() for name in names if name in sys.modules
    ]
    found = {name for module in modules for name in registered_operators(module, OUR_OPERATORS)}
    if found:
        raise InputError(
            f"A plugin for {' and '.join(sorted(found))} is registered in this process, and the "
            f"parser of {api.text}, which knows no plugins, would end the process over it.",
            "Load no plugin here: compile for TensorRT-RTX in a process of its own.",
        )


def registered_operators(module: Any, unknown: Sequence[str] = ()) -> list[str]:
    """Which of our operators have a creator in a module's registry, by whomever.

    Args:
        module: TensorRT's; None = not loaded.
        unknown: the answer where the registry does not tell.
    """
    ask = getattr(module, "get_plugin_registry", None)
    registry = ask() if ask is not None else None
    if registry is None:
        return []
    # TensorRT 10.3 gives none of them where one is of a kind that its bindings do not know.
    found = registry.all_creators
    if found is None:
        return list(unknown)
    names = {creator.name for creator in found}
    return [name for name in OUR_OPERATORS if name in names]


def set_workspace(api: TrtApi, config: trt.IBuilderConfig, size: int) -> None:
    """Limit the memory that a layer may use beside its tensors, in bytes."""
    config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, size)


def set_sms(api: TrtApi, config: trt.IBuilderConfig, sms: Sequence[str]) -> None:
    """TensorRT-RTX: the compute capabilities that one engine serves, e.g. ``["86", "89"]``.

    Raises:
        InputError: classic TensorRT with any (it compiles for the GPU that it finds), or one that
            this TensorRT-RTX cannot compile for.
    """
    if not sms:
        return
    if not api.features.sms:
        raise InputError(
            f"{api.text} compiles for the GPU that it finds, not for another one.",
            "Compile on the target, or build for TensorRT-RTX.",
        )
    unknown = [sm for sm in sms if sm not in api.features.sms]
    if unknown:
        raise InputError(
            f"{api.text} cannot compile ahead for SM {', '.join(unknown)}.",
            f"It can for: {', '.join(api.features.sms)}.",
        )
    # Neither is in the stubs: they are of the classic module.
    setattr(config, "num_compute_capabilities", len(sms))  # noqa: B010
    choose = getattr(config, "set_compute_capability")  # noqa: B009
    for index, sm in enumerate(sms):
        if not choose(getattr(api.module.ComputeCapability, f"SM{sm}"), index):
            raise InputError(f"{api.text} refuses to compile for SM {sm}.", api.last_error())


def set_compatible(api: TrtApi, config: trt.IBuilderConfig, level: str = "AMPERE_PLUS") -> None:
    """One engine for several GPUs: ``"AMPERE_PLUS"`` or ``"SAME_COMPUTE_CAPABILITY"``.

    Raises:
        InputError: this version does not have that level.
    """
    if level not in api.features.hardware_levels:
        raise InputError(
            f"{api.text} has no hardware compatibility level {level}.",
            f"It has: {', '.join(api.features.hardware_levels)}.",
        )
    config.hardware_compatibility_level = getattr(api.module.HardwareCompatibilityLevel, level)


def loaded_kinds() -> list[str]:
    """The kinds whose module this process has imported already, whoever did."""
    return [kind for kind in KINDS if any(name in sys.modules for name in MODULES[kind])]
