"""The float64 reference of both operators: what every other body is judged by.

Written as the formulas stand, one output at a time where that is clearer; slow
and meant to be. Imports NumPy alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def sigmoid(x: npt.ArrayLike) -> Float64:
    """``1 / (1 + exp(-x))`` without overflow on either side."""
    values = np.asarray(x, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def junction_vote(
    features: npt.ArrayLike,
    element_logits: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike,
    branches: int = 3,
) -> Float64:
    """``acf::JunctionVote``: filter or preserve each branch's features, then add them up.

    ``y[n, c] = sum_b x[n, bC + c] * sigmoid(e[n, bC + c]) * v[n, bC + c]`` with the channel vote
    ``v[n] = sigmoid(W mean_{h,w}(x[n]) + bias)``.

    Args:
        features: ``(N, B * C, H, W)``.
        element_logits: ``(N, B * C, H, W)``.
        weight: ``(B * C, B * C)``.
        bias: ``(B * C,)``.
        branches: B; divides the channels.

    Returns:
        ``(N, C, H, W)`` float64.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    x, e = np.asarray(features, np.float64), np.asarray(element_logits, np.float64)
    w, c = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    if branches < 1:
        raise ValueError(f"{branches} branches cannot vote")
    if x.ndim != 4 or x.shape != e.shape or x.shape[1] % branches:
        raise ValueError(f"features {x.shape} and element logits {e.shape} do not fit")
    if w.shape != (x.shape[1], x.shape[1]) or c.shape != (x.shape[1],):
        raise ValueError(f"weight {w.shape} and bias {c.shape} do not fit {x.shape[1]} channels")
    width = x.shape[1] // branches
    joined = np.zeros((x.shape[0], width, *x.shape[2:]))
    for n in range(x.shape[0]):
        vote = sigmoid(w @ x[n].mean(axis=(1, 2)) + c)
        passed = x[n] * sigmoid(e[n]) * vote[:, None, None]
        for b in range(branches):
            joined[n] += passed[b * width : (b + 1) * width]
    return joined


def channel_spatial_attention(
    features: npt.ArrayLike,
    spatial_logits: npt.ArrayLike,
    squeeze_weight: npt.ArrayLike,
    squeeze_bias: npt.ArrayLike,
    excite_weight: npt.ArrayLike,
    excite_bias: npt.ArrayLike,
) -> Float64:
    """``acf::ChannelSpatialAttention``.

    ``y[n] = x[n] * a[n] * sigmoid(s[n])`` with the channel attention
    ``a[n] = sigmoid(W2 max(W1 mean_{h,w}(x[n]) + b1, 0) + b2)``.

    Args:
        features: ``(N, C, H, W)``.
        spatial_logits: ``(N, K, H, W)``, K = 1 or C.
        squeeze_weight: ``(S, C)``.
        squeeze_bias: ``(S,)``.
        excite_weight: ``(C, S)``.
        excite_bias: ``(C,)``.

    Returns:
        ``(N, C, H, W)`` float64.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    x, s = np.asarray(features, np.float64), np.asarray(spatial_logits, np.float64)
    w1, b1 = np.asarray(squeeze_weight, np.float64), np.asarray(squeeze_bias, np.float64)
    w2, b2 = np.asarray(excite_weight, np.float64), np.asarray(excite_bias, np.float64)
    if x.ndim != 4 or s.ndim != 4 or s.shape[1] not in (1, x.shape[1]):
        raise ValueError(f"features {x.shape} and spatial logits {s.shape} do not fit")
    if s.shape[0] != x.shape[0] or s.shape[2:] != x.shape[2:]:
        raise ValueError(f"features {x.shape} and spatial logits {s.shape} do not fit")
    channels, hidden = x.shape[1], b1.size
    found = (w1.shape, b1.shape, w2.shape, b2.shape)
    if found != ((hidden, channels), (hidden,), (channels, hidden), (channels,)):
        raise ValueError(f"weights and biases {found} do not fit {channels} channels")
    result = np.empty_like(x)
    for n in range(x.shape[0]):
        squeezed = np.maximum(w1 @ x[n].mean(axis=(1, 2)) + b1, 0.0)
        attention = sigmoid(w2 @ squeezed + b2)
        result[n] = x[n] * attention[:, None, None] * sigmoid(s[n])
    return result
