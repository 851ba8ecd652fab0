"""The boards and cards that engines are built for.

Compute capabilities, memory and deep-learning accelerators (DLA) are those of NVIDIA's data
sheets and of the "CUDA GPUs" list; nothing here is measured. A name that stands for several
modules carries the smallest memory and the fewest accelerators among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acf_edge.errors import InputError

if TYPE_CHECKING:
    from acf_edge.cuda.driver import Device

CLASSIC: Final = "tensorrt"
RTX: Final = "tensorrt_rtx"
PRECISIONS: Final = ("int8", "fp16", "fp8", "fp32")
AUTO: Final = "auto"
BOARD_MODEL: Final = Path("/proc/device-tree/model")

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
# TensorRT-RTX fuses the whole network into one layer, and all tensors between its kernels are
# that layer's workspace then (ACF-T at 1280x720 in FP16: 1.1 GiB). It is a bound, not what is
# taken; half of the memory leaves the other half to camera, codec and desktop.
_WORKSPACE_SHARE: Final = 2
_WORKSPACE_MOST: Final = 8 * _GIB

# Engines are compiled for these ahead of time; TensorRT-RTX names them one by one.
_RTX_SMS: Final = ("75", "80", "86", "89", "120", "121")
# Our kernels are compiled for these, or run on them by the rule that code for X.y runs on
# X.z with z >= y (87 has its own; 103 runs 100's, 121 runs 120's).
_SMS: Final = ("75", "80", "86", "87", "89", "90", "100", "103", "110", "120", "121")
_FP8_SMS: Final = ("89", "90", "100", "103", "110", "120", "121")
_INTEGRATED_SMS: Final = ("87", "110", "121")
# Up to here INT8 comes first: no chip multiplies FP8 faster (data sheets), and its rounding
# errors are the smaller ones. From Blackwell on FP8 does: SM 103 has hardly any INT8 left.
_INT8_SMS: Final = ("75", "80", "86", "87", "89", "90")

_PORTABLE: Final = (
    "Build for the target 'cpu' and run the bundle's model.onnx there with ONNX Runtime: "
    "its operators are written out and need no plugin."
)


@dataclass(frozen=True)
class Target:
    """What an engine is built for.

    Attributes:
        name: as on the command line, e.g. ``"orin-nano"``, ``"sm86"``.
        title: for people, e.g. ``"Jetson Orin Nano"``.
        sm: compute capability without the dot: ``"87"`` for 8.7.
        memory: bytes of memory of the smallest device of this name; on a board shared
            with the CPU; 0 = not known.
        integrated: CPU and GPU share one memory.
        dla_cores: deep-learning accelerators of the smallest module of this name.
        backends: what can run engines there, the one that is taken first.
    """

    name: str
    title: str
    sm: str
    memory: int
    integrated: bool
    dla_cores: int
    backends: tuple[str, ...]

    @property
    def backend(self) -> str:
        """``"tensorrt"`` or ``"tensorrt_rtx"``: what is taken where nothing else is asked for."""
        return self.backends[0]

    @property
    def workspace(self) -> int:
        """Bytes that a layer may use beside its tensors: half of the memory, at most 8 GiB,
        in whole MiB."""
        memory = self.memory or 4 * _GIB
        return min(_WORKSPACE_MOST, memory // _WORKSPACE_SHARE) // _MIB * _MIB

    @property
    def best_precision(self) -> str:
        """What ``--precision auto`` takes with :attr:`backend`."""
        return self.precisions(self.backend)[0]

    def precisions(self, backend: str | None = None) -> tuple[str, ...]:
        """What engines for this target can compute in, the best first.

        Args:
            backend: None = :attr:`backend`.
        """
        fp8 = ("fp8",) if self.sm in _FP8_SMS else ()
        if (backend or self.backend) == RTX:
            # Its 8-bit convolutions write 16 or 32 bits, which other kernels narrow (read from
            # the layer tables): more traffic and launches than FP16; INT8 is the worse of both.
            # Turing has no FP32 matrix product there.
            return ("fp16", *fp8, *(("fp32",) if self.sm != "75" else ()))
        if self.sm in _INT8_SMS:
            return ("int8", *fp8, "fp16", "fp32")
        return (*fp8, "fp16", "int8", "fp32")

    def backend_for(self, precision: str) -> str:
        """The backend to build with: the first that has the precision.

        Raises:
            InputError: none has it.
        """
        for backend in self.backends:
            if precision == AUTO or precision in self.precisions(backend):
                return backend
        known = dict.fromkeys(one for backend in self.backends for one in self.precisions(backend))
        raise InputError(
            f"The target '{self.name}' ({self.title}, SM {self.sm}) has no precision "
            f"'{precision}'.",
            f"There are: {', '.join(known)}.",
        )

    def ahead_of_time(self, backend: str | None = None) -> bool:
        """Whether engines can be compiled on a machine without this GPU."""
        return (backend or self.backend) == RTX and self.sm in _RTX_SMS

    def check(self, precision: str, dla: bool = False, backend: str | None = None) -> str:
        """The precision to compile in.

        Args:
            precision: one of :data:`PRECISIONS` or ``"auto"``.
            dla: the accelerator shall run what it can.
            backend: None = :attr:`backend`.

        Raises:
            InputError: this target has no such backend, precision or accelerator.
        """
        backend = backend or self.backend
        if backend not in self.backends:
            raise InputError(
                f"The target '{self.name}' ({self.title}, SM {self.sm}) is not run by {backend}.",
                f"It is run by: {', '.join(self.backends)}.",
            )
        if dla:
            return self._check_dla(precision, backend)
        if precision == AUTO:
            return self.precisions(backend)[0]
        if precision not in self.precisions(backend):
            raise InputError(
                f"The target '{self.name}' ({self.title}, SM {self.sm}) has no precision "
                f"'{precision}' with {backend}.",
                f"There are: {', '.join(self.precisions(backend))}.",
            )
        return precision

    def _check_dla(self, precision: str, backend: str) -> str:
        if not self.dla_cores or backend != CLASSIC:
            with_dla = [name for name, one in TARGETS.items() if one.dla_cores]
            raise InputError(
                f"The target '{self.name}' ({self.title}) has no deep-learning accelerator.",
                f"Leave --dla out; it is for: {', '.join(with_dla)}.",
            )
        if precision not in (AUTO, "int8", "fp16"):
            raise InputError(
                f"The deep-learning accelerator does not compute in '{precision}'.",
                "Take int8 or fp16.",
            )
        return "int8" if precision == AUTO else precision


def _jetson(name: str, title: str, sm: str, gib: int, dla: int = 0) -> Target:
    return Target(name, title, sm, gib * _GIB, True, dla, (CLASSIC,))


def _card(name: str, title: str, sm: str, gib: int, *backends: str) -> Target:
    return Target(name, title, sm, gib * _GIB, False, 0, backends)


TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        _jetson("orin-nano", "Jetson Orin Nano, 4 or 8 GB", "87", 4),
        _jetson("orin-nx", "Jetson Orin NX, 8 or 16 GB", "87", 8, 1),
        _jetson("agx-orin", "Jetson AGX Orin, 32 or 64 GB", "87", 32, 2),
        _jetson("thor", "Jetson Thor T4000 or T5000, 64 or 128 GB", "110", 64),
        _card("rtx20", "GeForce RTX 20", "75", 6, RTX, CLASSIC),
        _card("rtx30", "GeForce RTX 30", "86", 4, RTX, CLASSIC),
        _card("rtx40", "GeForce RTX 40", "89", 6, RTX, CLASSIC),
        _card("rtx50", "GeForce RTX 50", "120", 8, RTX, CLASSIC),
        _card("a100", "A100, 40 or 80 GB", "80", 40, CLASSIC, RTX),
        _card("h100", "H100, 80 GB or more", "90", 80, CLASSIC),
    )
}
"""Name -> target, without ``auto`` and ``smNN``."""

_XAVIER: Final = (
    "its JetPack 5 ends with TensorRT 8.5, and these engines need 10.3 or newer (JetPack 6.2)"
)
_REFUSED: Final[tuple[tuple[str, str, str], ...]] = (
    (r"(agx-?|jetson-?)*xavier(-?(nx|agx))?|sm72", "Jetson Xavier (SM 72)", _XAVIER),
    (
        r"(jetson-?)?tx2(-?nx)?|sm62",
        "Jetson TX2 (SM 62)",
        "its JetPack 4.6 ends with TensorRT 8.2, and these engines need 10.3 or newer",
    ),
    (
        r"(jetson-?)?(nano|tx1)|maxwell|sm5[023]",
        "a Maxwell GPU (Jetson Nano, TX1; SM 50 to 53)",
        "it ends with TensorRT 8 (Jetson Nano: JetPack 4.6, TensorRT 8.2), and these engines "
        "need 10.3 or newer",
    ),
    (
        r"(gtx|gtx-?10|pascal|p4|p40|p100)|sm6[01]",
        "a Pascal GPU (SM 60, 61)",
        "TensorRT 10 does not run there",
    ),
    (
        r"volta|v100|titan-?v|sm70",
        "a Volta GPU (SM 70)",
        "TensorRT left it after 10.4, and CUDA 13 does not compile for it",
    ),
)


def target_names() -> tuple[str, ...]:
    """All names that :func:`find_target` knows; ``smNN`` stands for a compute capability."""
    return (*TARGETS, AUTO, "smNN")


def find_target(name: str) -> Target:
    """The target of a name.

    Args:
        name: of :data:`TARGETS`, ``"auto"`` (the GPU of this machine), or ``"sm"`` and a
            compute capability without its dot, e.g. ``"sm86"``.

    Raises:
        InputError: no such target, one that engines cannot be built for (the message says
            what works there), or ``auto`` without a GPU.
    """
    wanted = name.strip().lower().replace("_", "-")
    if wanted == AUTO:
        from acf_edge.cuda.driver import open_device

        return target_of(open_device())
    if wanted in TARGETS:
        return TARGETS[wanted]
    for pattern, title, why in _REFUSED:
        if re.fullmatch(pattern, wanted):
            raise InputError(f"No engine can be built for {title}: {why}.", _PORTABLE)
    sm = re.fullmatch(r"sm-?([0-9]{2,3})", wanted)
    if sm:
        return sm_target(sm[1])
    raise InputError(f"Unknown target '{name}'.", f"There are: {', '.join(target_names())}.")


def sm_target(sm: str) -> Target:
    """A target that is a compute capability and nothing more.

    Raises:
        InputError: the kernels are not compiled for it.
    """
    if sm not in _SMS:
        for pattern, title, why in _REFUSED:
            if re.fullmatch(pattern, f"sm{sm}"):
                raise InputError(f"No engine can be built for {title}: {why}.", _PORTABLE)
        raise InputError(f"No engine can be built for SM {sm}.", f"There are: {', '.join(_SMS)}.")
    integrated = sm in _INTEGRATED_SMS
    # Consumer cards first of all run TensorRT-RTX; nothing but classic runs on boards.
    if sm not in _RTX_SMS or sm == "121":
        backends: tuple[str, ...] = (CLASSIC,) if sm != "121" else (CLASSIC, RTX)
    else:
        backends = (CLASSIC, RTX) if sm == "80" else (RTX, CLASSIC)
    return Target(f"sm{sm}", f"a GPU of SM {sm}", sm, 0, integrated, 0, backends)


def target_of(device: Device) -> Target:
    """The target that a GPU is: a board by its name, else its compute capability, with the
    memory that it really has.

    Raises:
        InputError: engines cannot be built for it.
    """
    model = _board_model().lower()
    target = sm_target(device.sm)
    if device.integrated:
        for words, name in _BOARDS:
            if all(word in model for word in words) and TARGETS[name].sm == device.sm:
                target = TARGETS[name]
                break
    return replace(target, memory=device.memory, integrated=device.integrated)


# Words of /proc/device-tree/model -> target; "AGX Orin" is asked for last, since the modules
# for its carrier are named "Orin Nano" and "Orin NX" as well.
_BOARDS: Final = (
    (("orin", "nano"), "orin-nano"),
    (("orin", "nx"), "orin-nx"),
    (("orin",), "agx-orin"),
    (("thor",), "thor"),
)


def _board_model() -> str:
    try:
        text = BOARD_MODEL.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.strip("\0 \n")
