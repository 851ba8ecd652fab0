"""A network of others, ready to be run in torch and to be written as ONNX."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from acf_edge.errors import InputError
from acf_edge.foreign.checkpoint import checked_tensors, read_tensors
from acf_edge.foreign.convert import convert
from acf_edge.foreign.library import spandrel
from acf_edge.foreign.record import record
from acf_edge.foreign.simplify import ANCHOR, simplify
from acf_edge.foreign.steps import Steps, same
from acf_edge.foreign.work import WHAT_CAN_BE_BUILT
from acf_edge.foreign.write import write_model

Uint8Image = npt.NDArray[np.uint8]
SCALES = (1, 2, 3, 4)
LICENCE = "licence of the weights: unknown to acf-edge; ask whoever made them"
_WATCHED = 24
"""Pixels a side, at least, of the pictures on which a network is watched."""


@dataclass(frozen=True)
class Foreign:
    """A network that spandrel knows.

    Attributes:
        descriptor: spandrel's, float32, on the CPU, in evaluation mode.
        path: the file it was read from.
        sha256: of that file, lower-case hex.
        library: e.g. ``"spandrel 0.4.2"``.
    """

    descriptor: Any
    path: Path
    sha256: str
    library: str

    @property
    def architecture(self) -> str:
        """E.g. ``"RealESRGAN Compact (64nf, 32nc)"``."""
        tags = ", ".join(self.descriptor.tags)
        return f"{self.descriptor.architecture.name}" + (f" ({tags})" if tags else "")

    @property
    def network(self) -> str:
        """A name for a passport, e.g. ``"compact-64nf-32nc"``."""
        words = "-".join([self.descriptor.architecture.id, *self.descriptor.tags]).lower()
        return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")[:48] or "foreign"

    @property
    def name(self) -> str:
        """E.g. ``"compact-64nf-32nc-x4 torch"``."""
        return f"{self.network}-x{self.scale} torch"

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return int(self.descriptor.scale)

    @property
    def minimum(self) -> int:
        """Pixels a side that the network needs at least."""
        return int(self.descriptor.size_requirements.minimum)

    @property
    def multiple(self) -> int:
        """What its sides must be multiples of."""
        return int(self.descriptor.size_requirements.multiple_of)

    @property
    def notes(self) -> tuple[str, ...]:
        """For a passport: sizes, architecture, file, licence."""
        sizes = "any size"
        if self.multiple > 1:
            sizes += f"; sides that are no multiple of {self.multiple} are padded in the graph"
        if self.minimum > 1:
            sizes += f"; sides below {self.minimum} are padded in the graph"
        return (
            sizes,
            f"architecture: {self.architecture}, read by {self.library}",
            f"weights: '{self.path.name}', a file of others; weights_sha256 is that file's",
            LICENCE,
        )

    def run(self, frame: Uint8Image) -> Uint8Image:
        """One picture in float32: ``(H, W, 3)`` uint8 RGB -> ``(scale H, scale W, 3)``."""
        tensor = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
        # Some networks overwrite what they are given: this is a copy.
        result = self.descriptor(tensor.float() / 255.0)
        pixels = (result[0] * 255.0).round().clamp(0, 255).to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class Written:
    """A foreign network as ONNX.

    Attributes:
        model: float32, named by module path; see
            :func:`acf_edge.foreign.write.write_model`.
        params: weights that are left after what can be merged has been merged.
        macs: multiply-accumulates of its convolutions, per pixel of the input.
    """

    model: onnx.ModelProto
    params: int
    macs: Fraction


def load_foreign(path: Path | str) -> Foreign:
    """Read a checkpoint that acf-edge did not write; none of its code is run.

    Args:
        path: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.

    Raises:
        InputError: not readable, of no architecture that spandrel knows, or of one that cannot
            be taken: not from RGB to RGB, another scale than 1 to 4, square pictures alone.
        MissingExtraError: spandrel is not installed.
    """
    path = Path(path)
    content, sha256 = read_tensors(path)
    library = spandrel()
    tensors = checked_tensors(library.canonicalize_state_dict(content), path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            descriptor = library.MAIN_REGISTRY.load(tensors).float().cpu().eval()
    except library.UnsupportedModelError:
        raise InputError(
            f"'{path}' is of no architecture that spandrel {library.__version__} knows.",
            "Give a checkpoint of acf-edge, or one of a known super-resolution network.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # readers of architectures raise whatever a wrong shape leads to
        words = " ".join(str(error).split())[:160].rstrip(".:")
        raise InputError(
            f"'{path}' looks like an architecture that spandrel {library.__version__} knows and "
            f"does not fit it ({type(error).__name__}: {words}).",
            "Fetch it again.",
        ) from None
    _check(descriptor, library, path)
    return Foreign(descriptor, path, sha256, f"spandrel {library.__version__}")


def _check(descriptor: Any, library: Any, path: Path) -> None:
    name = descriptor.architecture.name
    channels = (descriptor.input_channels, descriptor.output_channels)
    if not isinstance(descriptor, library.ImageModelDescriptor):
        problem = "needs a mask beside the picture"
    elif descriptor.purpose not in ("SR", "Restoration"):
        problem = f"is made for something else ({descriptor.purpose})"
    elif channels != (3, 3):
        problem = f"goes from {channels[0]} to {channels[1]} channels, not from RGB to RGB"
    elif descriptor.scale not in SCALES:
        problem = f"enlarges {descriptor.scale} times; {', '.join(map(str, SCALES))} can be built"
    elif descriptor.size_requirements.square:
        problem = "takes square pictures alone"
    else:
        return
    raise InputError(
        f"'{path}' cannot be taken: this {name} {problem}.",
        "Give a super-resolution network for RGB pictures.",
    )


def export_foreign(foreign: Foreign) -> Written:
    """Write a foreign network as ONNX.

    It is watched on two pictures of different content and size; what was noted must be the
    same, or it would not hold for a third.

    Raises:
        InputError: an operation that cannot be taken, or a network that depends on the picture
            in another way than by its operations.
    """
    name = f"'{foreign.path}', a {foreign.descriptor.architecture.name},"
    step = foreign.multiple
    base = -(-max(foreign.minimum, _WATCHED) // step) * step
    one = _watched(foreign, base, base + step, name)
    two = _watched(foreign, base + 2 * step, base + 3 * step, name)
    if not same(one, two):
        raise InputError(
            f"{name} cannot be taken: it computes something else for pictures of other sizes or "
            f"contents.",
            WHAT_CAN_BE_BUILT,
        )
    factor = simplify(one)
    model = write_model(
        one,
        factor,
        foreign.scale,
        f"{foreign.network}-x{foreign.scale}",
        foreign.minimum,
        foreign.multiple,
    )
    macs = sum((step.macs for step in one.steps), Fraction(0))
    return Written(model, _params(one), macs)


def _watched(foreign: Foreign, height: int, width: int, name: str) -> Steps:
    generator = torch.Generator().manual_seed(height)
    picture = torch.rand((1, 3, height, width), generator=generator)

    def run(image: Tensor) -> Any:
        return foreign.descriptor(image)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recording = record(run, foreign.descriptor.model, picture)
    except InputError:
        raise
    except RuntimeError as error:
        words = " ".join(str(error).split())[:160].rstrip(".")
        raise InputError(
            f"{name} does not run on a {width}x{height} picture: {words}.", "Fetch it again."
        ) from None
    if recording.result.shape != (1, 3, height * foreign.scale, width * foreign.scale):
        raise InputError(
            f"{name} gives {list(recording.result.shape)} for a {width}x{height} picture.",
            "Give a super-resolution network.",
        )
    return convert(recording, (height, width), name)


def _params(steps: Steps) -> int:
    floats = {
        id(value): value.size
        for step in steps.steps
        if step.op in ("Conv", "ConvTranspose", "PRelu", "Mul", "Add") and step.module != ANCHOR
        for value in step.inputs
        if isinstance(value, np.ndarray)
    }
    return sum(floats.values())
