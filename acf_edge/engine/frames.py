"""The check that every engine makes of a picture before it touches it."""

from __future__ import annotations

import numpy as np

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError


def checked_frame(frame: object) -> Uint8Image:
    """Return ``frame`` as a C-contiguous ``(H, W, 3)`` uint8 array; a copy only if it must be.

    Raises:
        TypeError: it is no array, or not of uint8 (a mistake of the caller).
        InputError: its shape is not ``(H, W, 3)`` with H and W >= 1.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        kind = f"an array of {frame.dtype}" if isinstance(frame, np.ndarray) else type(frame)
        raise TypeError(f"a frame is a NumPy array of uint8, not {kind}")
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise InputError(
            f"A picture of the shape {frame.shape} cannot be enhanced.",
            "Give RGB pixels as (height, width, 3), at least 1 x 1.",
        )
    return np.ascontiguousarray(frame)
