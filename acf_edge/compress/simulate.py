"""The quantized network in torch: what an engine with 8-bit convolutions computes, in float.

Written from the modules and the scale store alone, not from an exported graph, so that the two
can be held against each other. Numbers are rounded where TensorRT's dialect rounds them:

* INT8: inputs of convolutions and skips of residual sums to signed 8-bit codes, symmetric, one
  scale each; weights alike, one scale per output channel;
* FP8: the same with E4M3 codes, one scale per weight, and convolutions on the picture in FP16;
* constants, the branches' features, and whatever becomes codes to FP16. The rest is
  arithmetic inside of kernels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError
from acf_edge.model.network import AcfNetwork, Anchor

PRECISIONS = ("int8", "fp8")
PICTURE = "the picture"
"""Where other convolutions have the name of the value that they take."""
_SCALE_BITS = {"int8": 4, "fp8": 7}
_STRETCH, _SHIFT = 256.0 / 255.0, 128.0 / 255.0
"""The engine's picture is (pixel - 128) / 256; the modules' is pixel / 255."""


def simulate(network: AcfNetwork, store: ScaleStore, precision: str = "int8") -> AcfNetwork:
    """Copy a network and quantize the copy.

    Args:
        network: of any voting; left as it is.
        store: ranges that were calibrated for it.
        precision: ``"int8"`` or ``"fp8"``.

    Returns:
        A network that is used like ``network``, float32 outside and for inference alone: codes
        have no gradient.

    Raises:
        InputError: an unknown precision, or a store of another network.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"Unknown precision '{precision}'.", f"There are: {', '.join(PRECISIONS)}."
        )
    result = copy.deepcopy(network).eval()
    inputs = dict(input_names(result))
    modules = dict(result.named_modules())
    for path, name in inputs.items():
        module = modules[path]
        if name == PICTURE:
            _look_at_centred(module, precision)
            continue
        if name not in store.ranges:
            raise InputError(
                f"The scale store lacks the range of '{name}'.",
                "It belongs to another network: calibrate again.",
            )
        step = activation_step(store.ranges[name], precision)
        module.register_forward_pre_hook(_Codes(step, precision))
        if isinstance(module, nn.Conv2d):
            module.weight.data = _weights(module.weight.data, precision)
            if module.bias is not None:
                module.bias.data = _half(module.bias.data)
    for path in ("junction", "reconstruction.attention"):
        for parameter in modules[path].parameters(recurse=False) if path in modules else ():
            parameter.data = _half(parameter.data)
    if "junction" in modules:
        # What the branches said is written to memory, in FP16, before anybody votes on it.
        modules["junction"].register_forward_pre_hook(lambda _, inputs: (_half(inputs[0]),))
    return result


def activation_step(span: Range, precision: str = "int8") -> float:
    """What one code of an activation is worth.

    A number of so few bits that each multiple of it that is a code is exact in FP16.
    """
    reach = max(-span.low, span.high)
    # Codes in floating point lose nothing by a wider range, and clip less.
    step = reach / 127.0 if precision == "int8" else 2.0 * reach / 448.0
    mantissa, exponent = math.frexp(max(step, 2.0**-14))
    bits = _SCALE_BITS[precision]
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)


def input_names(network: AcfNetwork) -> Iterator[tuple[str, str]]:
    """Which value each convolution and each residual block takes.

    Yields:
        (path of the module, key of the scale store or :data:`PICTURE`).
    """
    if network.config.voting == "plain":
        yield "anchor", PICTURE
        yield "stem", PICTURE
        last = yield from _blocks(network.blocks, "blocks", "network/Relu")
        yield "tail", last
        return
    yield "anchor", PICTURE
    sharing = network.sharing
    for name, branch in (("artefact", sharing.artefact), ("structure", sharing.structure)):
        path = f"sharing.{name}"
        yield f"{path}.stem", PICTURE
        yield from _blocks(branch.blocks, f"{path}.blocks", f"{path}/Relu")
    path = "sharing.deblur"
    yield f"{path}.stem", PICTURE
    yield f"{path}.down", f"{path}/Relu"
    last = yield from _blocks(sharing.deblur.blocks, f"{path}.blocks", f"{path}/Relu_2")
    yield f"{path}.up", last
    yield "junction.element", "network/Concat"
    if network.config.voting == "gate":
        yield "junction.value", "junction/Mul"
    yield "reconstruction.entry", _JOINED[network.config.voting]
    trunk = network.reconstruction.blocks
    last = yield from _blocks(trunk, "reconstruction.blocks", "reconstruction/Relu")
    yield "reconstruction.attention.spatial", last
    yield "reconstruction.tail", "reconstruction.attention/ChannelSpatialAttention"


_JOINED = {
    "sigmoid": "junction/JunctionVote",
    "softmax": "junction/Add_3",
    "gate": "junction/Add_3",
    "none": "junction/Add_2",
}
"""The junction's result; without an operator of its own, the last of its sums."""


def _blocks(blocks: Any, path: str, first: str) -> Generator[tuple[str, str], None, str]:
    """Of a sequence of residual blocks; returns the name of its result."""
    taken = first
    for index in range(len(blocks)):
        # The block itself: its skip, which is its first convolution's input, too.
        yield f"{path}.{index}", taken
        yield f"{path}.{index}.expand", taken
        yield f"{path}.{index}.project", f"{path}.{index}/Relu"
        taken = f"{path}.{index}/Relu_2"
    return taken


class _Codes:
    """A forward hook: the input as codes of ``step``, back in float."""

    def __init__(self, step: float, precision: str) -> None:
        self.step, self.precision = step, precision

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_coded(_half(inputs[0]), torch.tensor(self.step), self.precision), *inputs[1:])


def _coded(values: Tensor, steps: Tensor, precision: str) -> Tensor:
    scaled = values / steps
    if precision == "int8":
        return scaled.round().clamp(-128, 127) * steps
    return scaled.clamp(-448, 448).to(torch.float8_e4m3fn).float() * steps


def _weights(weight: Tensor, precision: str) -> Tensor:
    peaks = weight.double().abs()
    if precision == "int8":
        steps = peaks.amax(dim=(1, 2, 3), keepdim=True) / 127.0
    else:
        steps = peaks.amax().reshape(1, 1, 1, 1) / 448.0
    # Upwards, so that the largest weight has a code.
    mantissas, exponents = torch.frexp(steps.clamp(min=2.0**-20))
    bits = _SCALE_BITS[precision]
    short = torch.ldexp(torch.ldexp(mantissas, torch.tensor(bits)).ceil(), exponents - bits)
    return _coded(weight.double(), short, precision).float()


def _look_at_centred(module: nn.Module, precision: str) -> None:
    """Let a convolution look at ``(pixel - 128) / 256``, whose codes are the pixels."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    shifts = _SHIFT * weight.data.double().sum(dim=(1, 2, 3))
    stretched = (weight.data.double() * _STRETCH).float()
    module.register_forward_pre_hook(_centred)
    if precision == "fp8":
        weight.data = _half(stretched)
    elif isinstance(module, Anchor):
        weight.data = _interpolation(stretched)
    else:
        weight.data = _weights(stretched, precision)
    if isinstance(module, Anchor):
        # The sum with the residual is done around grey, too; the shift comes after.
        module.register_forward_hook(lambda module, inputs, result: result + _SHIFT)
    else:
        assert isinstance(module, nn.Conv2d) and module.bias is not None
        module.bias.data = _half((module.bias.data.double() + shifts).float())


def _centred(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (((inputs[0] * 255.0).round() - 128.0) / 256.0, *inputs[1:])


def _interpolation(weight: Tensor) -> Tensor:
    """Codes that add up to each channel's sum, so that flat areas stay flat."""
    flat = weight.double().flatten(1).numpy()
    sums = flat.sum(axis=1)
    units = np.floor(sums * 127.0 / np.abs(flat).max(axis=1))
    exact = flat * (units / sums)[:, None]
    codes = np.floor(exact)
    for row, total in enumerate(units):
        order = np.argsort(codes[row] - exact[row], kind="stable")
        codes[row, order[: round(total - codes[row].sum())]] += 1
    values = codes * (sums / units).astype(np.float16).astype(np.float64)[:, None]
    return _half(torch.from_numpy(values).float().reshape(weight.shape))


def _half(values: Tensor) -> Tensor:
    return values.half().float()
