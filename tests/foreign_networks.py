"""Networks that acf-edge did not make, small and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tiny_networks import Image, run_onnx
from torch import Tensor, nn

from acf_edge.errors import MissingExtraError
from acf_edge.foreign.convert import convert
from acf_edge.foreign.library import spandrel
from acf_edge.foreign.record import record
from acf_edge.foreign.simplify import simplify
from acf_edge.foreign.steps import Steps
from acf_edge.foreign.write import write_model


def need_spandrel() -> Any:
    """The library; skips the test where it is not installed."""
    try:
        return spandrel()
    except MissingExtraError as error:
        pytest.skip(str(error), allow_module_level=True)


class Around(nn.Module):
    """Some body between two convolutions; colours in and out."""

    def __init__(self, body: nn.Module, width: int = 8, gives: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = body
        self.last = nn.Conv2d(gives, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.body(self.first(x)))
        return result


class Does(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def steps_of(network: nn.Module, height: int = 24, width: int = 32, seed: int = 0) -> Steps:
    """What is noted while a network runs."""
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))
    recording = record(network, network, picture)
    return convert(recording, (height, width), "The network")


def exported(network: nn.Module, scale: int = 1) -> onnx.ModelProto:
    """A network as float32 ONNX, pictures in and out."""
    steps = steps_of(network.eval())
    factor = simplify(steps)
    return write_model(steps, factor, scale, "network", 0, 1)


def in_torch(network: nn.Module, picture: Image) -> Image:
    """One picture through a network in torch."""
    with torch.inference_mode():
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255.0
        result = (network(tensor)[0] * 255.0).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(result.permute(1, 2, 0).numpy())


def in_onnx(model: onnx.ModelProto, picture: Image) -> Image:
    """One picture through a model."""
    result: Image = run_onnx(model, {"image": picture[None]})[0][0]
    return result


def as_after_training(network: nn.Module, last: nn.Conv2d | None = None, seed: int = 0) -> None:
    """Weights of a sane size, biases that are no constants; ``last`` speaks softly."""
    generator = torch.Generator().manual_seed(seed)
    slopes = {id(m.weight) for m in network.modules() if isinstance(m, nn.PReLU)}
    with torch.no_grad():
        for parameter in network.parameters():
            if id(parameter) in slopes:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.05 * noise)
            else:
                fan = parameter[0].numel()
                parameter.copy_(noise / fan**0.5)
        if last is not None:
            last.weight.mul_(0.1)
    network.eval()


def compact(scale: int = 2, width: int = 8, depth: int = 2, colours: int = 3) -> nn.Module:
    """A small SRVGGNetCompact."""
    need_spandrel()
    from spandrel.architectures.Compact import Compact

    network: nn.Module = Compact(
        num_in_ch=colours, num_out_ch=colours, num_feat=width, num_conv=depth, upscale=scale
    )
    as_after_training(network, network.body[-1])  # type: ignore[index,arg-type]
    with torch.no_grad():
        for index, layer in enumerate(m for m in network.modules() if isinstance(m, nn.PReLU)):
            # One slope in the second, one above one in the third: each has a way of its own.
            layer.weight.copy_(torch.linspace(-0.1, 0.5 if index < 2 else 1.5, width))
            if index == 1:
                layer.weight.fill_(0.2)
    return network


def span(scale: int = 2, width: int = 8, norm: bool = False) -> nn.Module:
    """A small SPAN; ``norm`` as the authors' first weights have it."""
    need_spandrel()
    from spandrel.architectures.SPAN import SPAN

    network: nn.Module = SPAN(
        num_in_ch=3, num_out_ch=3, feature_channels=width, upscale=scale, norm=norm
    )
    as_after_training(network)
    with torch.no_grad():
        if norm:
            # It multiplies pictures by 255 first, and training makes up for that.
            for layer in (network.conv_1.sk, network.conv_1.conv[2]):  # type: ignore[union-attr,index]
                layer.weight.mul_(0.01)
        tail = network.upsampler[0]  # type: ignore[index]
        tail.weight.mul_(0.2)
        tail.bias.copy_(torch.full_like(tail.bias, 0.5))
    return network


def saved(network: nn.Module, path: Path) -> Path:
    """Save a network's weights as its makers do."""
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    else:
        torch.save({"params_ema": network.state_dict()}, path)
    return path
