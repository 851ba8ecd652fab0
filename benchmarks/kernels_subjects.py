"""What is put on the GPU, by name: buffers, plan, judge and bytes of operators and frame border."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda import border
from acf_edge.cuda.border import Coding, PlanesLayout
from acf_edge.cuda.plan import Plan
from benchmarks import border_reference, kernels_cases
from benchmarks.kernels_cases import Case, Traffic

Array = npt.NDArray[Any]
Results = Mapping[str, Array]

PLANS: Mapping[str, Callable[..., Plan]] = {
    "nv12_to_rgb": border.plan_nv12_to_rgb,
    "rgb_to_nv12": border.plan_rgb_to_nv12,
    "nv12_to_planar": border.plan_nv12_to_planar,
    "planar_to_nv12": border.plan_planar_to_nv12,
    "rgb_to_planar": border.plan_rgb_to_planar,
    "planar_to_rgb": border.plan_planar_to_rgb,
}
_NUMBERS: Mapping[str, Any] = {"fp16": np.float16, "fp32": np.float32}
_ROUNDED = 0.5 + 2e-4  # of a byte: its rounding, and FP32 on the way
_ELEMENT = {"fp16": 5e-4, "fp32": 1e-6}  # of an element of 0..1


@dataclass(frozen=True)
class BorderCase:
    """One conversion of the frame border, dense buffers.

    Attributes:
        kind: a key of :data:`PLANS`.
        n: pictures.
        height: rows.
        width: columns.
        dtype: of planes, where there are some.
        coding: of NV12, where there is some.
    """

    kind: str
    n: int
    height: int
    width: int
    dtype: str = "fp16"
    coding: Coding = field(default_factory=Coding)

    @property
    def label(self) -> str:
        """As the table shows it."""
        form = f" {self.dtype}" if "planar" in self.kind else ""
        batch = f" batch {self.n}" if self.n > 1 else ""
        return f"{self.kind}{form} {self.width}x{self.height}{batch}"

    def shapes(self) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Shapes of the buffers that are read and of those that are written, by name."""
        n, height, width = self.n, self.height, self.width
        forms: dict[str, dict[str, tuple[int, ...]]] = {
            "nv12": {
                "luma": (n, height, width),
                "chroma": (n, (height + 1) // 2, (width + 1) // 2, 2),
            },
            "rgb": {"rgb": (n, height, width, 3)},
            "planar": {"planes": (n, 3, height, width)},
        }
        source, _, sink = self.kind.partition("_to_")
        return forms[source], forms[sink]

    def number(self, name: str) -> Any:
        """NumPy type of a buffer."""
        return _NUMBERS[self.dtype] if name == "planes" else np.uint8

    def plan(self) -> Plan:
        """The launch plan."""
        options: dict[str, Any] = {}
        if "planar" in self.kind:
            options["planes"] = PlanesLayout(self.dtype)  # type: ignore[arg-type]
        if "nv12" in self.kind:
            chroma = (self.width + 1) // 2 * 2
            options["coding"] = self.coding
            options["nv12"] = border.Nv12Layout(
                self.width, chroma, self.width * self.height, chroma * ((self.height + 1) // 2)
            )
        return PLANS[self.kind](self.n, self.height, self.width, **options)


@dataclass(frozen=True)
class Subject:
    """Something to run.

    Attributes:
        label: as the table shows it.
        case: what it was made of.
        plan: our launches.
        inputs: what the plan reads, by its names.
        outputs: bytes of what it writes, by its names.
        judge: takes the raw bytes of the outputs; how far the worst value is off, as a share of
            what is allowed: more than 1 is wrong. None: too large to compute the truth of.
        traffic: takes the bytes of the last-level cache.
    """

    label: str
    case: Case | BorderCase
    plan: Plan
    inputs: Mapping[str, Array]
    outputs: Mapping[str, int]
    judge: Callable[[Results], float] | None
    traffic: Callable[[int], Traffic]


def operator_subject(case: Case, seed: int, judged: bool = True) -> Subject:
    """One of the two operators."""
    inputs = kernels_cases.make_inputs(case, seed)

    def judge(results: Results) -> float:
        found = kernels_cases.unpack(results["output"], case.output, case.dtype, case.layout)
        wrong = kernels_cases.error(case, found, kernels_cases.truth(case, inputs))
        return wrong / kernels_cases.limit(case)

    return Subject(
        case.label,
        case,
        case.plan(),
        kernels_cases.buffers(case, inputs),
        {"output": kernels_cases.packed_bytes(case.output, case.dtype, case.layout)},
        judge if judged else None,
        lambda cache: kernels_cases.traffic(case, cache),
    )


def border_subject(case: BorderCase, seed: int, judged: bool = True) -> Subject:
    """One conversion of the frame border."""
    random = np.random.default_rng(seed)
    read, written = case.shapes()
    inputs = {
        name: random.random(shape, np.float32).astype(case.number(name))
        if name == "planes"
        else random.integers(0, 256, shape, np.uint8)
        for name, shape in read.items()
    }
    outputs = {
        name: int(np.prod(shape)) * np.dtype(case.number(name)).itemsize
        for name, shape in written.items()
    }
    total = sum(array.nbytes for array in inputs.values()) + sum(outputs.values())

    def judge(results: Results) -> float:
        return max(
            _border_error(case, {name: array[n] for name, array in inputs.items()}, shaped, n)
            for shaped in [_shaped(case, written, results)]
            for n in range(case.n)
        )

    return Subject(
        case.label,
        case,
        case.plan(),
        inputs,
        outputs,
        judge if judged else None,
        lambda cache: Traffic(total, total, total),
    )


def _shaped(case: BorderCase, shapes: Mapping[str, tuple[int, ...]], raw: Results) -> Results:
    return {name: raw[name].view(case.number(name)).reshape(shapes[name]) for name in shapes}


def _border_error(case: BorderCase, inputs: Results, results: Results, n: int) -> float:
    coding = case.coding
    how = coding.matrix, coding.full, coding.siting
    if "luma" in inputs:
        codes = border_reference.nv12_to_rgb(inputs["luma"], inputs["chroma"], *how)
    elif "rgb" in inputs:
        codes = inputs["rgb"].astype(np.float64)
    else:
        codes = inputs["planes"].astype(np.float64).transpose(1, 2, 0) * 255
    if "luma" in results:
        expected = border_reference.rgb_to_nv12(codes, *how)
        found = results["luma"][n], results["chroma"][n]
        off = [np.abs(f - e).max() for f, e in zip(found, expected, strict=True)]
        return float(max(off)) / _ROUNDED
    if "rgb" in results:
        return float(np.abs(results["rgb"][n] - codes).max()) / _ROUNDED
    found_planes = results["planes"][n].astype(np.float64).transpose(1, 2, 0)
    if not np.isfinite(found_planes).all():
        return float("inf")
    return float(np.abs(found_planes - codes / 255).max()) / _ELEMENT[case.dtype]


def random_border_cases(count: int, seed: int) -> list[BorderCase]:
    """Every conversion on odd and even sizes, in every coding."""
    random = np.random.default_rng(seed)
    codings = [
        Coding(matrix, full, siting)  # type: ignore[arg-type]
        for matrix in (1, 5, 9)
        for full in (False, True)
        for siting in ("left", "center", "topleft")
    ]
    found = []
    for kind in PLANS:
        for index in range(count):
            height, width = int(random.integers(1, 40)), int(random.integers(1, 600))
            if index % 2:
                width = 8 * max(1, width // 8)
            dtype = ("fp16", "fp32")[index % 2]
            coding = codings[int(random.integers(len(codings)))]
            found.append(BorderCase(kind, int(random.integers(1, 3)), height, width, dtype, coding))
    return found


def timed_border_cases(width: int, height: int, dtypes: tuple[str, ...]) -> list[BorderCase]:
    """The conversions that are timed."""
    found = []
    for kind in PLANS:
        forms = [d for d in ("fp16", "fp32") if d in dtypes] if "planar" in kind else ["fp16"]
        found += [BorderCase(kind, 1, height, width, dtype) for dtype in forms]
    return found
