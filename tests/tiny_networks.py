"""Networks of the smallest widths, and pictures for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.config import AcfConfig
from acf_edge.model.network import AcfNetwork

Image = npt.NDArray[np.uint8]


def tiny_config(scale: int = 4, fold: int = 2, width: int = 16) -> AcfConfig:
    return AcfConfig(
        name="tiny",
        scale=scale,
        fold=fold,
        branch=width,
        artefact=(width,),
        structure=(16, 32),
        deblur=32,
        deblur_blocks=((16, 2), (32, 4)),
        trunk=32,
        trunk_blocks=(width,),
        squeeze=16,
    )


def tiny_network(config: AcfConfig | None = None, seed: int = 0) -> AcfNetwork:
    """Random weights, votes and biases that are no constants."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AcfNetwork(config or tiny_config())
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def noise(height: int, width: int, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def scenes(count: int, height: int = 48, width: int = 64) -> list[Image]:
    return [dead_leaves(height, width, seed) for seed in range(count)]


def run_onnx(model: onnx.ModelProto, inputs: dict[str, Any], *wanted: str) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Any] = session.run(list(wanted) or None, inputs)
    return results
