"""Pictures made from nothing, for calibration and tests where no photographs are at hand.

Dead leaves: discs that occlude one another, most of them small, a few very large.
The model has edges, occlusion and roughly the scale invariance of photographs (Lee,
Mumford and Huang, "Occlusion models for natural images", IJCV 2001). Leaves
carry a fine texture and a shade, so that smooth and busy places both occur.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError

SMALLEST_SIDE = 16
"""Pixels; below, no leaf of more than the smallest radius would fit."""

_RADIUS = 3.0
"""Smallest radius in pixels: below, a leaf is not told from grain."""
_LEAVES = 400
"""Least number of leaves: small pictures, too, are to be covered many times over."""
_PIXELS_PER_LEAF = 512
"""Larger pictures get more leaves, or the ground would show between them."""


def dead_leaves(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw one scene.

    Args:
        height: rows; >= :data:`SMALLEST_SIDE`.
        width: columns; >= :data:`SMALLEST_SIDE`.
        seed: the same seed and size give the same picture.

    Returns:
        ``(height, width, 3)`` uint8 RGB.

    Raises:
        InputError: a side below :data:`SMALLEST_SIDE`.
    """
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"A scene of {width}x{height} is too small.", f"Sides start at {SMALLEST_SIDE}."
        )
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    # The ground, a middle grey, of which little remains to be seen.
    scene = np.full((height, width, 3), 110.0, np.float32)
    largest = 0.4 * min(height, width)
    for _ in range(max(_LEAVES, height * width // _PIXELS_PER_LEAF)):
        # Inverse transform of p(r) ~ r**-3 between the bounds.
        u = rng.random()
        radius = (_RADIUS**-2 - u * (_RADIUS**-2 - largest**-2)) ** -0.5
        # Half of those would be confetti of 3 or 4 pixels: stretched, so that smooth places
        # exist in pictures of a few hundred pixels, too.
        radius = float(min(radius * (1.0 + 6.0 * rng.random()), largest))
        # Centres may lie outside: else the borders would show whole leaves only.
        x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height
        # Bright or dark (inside 25..230, where texture is not clipped), but rarely as
        # colourful as a random triple would be.
        colour = (rng.uniform(25.0, 230.0) + rng.normal(0.0, 22.0, 3)).astype(np.float32)
        shade = rng.uniform(-0.5, 0.5, 2)
        top, bottom = max(int(y - radius), 0), min(int(y + radius) + 2, height)
        left, right = max(int(x - radius), 0), min(int(x + radius) + 2, width)
        if top >= bottom or left >= right:
            continue
        part = (slice(top, bottom), slice(left, right))
        dx, dy = columns[part] - x, rows[part] - y
        # One pixel of transition: real edges are not stairs.
        cover = np.clip(radius + 0.5 - np.sqrt(dx * dx + dy * dy), 0.0, 1.0)[:, :, None]
        # Up to 30 codes from the middle to the rim.
        leaf = colour + (shade[0] * dx + shade[1] * dy)[:, :, None] * 60.0 / radius
        # Half of the leaves are smooth; the stripes of the others span the resolvable periods.
        if rng.random() < 0.5:
            angle, period = rng.uniform(0, np.pi), rng.uniform(3.0, 24.0)
            phase = (np.cos(angle) * dx + np.sin(angle) * dy) * (2 * np.pi / period)
            leaf = leaf + rng.uniform(4.0, 30.0) * np.sin(phase)[:, :, None]
        scene[part] += cover * (leaf - scene[part])
    # Faint and soft: without it flat places would cost a codec nothing.
    grain = cv2.GaussianBlur(
        rng.standard_normal((height, width, 1)).astype(np.float32), (0, 0), 0.8
    )
    return np.clip(np.rint(scene + 4.0 * grain[:, :, None]), 0, 255).astype(np.uint8)
