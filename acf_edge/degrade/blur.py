"""Motion blur from a camera that moves while the shutter is open."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError

FloatArray = npt.NDArray[np.float32]


def motion_trajectory(
    length: float, curvature: float, angle: float, samples: int = 64
) -> npt.NDArray[np.float64]:
    """Positions of a point on the sensor during the exposure.

    An arc of constant curvature, centred on its own mean so that the blurred
    picture is not shifted against the sharp one.

    Args:
        length: arc length in pixels of the image that is to be blurred; >= 0.
        curvature: total turn over the arc in radians; 0 is a straight line.
        angle: direction at mid-exposure in radians.
        samples: points along the arc, at least; a long arc gets two a pixel, so that its
            kernel is a line and not a row of dots.

    Returns:
        ``(n, 2)`` float64, n >= ``samples``, columns x and y in pixels; the mean is the origin.
    """
    samples = max(samples, int(np.ceil(2.0 * length)))
    along = (np.arange(samples) + 0.5) / samples - 0.5
    heading = angle + curvature * along
    step = length / samples
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1) * step, axis=0)
    centred: npt.NDArray[np.float64] = path - path.mean(axis=0)
    return centred


def trajectory_kernel(path: npt.NDArray[np.float64]) -> FloatArray:
    """Rasterize a trajectory into a normalised odd-sized square kernel.

    Each sample is spread over its four neighbours bilinearly, so a zero-length
    trajectory gives exactly the unit impulse.

    Args:
        path: ``(n, 2)`` positions (x, y) in pixels around the origin.

    Returns:
        ``(k, k)`` float32, k odd, sum 1; its middle is the origin. ``(1, 1)`` for a point
        that stays there.
    """
    # The 1e-9 take rounding errors of the trajectory for what they are: without them a
    # coordinate of 1 + 1e-16 would widen the kernel by a ring of zeros.
    radius = max(int(np.ceil(np.abs(path).max() - 1e-9)), 0)
    size = 2 * radius + 1
    kernel = np.zeros((size + 1, size + 1))
    x, y = path[:, 0] + radius, path[:, 1] + radius
    x0, y0 = np.floor(x + 1e-9).astype(np.intp), np.floor(y + 1e-9).astype(np.intp)
    fx, fy = np.clip(x - x0, 0.0, 1.0), np.clip(y - y0, 0.0, 1.0)
    np.add.at(kernel, (y0, x0), (1 - fx) * (1 - fy))
    np.add.at(kernel, (y0, x0 + 1), fx * (1 - fy))
    np.add.at(kernel, (y0 + 1, x0), (1 - fx) * fy)
    np.add.at(kernel, (y0 + 1, x0 + 1), fx * fy)
    kernel = kernel[:size, :size]
    result: FloatArray = (kernel / kernel.sum()).astype(np.float32)
    return result


def draw_motion_kernel(
    rng: np.random.Generator, length: tuple[float, float], curvature: float
) -> FloatArray:
    """Draw a motion kernel; the direction is uniform over the half circle.

    Args:
        rng: the source of chance; the same state gives the same kernel.
        length: bounds of the uniform arc length in pixels, ``0 <= low <= high``.
        curvature: bound of the uniform total turn in radians (either sign), >= 0.

    Returns:
        ``(k, k)`` float32, k odd, sum 1.

    Raises:
        InputError: bounds that are negative, out of order or not finite.
    """
    low, high = length
    if not 0 <= low <= high < np.inf:
        raise InputError(f"Blur length {low}..{high} is not a range.", "Give 0 <= low <= high.")
    if not 0 <= curvature < np.inf:
        raise InputError(f"Blur curvature {curvature} is no bound.", "Give a number >= 0.")
    drawn = float(rng.uniform(low, high))
    turn = float(rng.uniform(-curvature, curvature))
    angle = float(rng.uniform(0.0, np.pi))
    return trajectory_kernel(motion_trajectory(drawn, turn, angle))


def apply_kernel(image: npt.NDArray[np.uint8] | FloatArray, kernel: FloatArray) -> FloatArray:
    """Convolve a picture with a kernel; edges are mirrored.

    Args:
        image: ``(H, W, 3)`` uint8 or float32, code values 0..255.
        kernel: ``(k, k)`` float32, k odd, sum 1.

    Returns:
        ``(H, W, 3)`` float32 in the same unit.
    """
    if kernel.size == 1:
        return image.astype(np.float32)
    # cv2.filter2D correlates; the kernel is turned so that this is a convolution.
    turned = np.ascontiguousarray(kernel[::-1, ::-1])
    data = image.astype(np.float32)
    return cv2.filter2D(data, cv2.CV_32F, turned, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]
