"""Bundles for GPUs with models that really run, and files that look like plugin libraries."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import onnx
from tiny_networks import scenes, tiny_config, tiny_network
from toy_bundles import toy_ledger, toy_passport

from acf_edge.compress.calibrate import calibrate
from acf_edge.engine import Bundle, write_bundle
from acf_edge.engine.passport import InputProfile
from acf_edge.export import qdq_ort
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.trt.write import write_tensorrt

SCALE = 2
KERNELS = "c4" * 32
PROFILE = InputProfile((16, 16), (48, 32), (96, 64))
FIXED = InputProfile((48, 32), (48, 32), (48, 32))


@cache
def network(precision: str, plugins: bool = False) -> onnx.ModelProto:
    """A small network as TensorRT is given it."""
    plain = export_network(tiny_network(tiny_config(SCALE, 1)))
    inlined = inline_operators(plain)
    values = qdq_ort.quantized_values(inlined)
    store = calibrate(inlined, values, scenes(2), source="scenes", weights_sha256="")
    return write_tensorrt(plain, precision=precision, store=store, plugins=plugins)


def write_gpu_bundle(
    folder: Path,
    *,
    precision: str = "fp16",
    plan: bytes | None = b"an engine",
    plugins: bool = False,
    profiles: tuple[InputProfile, ...] = (PROFILE,),
    **changes: Any,
) -> Bundle:
    """A bundle for TensorRT on an Orin Nano; ``plan`` None: not compiled yet."""
    files: dict[str, bytes | Path] = {
        "model.onnx": network(precision).SerializeToString(),
        "model.plugin.onnx": network(precision, True).SerializeToString(),
    }
    fields: dict[str, Any] = {
        "scale": SCALE,
        "precision": precision,
        "backend": "tensorrt",
        "runtime": "tensorrt",
        "target": "orin-nano",
        "sm": "87",
        "input_profiles": profiles,
    }
    if plan is not None:
        files["engine.plan"] = plan
        fields |= {"tensorrt_version": "10.3.0", "runtime_version": "10.3.0", "device": "Orin"}
    if plugins:
        fields |= {"plugin_hash": "ab" * 32, "kernel_hash": KERNELS}
    return write_bundle(folder, files, toy_passport(**{**fields, **changes}), toy_ledger())


def write_library(
    path: Path,
    *,
    machine: int = 183,
    registers: bool = True,
    major: int = 10,
    kernels: str = KERNELS,
) -> Path:
    """As much of a plugin library as is looked at. ``machine``: 183 aarch64, 62 x86-64."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little")
    words = ["getCreators", "JunctionVote", "ChannelSpatialAttention", kernels]
    if registers:
        words += ["getPluginRegistry", f"libnvinfer.so.{major}"]
    path.write_bytes(head + bytes(64) + b"".join(word.encode() + b"\0" for word in words))
    return path
