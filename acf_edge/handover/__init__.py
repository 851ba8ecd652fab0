"""Bundles for the servers of others: Triton's model repository, DeepStream's nvinfer."""

from __future__ import annotations
