"""Which engine is judged: a bundle's, a checkpoint's, or plain bicubic."""

from __future__ import annotations

from pathlib import Path

from acf_edge.engine import load_engine
from acf_edge.engine.frames import checked_frame
from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import InputError, MissingExtraError
from acf_edge.imaging.resize import upscale_bicubic


class BicubicBaseline:
    """The baseline of the tables (a = -0.5, rounded and clipped) as an engine.

    Args:
        scale: up-sampling factor, 1 to 16.

    Raises:
        InputError: another scale.
    """

    def __init__(self, scale: int) -> None:
        if not 1 <= scale <= 16:
            raise InputError(f"A scale of {scale} cannot be evaluated.", "Give 1 to 16.")
        self._scale = scale

    @property
    def name(self) -> str:
        """``"bicubic"`` and the scale."""
        return f"bicubic-x{self._scale}"

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Up-sample one ``(H, W, 3)`` uint8 RGB picture by :attr:`scale`."""
        return upscale_bicubic(checked_frame(frame), self._scale)

    def close(self) -> None:
        """Nothing to release."""


def choose_engine(
    bundle: Path | str | None = None,
    checkpoint: Path | str | None = None,
    scale: int | None = None,
) -> Engine:
    """The engine of whichever is given; of the shipped bundle if nothing is.

    Args:
        bundle: an engine bundle.
        checkpoint: a checkpoint of acf-edge or of others, run by torch in floating point.
        scale: bicubic up-sampling alone, by this factor.

    Raises:
        InputError: more than one is given, or it cannot be loaded.
        MissingExtraError: a checkpoint without torch.
    """
    if sum(choice is not None for choice in (bundle, checkpoint, scale)) > 1:
        raise InputError(
            "Only one thing is evaluated at a time.",
            "Give one of --engine BUNDLE, --checkpoint F, or --scale N for bicubic alone.",
        )
    if scale is not None:
        return BicubicBaseline(scale)
    if checkpoint is None:
        return load_engine(bundle)
    try:
        from acf_edge.foreign.checkpoint import is_foreign
        from acf_edge.model.runner import TorchEngine

        if not is_foreign(checkpoint):
            return TorchEngine(checkpoint)
        from acf_edge.foreign.network import load_foreign
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "onnx"):
            raise
        raise MissingExtraError("Evaluating a checkpoint", error.name, "build") from error
    return load_foreign(checkpoint)
