"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from acf_edge.compress.calibrate import METHODS
from acf_edge.degrade import load_recipe
from acf_edge.engine.trt.compile import PLUGINS, USUAL_LEVEL, Request, check_asked
from acf_edge.engine.trt.profiles import DEFAULT_SIZE, SizeProfile, parse_profiles
from acf_edge.engine.trt.targets import CLASSIC, Target, find_target
from acf_edge.errors import InputError

CPU = "cpu"
AUTO = "auto"
ORT = "onnxruntime"
CPU_PRECISIONS = ("int8", "fp32")
RECIPES = ("acf-std", "camera", "clean")
QUANTIZE_GATE = 0.15
"""dB of PSNR-Y that INT8 may cost on any recipe."""
PRUNE_GATE = 0.3
"""dB of PSNR-Y that pruning may cost on any recipe, after fine-tuning."""


@dataclass(frozen=True)
class GpuOptions:
    """What is asked for where the target is a GPU.

    Attributes:
        runtime: ``"tensorrt"`` or ``"tensorrt_rtx"``; None = what the target runs best.
        sizes: of pictures, as :func:`acf_edge.engine.trt.profiles.parse_profile` reads them.
        plugins: ``"on"`` = the operators as plugins; ``"off"`` = inlined; ``"auto"`` = the
            faster of the two where both can be timed, else inlined.
        int8_plugins: plugins read and write INT8 codes instead of FP16.
        level: of optimization, 0 to 5.
        workspace: MiB that a layer may use; None = what fits the target.
        dla: the deep-learning accelerator runs what it can.
        compatible: one engine for several kinds of GPU, see
            :class:`acf_edge.engine.trt.compile.Request`.
        sms: TensorRT-RTX: compute capabilities in one engine; empty = the target's.
    """

    runtime: str | None = None
    sizes: tuple[str, ...] = (DEFAULT_SIZE,)
    plugins: str = AUTO
    int8_plugins: bool = False
    level: int = USUAL_LEVEL
    workspace: int | None = None
    dla: bool = False
    compatible: bool = False
    sms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.plugins not in PLUGINS:
            raise InputError(
                f"Unknown choice of plugins '{self.plugins}'.", f"There are: {', '.join(PLUGINS)}."
            )
        if not 0 <= self.level <= 5:
            raise InputError(f"An optimization level of {self.level}.", "Give 0 to 5.")
        if self.workspace is not None and not 1 <= self.workspace <= 1 << 20:
            raise InputError(f"A workspace of {self.workspace} MiB.", "Give 1 or more.")
        parse_profiles(self.sizes)

    @property
    def profiles(self) -> tuple[SizeProfile, ...]:
        """:attr:`sizes`, read."""
        return parse_profiles(self.sizes)


@dataclass(frozen=True)
class BuildOptions:
    """One build.

    Attributes:
        checkpoint: ``.safetensors`` or ``.pth``.
        out: the bundle's folder.
        target: ``"cpu"`` or a name that :func:`acf_edge.engine.trt.targets.find_target` knows.
        precision: of :data:`CPU_PRECISIONS`, or what the target has; ``"auto"`` = the best of it.
        prune: share of the multiply-accumulates to remove, 0 <= share < 1.
        source: folder of sharp pictures, a video, ``"scenes"`` or None (made scenes).
        recipes: degradations to calibrate on and to judge by.
        method: of calibration.
        pictures: at most so many are taken from the source.
        finetune_steps: after pruning.
        allow_drop: dB per gate instead of :data:`QUANTIZE_GATE` and :data:`PRUNE_GATE`; the row
            then says "allowed" where the usual gate would have stopped.
        threads: of the latency measurement; None = all cores.
        command: the arguments that repeat this build, for the passport.
        gpu: where the target is no CPU.
    """

    checkpoint: Path
    out: Path
    target: str = CPU
    precision: str = AUTO
    prune: float = 0.0
    source: str | None = None
    recipes: tuple[str, ...] = RECIPES
    method: str = "mse"
    pictures: int = 48
    finetune_steps: int = 600
    allow_drop: float | None = None
    threads: int | None = None
    command: tuple[str, ...] = ()
    gpu: GpuOptions = GpuOptions()

    def __post_init__(self) -> None:
        if self.target == CPU:
            self._check_cpu()
        else:
            self._check_plugins()
            check_asked(self.request, self.backend)
        if self.method not in METHODS:
            raise InputError(
                f"Unknown calibration method '{self.method}'.", f"There are: {', '.join(METHODS)}."
            )
        if not 0.0 <= self.prune < 1.0:
            raise InputError(f"Pruning by {self.prune} is not possible.", "Give 0 to below 1.")
        if self.finetune_steps < 0:
            raise InputError(f"{self.finetune_steps} fine-tuning steps.", "Give 0 or more.")
        if self.allow_drop is not None and not self.allow_drop >= 0:
            raise InputError(f"A drop of {self.allow_drop} dB.", "Give 0 or more.")
        if not self.recipes:
            raise InputError("No degradation recipe is named.", "Give at least one --recipe.")
        for recipe in self.recipes:
            load_recipe(recipe)

    def _check_cpu(self) -> None:
        if self.precision not in (*CPU_PRECISIONS, AUTO):
            raise InputError(
                f"Unknown precision '{self.precision}'.",
                f"For the target 'cpu' there are: {', '.join(CPU_PRECISIONS)}.",
            )
        if self.gpu != GpuOptions():
            raise InputError(
                "Sizes, plugins, accelerators and the like are for GPUs, and the target is 'cpu'.",
                "Name a --target, or leave them out.",
            )

    def _check_plugins(self) -> None:
        if self.gpu.plugins == "on" and self.backend != CLASSIC:
            raise InputError("There are no plugins in TensorRT-RTX.", "Leave --plugins out.")
        if self.gpu.dla and (self.gpu.plugins == "on" or self.gpu.int8_plugins):
            raise InputError(
                "A deep-learning accelerator runs no plugins.", "Leave --plugins or --dla out."
            )
        if self.gpu.int8_plugins and (self.resolved != "int8" or self.gpu.plugins == "off"):
            raise InputError(
                f"Plugins on INT8 codes were asked for with {self.resolved}"
                + (" and without plugins." if self.gpu.plugins == "off" else "."),
                "They go with --precision int8 and with plugins.",
            )

    @cached_property
    def board(self) -> Target:
        """The GPU that is built for.

        Raises:
            InputError: the target is unknown, refused, or ``"auto"`` on a machine without a GPU.
        """
        return find_target(self.target)

    @property
    def backend(self) -> str:
        """What runs the bundle: ``"onnxruntime"``, ``"tensorrt"`` or ``"tensorrt_rtx"``."""
        if self.target == CPU:
            return ORT
        return self.gpu.runtime or self.board.backend_for(self.precision)

    @property
    def request(self) -> Request:
        """What TensorRT is asked for; the target is a GPU."""
        gpu = self.gpu
        return Request(
            target=self.board,
            precision=self.resolved,
            profiles=gpu.profiles,
            level=gpu.level,
            workspace=None if gpu.workspace is None else gpu.workspace << 20,
            dla=gpu.dla,
            compatible=gpu.compatible,
            sms=gpu.sms,
        )

    @property
    def resolved(self) -> str:
        """The precision, ``"auto"`` resolved."""
        if self.target == CPU:
            return "int8" if self.precision == AUTO else self.precision
        return self.board.check(self.precision, self.gpu.dla, self.backend)
