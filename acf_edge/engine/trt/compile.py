"""From ONNX to an engine, with TensorRT or TensorRT-RTX.

Networks are strongly typed: the ONNX says every data type, and no builder flag does. That is
the one way that TensorRT 10.3 to 11 and TensorRT-RTX share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acf_edge.engine.trt.api import (
    OUR_OPERATORS,
    TrtApi,
    create_builder,
    create_network,
    create_parser,
    set_compatible,
    set_sms,
    set_workspace,
)
from acf_edge.engine.trt.interrupt import noted_interrupts
from acf_edge.engine.trt.layers import Layer, layers_from_log
from acf_edge.engine.trt.log import make_monitor
from acf_edge.engine.trt.profiles import SizeProfile
from acf_edge.engine.trt.targets import RTX, Target
from acf_edge.engine.trt.watch import (
    CompileCancelled,
    Progress,
    Record,
    Watch,
    explain_failure,
    first_error,
)
from acf_edge.errors import InputError

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["CompileCancelled", "Plan", "Progress", "Request", "check_asked", "compile_plan"]

INPUT: Final = "image"
OUTPUT: Final = "enhanced"
LEVELS: Final = range(6)
USUAL_LEVEL: Final = 3
"""TensorRT's own default."""
PLUGINS: Final = ("auto", "on", "off")
_NOT_COMPATIBLE: Final = ("87", "110")


@dataclass(frozen=True)
class Request:
    """What is compiled, and for what.

    Attributes:
        target: the board or card.
        precision: of the ONNX, one of :data:`acf_edge.engine.trt.targets.PRECISIONS`. The data
            types stand in the ONNX; this is checked against the target.
        profiles: sizes of pictures, at least one.
        plugins: the ONNX has plugin nodes (classic TensorRT only).
        level: of optimization, 0 (quick) to 5 (exhaustive); TensorRT's own default is 3.
        workspace: bytes that a layer may use beside its tensors; None = the target's.
        dla: the deep-learning accelerator runs what it can, the GPU the rest; wants one
            profile of one size.
        compatible: classic TensorRT: one engine for all cards from Ampere on (on Turing: for
            all of its compute capability) instead of for this very card; slower.
        sms: TensorRT-RTX: compute capabilities in one engine; empty = the target's.
    """

    target: Target
    precision: str
    profiles: tuple[SizeProfile, ...]
    plugins: bool = False
    level: int = USUAL_LEVEL
    workspace: int | None = None
    dla: bool = False
    compatible: bool = False
    sms: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities that the engine is for."""
        return self.sms or (self.target.sm,)

    @property
    def workspace_bytes(self) -> int:
        """The workspace that is allowed, in bytes."""
        return self.target.workspace if self.workspace is None else self.workspace

    @property
    def passport_sm(self) -> str:
        """The engine's ``sm`` in a passport; see :func:`acf_edge.engine.trt.portability.covers`."""
        if self.compatible and int(self.target.sm) >= 80:
            return "80+"
        return ",".join(self.targets)


@dataclass(frozen=True)
class Plan:
    """A compiled engine.

    Attributes:
        data: the engine's bytes.
        layers: what it runs, from the log; empty where the log has no table.
        log: warnings and errors of the library, one line each.
        timing_cache: to hand to the next compilation; empty where there is none.
        fallbacks: layers that the deep-learning accelerator was asked for and did not take.
    """

    data: bytes
    layers: tuple[Layer, ...]
    log: tuple[str, ...]
    timing_cache: bytes
    fallbacks: int = 0


def compile_plan(
    onnx: bytes,
    request: Request,
    api: TrtApi,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    timing_cache: bytes = b"",
) -> Plan:
    """Compile a network.

    Classic TensorRT compiles on the very GPU that it compiles for and times every kernel there
    (minutes); TensorRT-RTX needs no GPU (below a second for small networks).

    Args:
        onnx: the model in the dialect of :mod:`acf_edge.export.trt`: input ``image`` uint8
            ``[N, H, W, 3]``, output ``enhanced`` uint8.
        request: for what.
        api: the library.
        on_progress: called often, perhaps from other threads; what it raises stops the
            compilation and comes out of this function.
        cancel: asked often; True stops the compilation.
        timing_cache: what an earlier compilation with the same library on the same GPU gave;
            one of another version is left aside.

    Raises:
        InputError: a request that the target or the library cannot fulfil, no model, an
            operator that TensorRT does not know, too small a workspace, no GPU.
        CompileCancelled: ``cancel`` said so.
        KeyboardInterrupt: Ctrl-C, as soon as TensorRT reports its next step.
    """
    check_asked(request, api.kind)
    _check_sms(request, api)
    record = Record()
    with noted_interrupts() as interrupted, api.log.hear(record.hear):

        def stop() -> bool:
            return interrupted() or (cancel is not None and cancel())

        return _compile(onnx, request, api, record, Watch(record, on_progress, stop), timing_cache)


def _compile(
    onnx: bytes, request: Request, api: TrtApi, record: Record, watch: Watch, timing_cache: bytes
) -> Plan:
    builder = create_builder(api)
    if request.dla and not builder.num_DLA_cores:
        raise InputError(
            f"{api.text} sees no deep-learning accelerator here.",
            "Leave --dla out. It is there with JetPack 6.2 on Orin NX and AGX Orin, and with "
            "JetPack 7.2.2 or newer on AGX Orin.",
        )
    if request.plugins:
        from acf_edge.engine.trt.plugin import register

        register(api)
    network = create_network(api, builder)
    _parse(onnx, request, api, record, network)
    config = builder.create_builder_config()
    timings = None if api.is_rtx else _give_timings(config, timing_cache)
    profiles = _configure(builder, config, request, api)
    monitor = make_monitor(api.module, watch)
    config.progress_monitor = monitor.handle
    memory = _build(builder, network, config)
    monitor.check()
    if record.cancelled:
        raise CompileCancelled
    if memory is None:
        width, height = max(profile.maximum for profile in request.profiles)
        raise explain_failure(record, api.text, request.workspace_bytes, f"{width}x{height}")
    # TensorRT refers to these until the engine is made.
    del profiles
    return Plan(
        data=_bytes(memory),
        layers=layers_from_log(record.table),
        log=record.log(),
        timing_cache=b"" if timings is None else _bytes(timings.serialize()),
        fallbacks=record.fallbacks,
    )


def check_asked(request: Request, backend: str) -> None:
    """Refuse what cannot be compiled, whatever the version; needs no TensorRT.

    Raises:
        InputError: names what does not go together.
    """
    request.target.check(request.precision, request.dla, backend)
    if not request.profiles:
        raise InputError("No size is named to compile for.", "Give --size, e.g. 320x180.")
    if request.level not in LEVELS:
        raise InputError(
            f"There is no optimization level {request.level}.",
            f"Give {LEVELS[0]} (quick) to {LEVELS[-1]} (exhaustive).",
        )
    if request.workspace is not None and request.workspace < 1:
        raise InputError(f"A workspace of {request.workspace} bytes.", "Give 1 MiB or more.")
    if backend == RTX:
        _check_rtx(request)
    elif request.sms:
        raise InputError(
            "Classic TensorRT compiles for one compute capability, that of its GPU.",
            "Name several only with the backend tensorrt_rtx.",
        )
    if request.dla and (len(request.profiles) != 1 or not request.profiles[0].fixed):
        raise InputError(
            "The deep-learning accelerator takes pictures of one size only.",
            "Give one --size without ranges, e.g. --size 320x180.",
        )
    if request.compatible and request.target.sm in _NOT_COMPATIBLE:
        raise InputError(
            f"TensorRT has no hardware-compatible mode on {request.target.title}.",
            "Leave it out: engines for one Jetson module run on no other.",
        )


def _check_rtx(request: Request) -> None:
    if request.plugins:
        raise InputError(
            "TensorRT-RTX has no plugins.", "Compile the form without plugins (--no-plugins)."
        )
    if request.compatible:
        raise InputError(
            "TensorRT-RTX has no hardware-compatible mode.",
            "Put several compute capabilities into one engine instead.",
        )
    for sm in request.targets:
        if not (sm.isascii() and sm.isdigit()):
            raise InputError(
                f"'{sm}' is no compute capability.", "Write it without its dot, e.g. 89."
            )
        if request.precision == "fp8" and int(sm) < 89:
            raise InputError(f"SM {sm} has no FP8.", "Take --precision fp16, or SM 89 and up.")
    if len(set(request.targets)) != len(request.targets):
        raise InputError("A compute capability is named twice.", "Name each once.")
    if request.sms and request.target.sm not in request.sms:
        raise InputError(
            f"An engine for SM {', '.join(request.sms)} does not run on the target "
            f"'{request.target.name}' (SM {request.target.sm}).",
            f"Add --sm {request.target.sm}, or name another target.",
        )


def _check_sms(request: Request, api: TrtApi) -> None:
    for sm in request.targets if api.is_rtx else ():
        if sm not in api.features.sms:
            raise InputError(
                f"{api.text} does not compile for SM {sm}.",
                f"It compiles for: {', '.join(api.features.sms)}.",
            )


def _parse(
    onnx: bytes,
    request: Request,
    api: TrtApi,
    record: Record,
    network: trt.INetworkDefinition,
) -> None:
    parser = create_parser(api, network)
    if request.dla and api.features.dla_in_parser:
        parser.set_flag(getattr(api.module.OnnxParserFlag, "ADJUST_FOR_DLA"))  # noqa: B009
    if not parser.parse(onnx):
        raise _unparsed(parser, record, api)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = [[one.name for one in ends] for ends in (inputs, outputs)]
    byte = api.module.DataType.UINT8
    if names != [[INPUT], [OUTPUT]] or inputs[0].dtype != byte or outputs[0].dtype != byte:
        raise InputError(
            f"This ONNX takes {_words(inputs)} and gives {_words(outputs)}; an engine takes "
            f"'{INPUT}' and gives '{OUTPUT}', both UINT8.",
            "Build the bundle again with 'acf-edge build'.",
        )
    if request.dla:
        # The accelerator refuses every open dimension, whatever the profile says.
        inputs[0].shape = api.module.Dims(list(request.profiles[0].shapes()[1]))


def _words(ends: list[trt.ITensor]) -> str:
    return ", ".join(f"'{one.name}' ({one.dtype.name})" for one in ends) or "nothing"


def _unparsed(parser: trt.OnnxParser, record: Record, api: TrtApi) -> InputError:
    unknown: dict[str, str] = {}
    reasons: list[str] = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        text = " ".join(str(error.desc()).split())
        operator, node = str(error.node_operator()), str(error.node_name())
        where = f" (node '{node}')" if node else f" (node {error.node()})"
        if "Plugin not found" in text or "No importer registered" in text:
            unknown.setdefault(operator, where)
        elif "parse" in text.lower() and error.node() < 0:
            return InputError(
                f"{api.text} cannot read this model: it is no ONNX file, or a damaged one.",
                "Build the bundle again with 'acf-edge build'.",
            )
        else:
            reasons.append(f"{text}{where if error.node() >= 0 else ''}")
    if unknown:
        names = ", ".join(f"'{operator}'{where}" for operator, where in unknown.items())
        own = any(operator in OUR_OPERATORS for operator in unknown)
        return InputError(
            f"{api.text} does not know the operator {names}.",
            "Compile the form without plugins (--no-plugins)."
            if own
            else "Export the network with operators of ONNX that TensorRT knows.",
        )
    reason = reasons[0] if reasons else first_error(record)
    return InputError(
        f"{api.text} cannot take this network: {reason}",
        "Export it again with 'acf-edge build', or for the target 'cpu'.",
    )


def _configure(
    builder: trt.Builder, config: trt.IBuilderConfig, request: Request, api: TrtApi
) -> list[trt.IOptimizationProfile]:
    module = api.module
    set_workspace(api, config, request.workspace_bytes)
    config.builder_optimization_level = request.level
    # Only so does the log hold the layer table, and the engine what the inspector tells.
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if request.compatible:
        ampere = int(request.target.sm) >= 80
        set_compatible(api, config, "AMPERE_PLUS" if ampere else "SAME_COMPUTE_CAPABILITY")
    if request.dla:
        config.default_device_type = module.DeviceType.DLA
        config.DLA_core = 0
        config.set_flag(module.BuilderFlag.GPU_FALLBACK)
    if api.is_rtx:
        set_sms(api, config, request.targets)
    profiles = []
    for size in request.profiles:
        profile = builder.create_optimization_profile()
        low, best, high = (module.Dims(list(shape)) for shape in size.shapes())
        profile.set_shape(INPUT, low, best, high)
        if config.add_optimization_profile(profile) < 0:
            raise InputError(
                f"{api.text} does not take the size '{size}' for this network.",
                "Give another --size.",
            )
        profiles.append(profile)
    return profiles


def _give_timings(config: trt.IBuilderConfig, timing_cache: bytes) -> trt.ITimingCache | None:
    """Set a timing cache; a fresh one where the old one is of another GPU or version."""
    for content in (timing_cache, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _build(
    builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig
) -> trt.IHostMemory | None:
    """The engine; None where it failed (the types of TensorRT do not tell)."""
    return builder.build_serialized_network(network, config)


def _bytes(memory: trt.IHostMemory) -> bytes:
    return bytes(memoryview(memory))
