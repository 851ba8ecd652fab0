"""The other bodies of a subject, ready to be timed beside ours: eager, torch.compile, Triton.

They read the very buffers that our kernels read and run on the same stream, each captured as a
CUDA graph like ours: what Python costs is nobody's.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda import DeviceArray
from benchmarks.kernels_board import Board, Loaded
from benchmarks.kernels_cases import JUNCTION, Case
from benchmarks.kernels_subjects import BorderCase, Subject

if TYPE_CHECKING:
    import torch

Tensors = Sequence["torch.Tensor"]
Run = Callable[[Tensors], Any]
NAMES = ("eager", "compile", "triton")


@dataclass
class Rivals:
    """What can be timed, and why the rest cannot.

    Attributes:
        bodies: name -> queues as many calls as ours.
        missing: name -> the reason.
        result: what eager PyTorch computes of the first set, as arrays by output; None without.
    """

    bodies: dict[str, Callable[[], None]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    result: list[npt.NDArray[Any]] | None = None


def make_rivals(
    board: Board, subject: Subject, loaded: Sequence[Loaded], calls: int, names: Sequence[str]
) -> Rivals:
    """Prepare what is asked for; whatever fails is told and left out."""
    rivals = Rivals()
    if not names:
        return rivals
    reason = _why_not_torch()
    if reason:
        rivals.missing = dict.fromkeys(names, reason)
        return rivals
    import torch

    torch.cuda.set_device(board.device.ordinal)
    side = torch.cuda.ExternalStream(board.stream.handle)
    sets = [_tensors(subject, one) for one in loaded]
    for name in names:
        try:
            run = _make(name, subject.case, sets[0])
            if isinstance(run, str):
                rivals.missing[name] = run
                continue
            if name == "eager":
                rivals.result = _arrays(run(sets[0]))
            rivals.bodies[name] = _captured(run, sets, calls, side)
        except Exception as error:  # a compiler's failure must not cost the other figures
            first = (str(error).strip().splitlines() or [""])[0]
            rivals.missing[name] = f"{type(error).__name__}: {first}"[:300]
    return rivals


def _why_not_torch() -> str:
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    import torch

    return "" if torch.cuda.is_available() else "this PyTorch sees no GPU"


def versions() -> dict[str, str]:
    """Versions of what is compared with, where it is there."""
    found = {}
    for name in ("torch", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _tensors(subject: Subject, loaded: Loaded) -> list[torch.Tensor]:
    """The inputs as tensors over the same memory, (N, C, H, W) where they are maps."""
    import torch

    tensors = []
    for index, (name, array) in enumerate(subject.inputs.items()):
        view = DeviceArray(loaded.addresses[name], array.shape, array.dtype, owner=loaded)
        tensor = torch.as_tensor(view, device="cuda")
        case = subject.case
        if isinstance(case, Case) and case.layout == "nhwc" and index < 2:
            count = (case.features if index == 0 else case.logits)[1]
            tensor = tensor.permute(0, 3, 1, 2)[:, :count]
        tensors.append(tensor)
    return tensors


def _make(name: str, case: Case | BorderCase, tensors: Tensors) -> Run | str:
    """How a body runs on a set of tensors; or why there is none."""
    import torch

    if isinstance(case, Case) and case.layout == "chw32":
        return "PyTorch has no such layout"
    if name == "triton":
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed"
        return _triton_of_operator(case, tensors) if isinstance(case, Case) else _triton_of(case)
    run = _torch_of_operator(case) if isinstance(case, Case) else _torch_of(case)
    if name == "eager":
        return run
    # One subject must not use up the other ones' number of recompilations.
    torch._dynamo.reset()
    compiled = torch.compile(lambda *given: run(given), dynamic=False)
    return lambda given: compiled(*given)


def _torch_of_operator(case: Case) -> Run:
    from benchmarks import kernels_torch

    if case.operator == JUNCTION:
        return lambda t: kernels_torch.junction_vote(
            t[0], t[1], t[2], t[3], case.branches, case.scales
        )
    return lambda t: kernels_torch.channel_spatial_attention(
        t[0], t[1], t[2], t[3], t[4], t[5], case.scales
    )


def _torch_of(case: BorderCase) -> Run:
    import torch

    from benchmarks import kernels_torch as body

    kind = {"fp16": torch.float16, "fp32": torch.float32}[case.dtype]
    runs: dict[str, Run] = {
        "nv12_to_rgb": lambda t: body.nv12_to_rgb(t[0], t[1], case.coding),
        "rgb_to_nv12": lambda t: body.rgb_to_nv12(t[0], case.coding),
        "nv12_to_planar": lambda t: body.nv12_to_planar(t[0], t[1], case.coding, kind),
        "planar_to_nv12": lambda t: body.planar_to_nv12(t[0], case.coding),
        "rgb_to_planar": lambda t: body.rgb_to_planar(t[0], kind),
        "planar_to_rgb": lambda t: body.planar_to_rgb(t[0]),
    }
    return runs[case.kind]


def _triton_of_operator(case: Case, tensors: Tensors) -> Run | str:
    import torch

    if case.dtype == "int8":
        return "not written for INT8"
    from benchmarks import kernels_triton

    form = torch.channels_last if case.layout == "nhwc" else torch.contiguous_format
    output = torch.empty(
        case.output, dtype=tensors[0].dtype, device=tensors[0].device, memory_format=form
    )

    def run(given: Tensors, tile: tuple[int, int]) -> torch.Tensor:
        if case.operator == JUNCTION:
            x, e, weight, bias = given
            return kernels_triton.junction_vote(x, e, weight, bias, case.branches, output, tile)
        x, s, w1, b1, w2, b2 = given
        return kernels_triton.channel_spatial_attention(x, s, w1, b1, w2, b2, output, tile)

    best = min(kernels_triton.TILES, key=lambda tile: _quick(lambda: run(tensors, tile)))
    return lambda given: run(given, best)


def _quick(run: Callable[[], Any]) -> float:
    """The shortest of a few runs, in ms, to choose by."""
    import torch

    run()
    samples = []
    for _ in range(5):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        samples.append(start.elapsed_time(stop))
    return min(samples)


def _triton_of(case: BorderCase) -> Run | str:
    if case.kind not in ("nv12_to_rgb", "rgb_to_nv12"):
        return "written for bytes alone"
    import torch

    from benchmarks import kernels_triton_border as body

    device = torch.device("cuda")
    if case.kind == "nv12_to_rgb":
        shape = (case.n, case.height, case.width, 3)
        rgb = torch.empty(shape, dtype=torch.uint8, device=device)
        return lambda t: body.nv12_to_rgb(t[0], t[1], case.coding, rgb)
    luma, chroma = body.empty_nv12(case.n, case.height, case.width, device)
    return lambda t: body.rgb_to_nv12(t[0], case.coding, luma, chroma)


def _captured(run: Run, sets: Sequence[Tensors], calls: int, side: Any) -> Callable[[], None]:
    """``calls`` calls, one set after the other, as one graph on the board's stream."""
    import torch

    with torch.no_grad(), torch.cuda.stream(side):
        for index in range(3):
            run(sets[index % len(sets)])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph, stream=side):
        for index in range(calls):
            run(sets[index % len(sets)])

    def replay() -> None:
        with torch.cuda.stream(side):
            graph.replay()

    return replay


def _arrays(result: Any) -> list[npt.NDArray[Any]]:
    parts = result if isinstance(result, tuple) else (result,)
    return [np.asarray(part.detach().cpu().numpy()) for part in parts]
