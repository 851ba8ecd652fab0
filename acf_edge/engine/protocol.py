"""What every engine can do, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

Uint8Image = npt.NDArray[np.uint8]


class Engine(Protocol):
    """A super-resolution engine: one uint8 RGB picture in, one out.

    Conversion to float, normalisation, clipping and rounding happen inside the
    engine; the caller hands over and gets code values (0..255, full-range RGB,
    gamma-encoded as the camera delivers them).
    """

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        ...

    @property
    def scale(self) -> int:
        """Up-sampling factor: 2 or 4."""
        ...

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one picture.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, C-contiguous, any H and W >= 1.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB, C-contiguous, owned by the caller.
        """
        ...

    def close(self) -> None:
        """Release threads and memory. The engine cannot be used afterwards."""
        ...


class Pending(Protocol):
    """A picture that is under way: what the ``submit`` of an engine for a GPU gives."""

    def result(self) -> Uint8Image:
        """Wait for it; the same array at every call, from any thread."""
        ...


class Done:
    """A :class:`Pending` that is there already.

    Args:
        picture: the result.
    """

    def __init__(self, picture: Uint8Image) -> None:
        self._picture = picture

    def result(self) -> Uint8Image:
        """The picture."""
        return self._picture


def begin(engine: Engine, frame: Uint8Image) -> Pending:
    """Begin a picture: without waiting for it where the engine has ``submit``, else it is done.

    Args:
        engine: any.
        frame: ``(H, W, 3)`` uint8 RGB.
    """
    submit: Callable[[Uint8Image], Pending] | None = getattr(engine, "submit", None)
    return Done(engine.run(frame)) if submit is None else submit(frame)
