"""What an engine runs: its layers and their data types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: TensorRT's.
        kind: e.g. ``"kgen"``, ``"CaskConvolution"``, ``"PluginV3"``.
        inputs, outputs: data types, ``"fp16"``, ``"int8"`` ...
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
