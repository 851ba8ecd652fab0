"""Pictures made from nothing, for calibration and tests where no photographs are at hand.

Dead leaves: discs that occlude one another, their radii drawn from a power law.
The model has edges, occlusion and the scale invariance of photographs (Lee,
Mumford and Huang, "Occlusion models for natural images", IJCV 2001). Leaves
carry a fine texture and a shade, so that smooth and busy places both occur.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError


def dead_leaves(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw one scene.

    Args:
        height: rows; >= 16.
        width: columns; >= 16.
        seed: the same seed and size give the same picture.

    Returns:
        ``(height, width, 3)`` uint8 RGB.

    Raises:
        InputError: a side below 16.
    """
    if min(height, width) < 16:
        raise InputError(f"A scene of {width}x{height} is too small.", "Sides start at 16.")
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.full((height, width, 3), 110.0, np.float32)
    smallest, largest = 3.0, 0.4 * min(height, width)
    for _ in range(400):
        # Inverse transform of p(r) ~ r**-3 between the bounds.
        u = rng.random()
        radius = (smallest**-2 - u * (smallest**-2 - largest**-2)) ** -0.5
        # Large leaves first would be hidden; all sizes come in random order, as in nature.
        radius = float(min(radius * (1.0 + 6.0 * rng.random()), largest))
        x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height
        # Bright or dark, but rarely as colourful as a random triple would be.
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
        leaf = colour + (shade[0] * dx + shade[1] * dy)[:, :, None] * 60.0 / radius
        if rng.random() < 0.5:
            angle, period = rng.uniform(0, np.pi), rng.uniform(3.0, 24.0)
            phase = (np.cos(angle) * dx + np.sin(angle) * dy) * (2 * np.pi / period)
            leaf = leaf + rng.uniform(4.0, 30.0) * np.sin(phase)[:, :, None]
        scene[part] += cover * (leaf - scene[part])
    grain = cv2.GaussianBlur(
        rng.standard_normal((height, width, 1)).astype(np.float32), (0, 0), 0.8
    )
    return np.clip(np.rint(scene + 4.0 * grain[:, :, None]), 0, 255).astype(np.uint8)
