"""The operators that are ACF's own: one truth (float64 NumPy) and the portable ONNX body."""

from __future__ import annotations
