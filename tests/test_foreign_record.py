"""Networks watched while they run: whatever they do is exported as it is, or refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from foreign_networks import Around, Does, as_after_training, exported, in_onnx, in_torch, steps_of
from tiny_networks import noise, scenes
from torch import Tensor, nn
from torch.nn import functional

from acf_edge.compress.calibrate import calibrate
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import InputError
from acf_edge.export import qdq_ort
from acf_edge.export.lower import lower_for_cpu
from acf_edge.export.qdq_ort import quantized_values, write_qdq
from acf_edge.foreign.steps import same
from acf_edge.imaging.metrics import psnr


def slopes(*values: float) -> nn.PReLU:
    layer = nn.PReLU(8)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values).repeat(8)[:8])
    return layer


class Gate(nn.Module):
    """Channel attention: a global average, two 1x1 convolutions, a product."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(8, 2, 1)
        self.excite = nn.Conv2d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))


class TwiceUsed(nn.Module):
    """An activation that overwrites what is used again: the trap of SPAN."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.SiLU(inplace=True)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        before = self.conv(x)
        after = self.act(before)
        return self.conv(after) + before


class Merging(nn.Module):
    """Computes its weights anew in every run and attaches them to itself, as SPAN does."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.merged = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(self.narrow.weight.data, [1, 1, 1, 1])
        self.merged.weight.data = self.wide.weight.data + padded
        result: Tensor = self.merged(x)
        return result


def some_channels(x: Tensor) -> Tensor:
    """Writes into a slice of its input, as PLKSR does."""
    x = x * 0.5
    x[:, 2:5] = torch.tanh(x[:, 2:5])
    return x


def norm_of_channels(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)


def parts(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    c, d, e = torch.split(b, [1, 1, 2], 1)
    return torch.cat([d, a, e, c], 1) + x[:, -8:]


# name -> a body that takes and gives 8 channels.
BODIES: dict[str, Callable[[], nn.Module]] = {
    "prelu": lambda: slopes(0.25, -0.1, 0.9, 0.0),
    "prelu, steep": lambda: slopes(0.25, 1.5, 3.0),
    "prelu, one slope": lambda: slopes(0.2),
    "prelu, no slope": lambda: slopes(0.0),
    "steep prelu, then a sum": lambda: nn.Sequential(slopes(2.0, 0.5), Does(lambda x: x + x)),
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "overwritten and used again": TwiceUsed,
    "merged weights": Merging,
    "relu beside": lambda: Does(lambda x: x + torch.relu(x)),
    "gate": Gate,
    "sigmoid less a half": lambda: Does(lambda x: x * (torch.sigmoid(x) - 0.5)),
    "arithmetic": lambda: Does(lambda x: (2.0 - x) / 3.0 - torch.add(x, x * x, alpha=0.5)),
    "difference": lambda: Does(lambda x: torch.tanh(x) - x),
    "negative": lambda: Does(lambda x: -x * torch.full((1, 8, 1, 1), 0.5)),
    "norm of channels": lambda: Does(norm_of_channels),
    "parts": lambda: Does(parts),
    "some channels": lambda: Does(some_channels),
    "repeated": lambda: nn.Sequential(
        nn.Conv2d(8, 4, 1), Does(lambda x: x.repeat_interleave(2, 1) + x.repeat(1, 2, 1, 1))
    ),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
    "shuffles": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "shuffle of a sum": lambda: nn.Sequential(
        nn.Conv2d(8, 32, 3, 2, 1), Does(lambda x: torch.relu(x)), nn.PixelShuffle(2)
    ),
    "nearest": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1), Does(lambda x: functional.interpolate(x, scale_factor=2))
    ),
    "bilinear": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1),
        Does(lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear")),
    ),
    "bicubic": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1),
        Does(lambda x: functional.interpolate(x, scale_factor=2, mode="bicubic")),
    ),
    "largest": lambda: nn.Sequential(
        Does(lambda x: functional.adaptive_max_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))),
        nn.Upsample(scale_factor=2),
    ),
    "same padding": lambda: nn.Conv2d(8, 8, 4, padding="same"),
    "mirrored padding": lambda: nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
    "constant padding": lambda: nn.Sequential(
        Does(lambda x: functional.pad(x, (0, 1, 2, 1), value=0.5)), nn.Conv2d(8, 8, (4, 2))
    ),
    "transposed": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1)
    ),
    "grouped": lambda: nn.Sequential(
        Does(lambda x: x * 2.0), nn.Conv2d(8, 8, (3, 5), padding=(2, 2), dilation=(2, 1), groups=4)
    ),
    "clipped": lambda: nn.Sequential(nn.Hardtanh(-0.2, 0.3), Does(lambda x: x.clamp(min=0.0))),
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "hard swish": nn.Hardswish,
    "hard sigmoid": nn.Hardsigmoid,
    "nothing": lambda: nn.Sequential(
        nn.Dropout2d(0.5), nn.Identity(), Does(lambda x: x.clone().type_as(x))
    ),
}


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = Around(BODIES[name]())
    as_after_training(network)
    with torch.no_grad():
        # Grey with something in it: what is clipped away could differ unseen.
        network.last.weight.mul_(0.3)
        network.last.bias.fill_(0.5)  # type: ignore[union-attr]
    return network


@pytest.mark.parametrize("name", BODIES)
def test_it_says_what_torch_says(name: str) -> None:
    network = network_of(name)
    model = exported(network)
    onnx.checker.check_model(model, full_check=True)
    for picture in (scenes(1, 24, 32)[0], noise(34, 20)):
        ours, theirs = in_onnx(model, picture).astype(int), in_torch(network, picture)
        assert np.abs(ours - theirs).max() <= 1
        lowered = in_onnx(lower_for_cpu(model), picture).astype(int)
        assert np.abs(lowered - theirs).max() <= 1
    # The result is a picture with something in it, not one flat colour.
    assert theirs.std() > 5


@pytest.mark.parametrize("name", BODIES)
def test_it_can_be_quantized(name: str) -> None:
    model = exported(network_of(name))
    pictures = scenes(3, 32, 48)
    values = quantized_values(model)
    store = calibrate(model, values, pictures, source="scenes", weights_sha256="")
    small = lower_for_cpu(write_qdq(model, store))
    onnx.checker.check_model(small, full_check=True)
    for picture in scenes(5, 32, 48)[3:]:
        assert psnr(in_onnx(small, picture), in_onnx(model, picture)) >= 34


@pytest.mark.parametrize(
    "name", ["leaky", "overwritten and used again", "sigmoid less a half", "gate", "relu beside"]
)
def test_nothing_large_is_left_in_floats(name: str, tmp_path: object) -> None:
    model = exported(network_of(name))
    values = quantized_values(model)
    store = calibrate(model, values, scenes(2, 32, 48), source="scenes", weights_sha256="")
    path = tmp_path / "optimized.onnx"  # type: ignore[operator]
    content = write_qdq(model, store).SerializeToString()
    OrtEngine(content, name="small", scale=1, threads=1, optimized=path).close()
    nodes = [n for n in onnx.load(path).graph.node if not n.name.startswith(("input/", "output/"))]
    ops = Counter(node.op_type for node in nodes)
    assert ops["QLinearConv"] == sum(n.op_type == "Conv" for n in model.graph.node)
    # What is left of floats: conversions that the runtime's optimizer has merged, at most.
    assert not {"Conv", "FusedConv", "Add", "Mul", "Sigmoid", "LeakyRelu"} & set(ops)


@pytest.mark.parametrize(
    "body, word",
    [
        (Does(lambda x: x if float(x.mean()) > 0 else -x), "looks at the picture's values"),
        (Does(lambda x: torch.roll(x, 1, 2)), "'roll' in 'body'"),
        (Does(lambda x: x.flatten(2).softmax(-1).view_as(x)), "'flatten' in 'body'"),
        (nn.GroupNorm(2, 8), "'group_norm' in 'body'"),
        (nn.InstanceNorm2d(8, track_running_stats=False), "'instance_norm' in 'body'"),
        (Does(lambda x: x[:, :, 1:]), "'slice' along dimension 2 in 'body'"),
        (Does(lambda x: functional.interpolate(x, (31, 31))), "no whole factor in 'body'"),
        (Does(lambda x: x.transpose(2, 3)), "'transpose' in 'body'"),
        (Does(lambda x: torch.cat([x, torch.zeros_like(x)], 2)), "'body'"),
        (
            Does(lambda x: x * x.mean((2, 3))[..., None, None]),
            "'mean' with keepdim = False in 'body'",
        ),
        (Does(lambda x: (x > 0) * x), "'gt' in 'body'"),
        (Does(lambda x: torch.sigmoid_(x[:, :, ::2]).sum() * x), "a part of a tensor|'body'"),
    ],
    ids=range(12),
)
def test_what_cannot_be_taken_is_named(body: nn.Module, word: str) -> None:
    with pytest.raises(InputError, match=word):
        exported(Around(body))


@pytest.mark.parametrize(
    "body",
    [
        Does(lambda x: x * torch.rand(1, 8, 1, 1)),
        Does(lambda x: x * (0.5 if x.shape[2] > 24 else 2.0)),
        Does(lambda x: x if x.shape[3] % 3 else torch.relu(x)),
    ],
    ids=["chance", "size in a constant", "size in the choice of operations"],
)
def test_two_runs_show_what_one_would_hide(body: nn.Module) -> None:
    torch.manual_seed(0)
    network = Around(body).eval()
    one, two = steps_of(network, 24, 32, 0), steps_of(network, 40, 33, 1)
    assert not same(one, two)


def test_equal_networks_are_noted_equally_whatever_the_picture() -> None:
    network = network_of("overwritten and used again")
    assert same(steps_of(network, 24, 32, 0), steps_of(network, 40, 34, 1))


class Enlarging(nn.Module):
    """What Compact and its like do: a residual on the repeated picture, shuffled to pixels."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), slopes(0.1, 0.7)])
        self.tail = nn.Conv2d(8, 3 * scale * scale, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.body:
            out = layer(out)
        out = functional.pixel_shuffle(self.tail(out), self.scale)
        out += functional.interpolate(x, scale_factor=self.scale, mode="nearest")
        return out.clamp(0, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_picture_is_added_before_the_shuffle(scale: int) -> None:
    torch.manual_seed(0)
    network = Enlarging(scale).eval()
    model = exported(network, scale)
    core = [n for n in model.graph.node if not n.name.startswith(("input/", "output/"))]
    names = ["body.0/Conv", "body.1/PRelu", "tail/Conv", "anchor/Conv", "network/Add"]
    assert [node.name for node in core] == names
    picture = noise(13, 9)
    ours = in_onnx(model, picture).astype(int)
    assert ours.shape == (13 * scale, 9 * scale, 3)
    assert np.abs(ours - in_torch(network, picture)).max() <= 1
    # A flat picture through a silent residual comes out as it went in, in INT8, too.
    with torch.no_grad():
        network.tail.weight.zero_(), network.tail.bias.zero_()  # type: ignore[union-attr]
    model = exported(network, scale)
    values = quantized_values(model)
    store = calibrate(model, values, scenes(2, 24, 32), source="scenes", weights_sha256="")
    small = lower_for_cpu(write_qdq(model, store))
    flat = np.broadcast_to(np.array([0, 101, 255], np.uint8), (6, 5, 3))
    np.testing.assert_array_equal(in_onnx(small, flat), flat.repeat(scale, 0).repeat(scale, 1))


class Unlike(nn.Module):
    """Joins a loud part and a soft one; the convolution behind listens to the soft one."""

    def __init__(self) -> None:
        super().__init__()
        self.loud, self.soft = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.join = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.join(torch.cat([self.loud(x), self.soft(x)], 1))
        return result


def test_unlike_parts_keep_their_own_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Around(Unlike())
    as_after_training(network)
    with torch.no_grad():
        network.body.loud.weight.mul_(100.0)  # type: ignore[union-attr,operator]
        network.body.join.weight[:, :4].mul_(0.001)  # type: ignore[index,union-attr]
        network.last.weight.mul_(0.3)
        network.last.bias.fill_(0.5)  # type: ignore[union-attr]
    model = exported(network)
    values = quantized_values(model)
    store = calibrate(model, values, scenes(3, 32, 48), source="scenes", weights_sha256="")
    picture = scenes(4, 32, 48)[3]
    truth = in_onnx(model, picture)
    even = psnr(in_onnx(write_qdq(model, store), picture), truth)
    monkeypatch.setattr(qdq_ort, "find_evenings", lambda *_: {})
    together = psnr(in_onnx(write_qdq(model, store), picture), truth)
    assert even >= 40 and even >= together + 10


class Names(nn.Module):
    """Modules that are called like the ends of our graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Conv2d(3, 4, 3, padding=1)
        self.anchor = nn.Conv2d(4, 4, 3, padding=1)
        self.output = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.output(torch.relu(self.anchor(torch.relu(self.input(x)))))
        return result


def test_modules_may_be_called_anything() -> None:
    torch.manual_seed(0)
    network = Names().eval()
    model = exported(network)
    assert "network.anchor/Conv" in {node.name for node in model.graph.node}
    values = quantized_values(model)
    assert {"network.input/Conv", "network.output/Conv"} & {n.name for n in model.graph.node}
    store = calibrate(model, values, scenes(2, 24, 32), source="scenes", weights_sha256="")
    small = write_qdq(model, store)
    assert sum(t.data_type == onnx.TensorProto.INT8 for t in small.graph.initializer) == 6
    picture = scenes(1, 24, 32)[0]
    assert np.abs(in_onnx(model, picture).astype(int) - in_torch(network, picture)).max() <= 1


def test_constants_go_into_the_convolutions() -> None:
    body = nn.Sequential(Does(lambda x: x * 255.0), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    network = Around(body)
    as_after_training(network)
    model = exported(network)
    ops = Counter(n.op_type for n in model.graph.node if "/" in n.name)
    assert ops["Conv"] == 3
    assert not [
        n
        for n in model.graph.node
        if n.name.startswith(("body", "network")) and n.op_type != "Conv"
    ]
