"""NV12 in and out: half the bytes of RGB on the way to the GPU and back.

The frame is converted on the GPU (``kernels/frame_border.cu``), enhanced as RGB, and converted
back; the conversions are part of the frame's CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acf_edge.cuda.border import Coding, Nv12Layout, plan_nv12_to_rgb, plan_rgb_to_nv12
from acf_edge.cuda.driver import Stream
from acf_edge.cuda.kernels import Kernels
from acf_edge.cuda.plan import Plan
from acf_edge.engine.protocol import Uint8Image
from acf_edge.engine.trt.pipeline import Conversion, Job
from acf_edge.errors import InputError


@dataclass(frozen=True)
class Nv12:
    """How frames come and go.

    Attributes:
        width, height: of the picture in pixels; any from 1 x 1 on.
        coding: matrix, range and siting of what comes; None = BT.709, limited, left.
        result: those of what goes; None = as what comes.
    """

    width: int
    height: int
    coding: Coding | None = None
    result: Coding | None = None

    def codings(self) -> tuple[Coding, Coding]:
        """Of what comes and of what goes."""
        coming = self.coding or Coding()
        return coming, self.result or coming


def nv12_shape(width: int, height: int) -> tuple[int, int]:
    """Rows and bytes per row of a packed frame: luma, and chroma behind it."""
    return height + (height + 1) // 2, width + width % 2


def nv12_bytes(width: int, height: int) -> int:
    """Bytes of a packed frame."""
    rows, pitch = nv12_shape(width, height)
    return rows * pitch


def checked_nv12(frame: object, form: Nv12) -> Uint8Image:
    """``frame``, C-contiguous; a copy only if it must be.

    Raises:
        TypeError: no array of uint8.
        InputError: its shape is not that of a packed frame of this size.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        raise TypeError("an NV12 frame is a NumPy array of uint8")
    wanted = nv12_shape(form.width, form.height)
    if frame.shape != wanted or 0 in wanted:
        raise InputError(
            f"An NV12 frame of {form.width}x{form.height} has the shape {wanted}, not "
            f"{frame.shape}.",
            "Give the rows of Y and below them the rows of Cb Cr, without gaps.",
        )
    return np.ascontiguousarray(frame)


def nv12_job(form: Nv12, scale: int, kernels: Kernels) -> Job:
    """What is done with such frames.

    Args:
        form: of the frames.
        scale: of the engine.
        kernels: loaded on the engine's GPU; they outlive the job.
    """
    width, height = form.width, form.height
    wide, high = width * scale, height * scale
    coming, going = form.codings()
    reading = plan_nv12_to_rgb(1, height, width, coming)
    writing = plan_rgb_to_nv12(1, high, wide, going)
    luma = Nv12Layout.packed(height, width).luma_pitch * height
    bright = Nv12Layout.packed(high, wide).luma_pitch * high

    def before(frame: int, rgb: int, stream: Stream) -> None:
        _launch(kernels, reading, {"luma": frame, "chroma": frame + luma, "rgb": rgb}, stream)

    def after(rgb: int, frame: int, stream: Stream) -> None:
        _launch(kernels, writing, {"rgb": rgb, "luma": frame, "chroma": frame + bright}, stream)

    conversion = Conversion(("nv12", coming, going), before, after)
    return Job(width, height, nv12_bytes(width, height), nv12_bytes(wide, high), conversion)


def _launch(kernels: Kernels, plan: Plan, buffers: dict[str, int], stream: Stream) -> None:
    for one in plan.launches:
        kernels.launch(one.kernel, one.grid, one.block, one.resolve(buffers), one.shared, stream)
