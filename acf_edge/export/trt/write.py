"""The one way from the plain network to what TensorRT is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from acf_edge.compress.scales import ScaleStore
from acf_edge.errors import InputError

PRECISIONS = ("fp32", "fp16", "int8", "fp8")
QUANTIZED = ("int8", "fp8")
"""These need a scale store."""

ChannelMeans = Mapping[str, npt.NDArray[np.float32]]
"""Value name -> mean of each channel over the calibration pictures, ``(C,)``."""


def quantized_values(plain: onnx.ModelProto) -> list[str]:
    """Names of the activations whose ranges :func:`write_tensorrt` needs, in graph order.

    Args:
        plain: the plain network, with its operators as functions or inlined.
    """
    raise InputError("Not yet written.", "Wait.")


def measure_means(
    plain: onnx.ModelProto, pictures: Sequence[npt.NDArray[np.uint8]]
) -> ChannelMeans:
    """What the pooled features are on average: the DLA's stand-in for global pooling.

    Args:
        plain: the plain network.
        pictures: degraded low-resolution pictures, ``(H, W, 3)`` uint8 RGB: those of the
            calibration.

    Raises:
        InputError: no pictures.
    """
    raise InputError("Not yet written.", "Wait.")


def write_tensorrt(
    plain: onnx.ModelProto,
    *,
    precision: str,
    store: ScaleStore | None = None,
    plugins: bool = False,
    dla: bool = False,
    means: ChannelMeans | None = None,
) -> onnx.ModelProto:
    """Write the model that TensorRT compiles as a strongly typed network.

    Args:
        plain: float32, from :func:`acf_edge.export.model.export_network` or of others, operators
            as functions; left as it is.
        precision: one of :data:`PRECISIONS`.
        store: ranges for :func:`quantized_values`; needed for :data:`QUANTIZED`.
        plugins: keep the ``acf`` nodes, as plugins of the namespace ``acf`` (no functions in the
            model). Else they are inlined: for TensorRT-RTX and for ``--no-plugins``.
        dla: no global pooling and no sigmoid, so that a DLA takes the whole core; not with
            ``plugins``.
        means: from :func:`measure_means`; needed with ``dla`` where there is global pooling.

    Returns:
        Input ``image`` ``(N, H, W, 3)`` uint8 RGB, output ``enhanced`` ``(N, sH, sW, 3)`` uint8.

    Raises:
        InputError: an unknown precision, no store or one of another network, ``dla`` with
            ``plugins`` or without means.
    """
    raise InputError("Not yet written.", "Wait.")
