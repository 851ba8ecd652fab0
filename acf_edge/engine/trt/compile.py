"""From ONNX to an engine, with TensorRT or TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acf_edge.engine.trt.layers import Layer
from acf_edge.engine.trt.profiles import SizeProfile
from acf_edge.engine.trt.targets import Target

if TYPE_CHECKING:
    from acf_edge.engine.trt.api import TrtApi


@dataclass(frozen=True)
class Request:
    """What is compiled, and for what.

    Attributes:
        target: the board or card.
        precision: of the ONNX, one of :data:`acf_edge.engine.trt.targets.PRECISIONS`.
        profiles: sizes of pictures, at least one.
        plugins: the ONNX has plugin nodes (classic TensorRT only).
        level: of optimization, 0 (quick) to 5 (exhaustive); TensorRT's own default is 3.
        workspace: bytes that a layer may use beside its tensors; None = the target's.
        dla: the deep-learning accelerator runs what it can, the GPU the rest.
        compatible: one engine for all GPUs from Ampere on (classic; slower, and not for
            Jetson), or for all of the same compute capability where TensorRT can.
        sms: TensorRT-RTX: compute capabilities in one engine; empty = the target's.
    """

    target: Target
    precision: str
    profiles: tuple[SizeProfile, ...]
    plugins: bool = False
    level: int = 3
    workspace: int | None = None
    dla: bool = False
    compatible: bool = False
    sms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a compilation is.

    Attributes:
        phase: what TensorRT is doing, in its words.
        done: 0 to 1; never falls.
        eta: seconds that are left, a guess; None while there is too little to guess from.
    """

    phase: str
    done: float
    eta: float | None


@dataclass(frozen=True)
class Plan:
    """A compiled engine.

    Attributes:
        data: the engine's bytes.
        layers: what it will run, from the log; empty where the log has no table.
        log: TensorRT's warnings and errors, one a line.
        timing_cache: to hand to the next compilation; empty where there is none.
    """

    data: bytes
    layers: tuple[Layer, ...]
    log: tuple[str, ...]
    timing_cache: bytes


def compile_plan(
    onnx: bytes,
    request: Request,
    api: TrtApi,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    timing_cache: bytes = b"",
) -> Plan:
    """Compile."""
    return Plan(b"", (), (), b"")
