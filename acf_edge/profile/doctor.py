"""What this machine has, what is missing for what, and the command that brings it."""

from __future__ import annotations

import importlib
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

import acf_edge
from acf_edge.errors import AcfError
from acf_edge.profile.doctor_gpu import GpuState, examine_gpu, gpu_rows
from acf_edge.profile.machine import Machine, describe_machine

DISTRIBUTION: Final = "acf-edge"
_REINSTALL: Final = f"pip install --force-reinstall {DISTRIBUTION}"

# What is asked for -> the distributions that may bring it.
_PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "av": ("av",),
    "opencv": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    ),
    "rich": ("rich",),
    "torch": ("torch",),
    "onnx": ("onnx",),
    "onnxscript": ("onnxscript",),
    "safetensors": ("safetensors",),
    "nvidia-modelopt": ("nvidia-modelopt",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings",
                 "tensorrt-cu12-bindings"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
    "aiohttp": ("aiohttp",),
    "ray": ("ray",),
}  # fmt: skip
_CORE: Final = {"numpy": "numpy", "onnxruntime": "onnxruntime", "av": "av", "opencv": "cv2",
                "rich": "rich"}  # fmt: skip
_PURPOSE: Final = {
    "train": "TensorBoard logs of a training",
    "build": "train, prune, quantize, export, build bundles",
    "demo": "the demo",
    "tensorrt": "TensorRT libraries",
    "rtx": "TensorRT-RTX libraries",
    "web": "web server library",
    "cluster": "Ray",
    "spandrel": "read other people's checkpoints",
}
# Extras for those who work on the code; nobody else misses them.
_HIDDEN: Final = ("dev", "test")


@dataclass(frozen=True)
class Feature:
    """Something that works here, or does not.

    Attributes:
        name: what it does, e.g. ``"enhance pictures and videos"``.
        ok: whether it works.
        core: whether the core install promises it.
        detail: what was found.
        remedy: the command that brings it; empty if it works.
    """

    name: str
    ok: bool
    core: bool
    detail: str
    remedy: str


@dataclass(frozen=True)
class Examination:
    """All that the doctor found.

    Attributes:
        version: of acf-edge.
        machine: see :class:`Machine`.
        packages: name -> version, None where it is not installed.
        features: the core's first.
        gpu: see :class:`GpuState`.
    """

    version: str
    machine: Machine
    packages: dict[str, str | None]
    features: tuple[Feature, ...]
    gpu: GpuState

    @property
    def ok(self) -> bool:
        """Whether the core works: ``acf-edge enhance`` would run."""
        return all(feature.ok for feature in self.features if feature.core)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "ok": self.ok,
            "version": self.version,
            "machine": self.machine.to_json(),
            "packages": self.packages,
            "features": [asdict(feature) for feature in self.features],
            "gpu": self.gpu.to_json(),
        }


def examine() -> Examination:
    """Look at this machine. It never raises: what breaks is what it reports."""
    machine = describe_machine()
    gpu = examine_gpu(board=machine.jetson is not None)
    rows = gpu_rows(gpu, machine.power_mode)
    features = [_core_packages(), _default_engine(), _video_encoder(), *_as_features(rows)]
    features += _media()
    return Examination(
        version=acf_edge.__version__,
        machine=machine,
        packages={name: _version(names) for name, names in _PACKAGES.items()},
        features=(*features, *_extras()),
        gpu=gpu,
    )


def _version(distributions: tuple[str, ...]) -> str | None:
    """The version of the first that is installed; nothing is imported."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        except Exception:  # damaged metadata is not ours to crash on
            return "unknown"
    return None


def _core_packages() -> Feature:
    broken = []
    for name, module in _CORE.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken binary raises anything
            broken.append(f"{name} ({_one_line(error)})")
    return Feature(
        name="core packages",
        ok=not broken,
        core=True,
        detail=f"broken or missing: {', '.join(broken)}" if broken else ", ".join(_CORE),
        remedy=_REINSTALL if broken else "",
    )


def _default_engine() -> Feature:
    """Check the shipped bundle byte by byte and enhance one small frame with it."""
    name = "enhance with the shipped engine"
    try:
        import numpy as np

        from acf_edge.engine import load_engine

        engine = load_engine()
        try:
            ramp = np.arange(32 * 48 * 3, dtype=np.uint32).reshape(32, 48, 3) % 256
            result = engine.run(ramp.astype(np.uint8))
            expected = (32 * engine.scale, 48 * engine.scale, 3)
            if result.shape != expected:
                raise RuntimeError(f"it gave {result.shape} where {expected} was due")
            return Feature(name, True, True, engine.name, "")
        finally:
            engine.close()
    except Exception as error:
        problem = error.problem if isinstance(error, AcfError) else _one_line(error)
        return Feature(name, False, True, problem, _REINSTALL)


def _video_encoder() -> Feature:
    name = "write H.264 video"
    try:
        import av

        context = av.CodecContext.create("libx264", "w")
        libraries = ", ".join(
            f"{library} {'.'.join(map(str, version))}"
            for library, version in sorted(av.library_versions.items())
            if library in ("libavcodec", "libavformat")
        )
        return Feature(name, True, True, f"{context.name} ({libraries})", "")
    except Exception as error:
        detail = f"PyAV has no libx264: {_one_line(error)}"
        return Feature(
            name, False, True, detail, "pip install --force-reinstall --only-binary av av"
        )


def _media() -> list[Feature]:
    """What GStreamer and the codecs of a GPU can do here."""
    try:
        from acf_edge.stream import hardware
        from acf_edge.stream.gst import elements

        rows = [*elements.describe(), *hardware.describe()]
    except Exception as error:
        rows = [("cameras and hardware codecs", _one_line(error), _REINSTALL)]
    return _as_features(rows)


def _as_features(rows: Iterable[tuple[str, str, str]]) -> list[Feature]:
    # Where nothing can be installed that would help, nothing is missing.
    return [Feature(what, not remedy, False, state, remedy) for what, state, remedy in rows]


def _extras() -> list[Feature]:
    """One feature for each extra that this distribution declares."""
    try:
        declared = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
        requirements = metadata.requires(DISTRIBUTION) or []
    except Exception:
        return [
            Feature(
                name="optional parts",
                ok=False,
                core=False,
                detail=f"{DISTRIBUTION} runs from its source tree, so its extras are not known",
                remedy="pip install -e .",
            )
        ]
    needs = {str(extra): _needs(str(extra), requirements) for extra in declared}
    return [_extra(extra, needs) for extra in needs if extra not in _HIDDEN]


def _extra(extra: str, needs: dict[str, list[str]]) -> Feature:
    missing, seen, queue = [], set[str](), [extra]
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        for name in needs.get(current, ()):
            inner = re.fullmatch(rf"{DISTRIBUTION}\[(.+)\]", name)
            if inner:
                queue += inner[1].split(",")
            elif _version((name,)) is None:
                missing.append(name)
    return Feature(
        name=_PURPOSE.get(extra, extra),
        ok=not missing,
        core=False,
        detail=f"missing: {', '.join(sorted(missing))}" if missing else "installed",
        remedy=f"pip install '{DISTRIBUTION}[{extra}]'" if missing else "",
    )


def _needs(extra: str, requirements: list[str]) -> list[str]:
    """Names of the packages of an extra, its other extras as ``acf-edge[name]``.

    A requirement for other machines than this is left out.
    """
    names = []
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        conditions = [part.strip(" ()").replace('"', "'") for part in marker.split(" and ")]
        if f"extra == '{extra}'" not in conditions or not all(map(_holds, conditions)):
            continue
        match = re.match(r"[A-Za-z0-9._-]+(\[[A-Za-z0-9._,-]+\])?", text.strip())
        if match:
            own = match[0].startswith(f"{DISTRIBUTION}[")
            names.append(match[0] if own else match[0].split("[")[0])
    return names


def _holds(condition: str) -> bool:
    """Whether a marker holds here; only the kinds that occur in this distribution are known."""
    if condition.startswith("extra == "):
        return True
    return condition == f"platform_machine == '{platform.machine()}'"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
