"""The network: sizes as data, any picture, exactly bicubic where it has nothing to add."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, shape_inference
from tiny_networks import noise, tiny_config, tiny_network

from acf_edge.errors import InputError
from acf_edge.export.model import FOLDED, NORMALISED, export_network, inline_operators
from acf_edge.imaging.resize import resize_bicubic, upscale_bicubic
from acf_edge.model.config import SIZES, AcfConfig, config_from_json, config_named
from acf_edge.model.cost import cost
from acf_edge.model.network import (
    MARGIN,
    AcfNetwork,
    AuxiliaryHeads,
    bicubic_fold_weight,
    depth_to_space,
)
from acf_edge.model.runner import run_network

GMAC = {"acf-t": 3.5, "acf-s": 20.0}


def macs_of_graph(model: onnx.ModelProto, height: int, width: int) -> int:
    """Multiply-accumulates of all Conv nodes, by ONNX' own shape inference."""
    fixed = inline_operators(model)
    # The core alone: inference does not follow the arithmetic that computes the padding.
    core = [n for n in fixed.graph.node if not n.name.startswith(("input/", "output/"))]
    size = [1, 3, height + 2 * MARGIN, width + 2 * MARGIN]
    entry = helper.make_tensor_value_info(NORMALISED, onnx.TensorProto.FLOAT, size)
    end = helper.make_tensor_value_info(FOLDED, onnx.TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(core, "core", [entry], [end], fixed.graph.initializer)
    alone = helper.make_model(graph, opset_imports=fixed.opset_import)
    inferred = shape_inference.infer_shapes(alone, strict_mode=True)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in inferred.graph.value_info
    }
    weights = {t.name: list(t.dims) for t in fixed.graph.initializer}
    total = 0
    for node in fixed.graph.node:
        if node.op_type == "Conv":
            shape = shapes[node.output[0]]
            assert len(shape) == 4 and all(shape), (node.name, shape)
            total += int(np.prod(shape)) * int(np.prod(weights[node.input[1]][1:]))
    return total


@pytest.mark.parametrize("name", GMAC)
@pytest.mark.parametrize("scale", [2, 4])
def test_sizes_keep_their_budget(name: str, scale: int) -> None:
    """320x180 -> 1280x720, counted by hooks and, apart from that, from the ONNX file."""
    config = config_named(name, scale)
    counted = cost(config).macs
    assert counted <= GMAC[name] * 1e9
    assert macs_of_graph(export_network(AcfNetwork(config)), 180, 320) == counted


def test_cost_of_one_layer_by_hand() -> None:
    config = tiny_config(fold=2)
    one = cost(config, 8, 8).macs
    # The tail: 1x1, 32 -> 3 * 8**2 channels on a 4x4 grid; two more grid rows cost 8 places more.
    wider = replace(config, trunk=48)
    grid = 4 * 4
    grown = 16 * 9 * 16 + 2 * 16 * 16 * 9 + 16 + 16 * 192  # entry, block, spatial map, tail
    assert cost(wider, 8, 8).macs - one == grown * grid


def test_paper_size_is_about_that_of_gfn() -> None:
    assert cost(config_named("acf-paper")).params == pytest.approx(12e6, rel=0.15)
    assert cost(config_named("acf-b")).macs < cost(config_named("acf-paper")).macs


@pytest.mark.parametrize("name", SIZES)
def test_widths_suit_integer_kernels(name: str) -> None:
    """Every convolution's inner channel count is a multiple of 16, in the network as built."""
    with torch.device("meta"):
        network = AcfNetwork(config_named(name))
    for path, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            if not path.endswith("stem"):
                assert module.in_channels % 16 == 0, path
            if not path.endswith(("tail", "spatial")):
                assert module.out_channels % 16 == 0, path
        assert not isinstance(module, torch.nn.PReLU)


@pytest.mark.parametrize("name", SIZES)
def test_deblur_branch_sees_at_least_64_pixels(name: str) -> None:
    """Which input pixels have a gradient from one place of the branch's output."""
    config = config_named(name)
    # All weights positive: no two paths cancel, no ReLU is shut.
    branch = AcfNetwork(replace(config, branch=16, deblur=16)).sharing.deblur
    for parameter in branch.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    side = 160
    padded = torch.full((1, 3, side + 4, side + 4), 0.5, requires_grad=True)
    features = branch(padded)
    centre = features.shape[2] // 2
    features[0, :, centre, centre].sum().backward()
    assert padded.grad is not None
    seen = padded.grad[0].abs().sum(0) > 0
    rows, columns = torch.where(seen.any(1))[0], torch.where(seen.any(0))[0]
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    assert min(height, width) >= 64
    # It is seen gaplessly at the middle, and it does end: the figure means something.
    assert seen[seen.shape[0] // 2 - 8 : seen.shape[0] // 2 + 8, side // 2].all()
    if name == "acf-t":
        assert max(height, width) < side


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("fold", [1, 2])
def test_without_residual_it_is_bicubic(scale: int, fold: int) -> None:
    network = tiny_network(tiny_config(scale, fold))
    torch.nn.init.zeros_(network.reconstruction.tail.weight)
    torch.nn.init.zeros_(network.reconstruction.tail.bias)  # type: ignore[arg-type]
    for height, width in ((16, 12), (7, 9), (1, 1), (2, 5)):
        picture = noise(height, width)
        with torch.no_grad():
            tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255.0
            result = network(tensor)[0].permute(1, 2, 0).numpy() * 255.0
        truth = resize_bicubic(picture, height * scale, width * scale)
        np.testing.assert_allclose(result, truth, atol=2e-3)
        np.testing.assert_array_equal(
            run_network(network, picture), upscale_bicubic(picture, scale)
        )


def test_with_residual_it_is_not() -> None:
    picture = noise(12, 12)
    ours, plain = run_network(tiny_network(), picture), upscale_bicubic(picture, 4)
    assert np.abs(ours.astype(int) - plain).max() > 1


@pytest.mark.parametrize("scale, fold", [(2, 2), (4, 2), (4, 1)])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 2), (7, 13), (16, 16)])
def test_any_size(scale: int, fold: int, size: tuple[int, int]) -> None:
    network = tiny_network(tiny_config(scale, fold))
    result = network(torch.rand(2, 3, *size))
    assert result.shape == (2, 3, size[0] * scale, size[1] * scale)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("size", [(9, 14), (10, 15), (11, 13)])
def test_odd_sizes_are_padding_and_cropping(size: tuple[int, int]) -> None:
    """The picture with its edge repeated by hand, and the surplus cut off, is the same."""
    network = tiny_network()
    image = torch.rand(1, 3, *size)
    bottom, right = -size[0] % 4, -size[1] % 4
    by_hand = torch.nn.functional.pad(image, (0, right, 0, bottom), mode="replicate")
    with torch.no_grad():
        whole = network(by_hand)[:, :, : 4 * size[0], : 4 * size[1]]
        torch.testing.assert_close(network(image), whole, rtol=0, atol=1e-6)


def test_interior_does_not_depend_on_the_frame_without_votes() -> None:
    """With the two global averages silenced, a crop's interior is the whole's interior."""
    config = replace(tiny_config(), deblur_blocks=((16, 1),))
    network = tiny_network(config)
    with torch.no_grad():
        network.junction.channel_weight.zero_()
        network.reconstruction.attention.squeeze_weight.zero_()
        image = torch.rand(1, 3, 97, 97)
        whole, part = network(image), network(image[:, :, :65, :61])
    torch.testing.assert_close(part[:, :, :100, :100], whole[:, :, :100, :100], atol=1e-5, rtol=0)


def test_pictures_of_a_batch_do_not_mix() -> None:
    network = tiny_network()
    images = torch.rand(2, 3, 9, 10)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:], network(images[1:]), atol=1e-6, rtol=0)


def test_depth_to_space_is_onnx_dcr() -> None:
    x = np.random.default_rng(0).standard_normal((2, 12, 3, 5)).astype(np.float32)
    node = helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="DCR")
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "shuffle",
        [helper.make_tensor_value_info("x", 1, list(x.shape))],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    truth = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_array_equal(depth_to_space(torch.from_numpy(x), 2).numpy(), truth)


@pytest.mark.parametrize("fold, scale", [(1, 2), (2, 2), (1, 4), (2, 4)])
def test_anchor_keeps_flat_areas(fold: int, scale: int) -> None:
    weight = bicubic_fold_weight(fold, scale)
    assert weight.shape == (3 * (fold * scale) ** 2, 3, fold + 4, fold + 4)
    torch.testing.assert_close(weight.sum((1, 2, 3)), torch.ones(len(weight)))


def test_anchor_is_neither_trained_nor_stored() -> None:
    network = tiny_network()
    assert not [name for name, _ in network.named_parameters() if "anchor" in name]
    assert not [name for name in network.state_dict() if "anchor" in name]


def test_auxiliary_heads_have_the_size_of_the_input() -> None:
    config = tiny_config()
    network, heads = tiny_network(config), AuxiliaryHeads(config)
    image = torch.rand(2, 3, 12, 16)
    _, branches = network.run_padded(network.pad(image))
    seen = heads(image, branches)
    assert seen.artefact.shape == seen.deblur.shape == image.shape


def test_unknown_names_and_scales() -> None:
    with pytest.raises(InputError, match=r"no network 'acf-x'.*acf-t"):
        config_named("acf-x")
    for scale in (0, 1, 3, 8, -2):
        with pytest.raises(InputError, match=f"scale {scale} "):
            config_named("acf-t", scale)


@pytest.mark.parametrize("name", SIZES)
def test_configuration_round_trip(name: str) -> None:
    import json

    config = config_named(name, 2)
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


DEEP: Any = []
for _ in range(50):
    DEEP = [DEEP]

MALFORMED = [
    ("name", 5),
    ("name", ""),
    ("name", "../../etc"),
    ("name", "x" * 65),
    ("name", "two\nlines"),
    ("scale", 3),
    ("scale", "4"),
    ("scale", 4.0),
    ("scale", True),
    ("scale", None),
    ("fold", 3),
    ("fold", 0),
    ("branch", 24),
    ("branch", 0),
    ("branch", -16),
    ("branch", "32"),
    ("branch", 10**9),
    ("branch", 10**5000),
    ("deblur", 16 * 10**6),
    ("trunk", 1040),
    ("squeeze", 8),
    ("squeeze", [16]),
    ("voting", "majority"),
    ("voting", None),
    ("artefact", 32),
    ("artefact", "32"),
    ("artefact", [32, "32"]),
    ("artefact", {"32": 1}),
    ("artefact", [32] * 1_000_000),
    ("structure", [33]),
    ("structure", DEEP),
    ("trunk_blocks", [16] * 65),
    ("trunk_blocks", [16 * 10**8]),
    ("deblur_blocks", [64, 2]),
    ("deblur_blocks", [[64]]),
    ("deblur_blocks", [[64, 2, 1]]),
    ("deblur_blocks", [[64, "2"]]),
    ("deblur_blocks", [[64, 0]]),
    ("deblur_blocks", [[64, 10**6]]),
]


@pytest.mark.parametrize("field, value", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_field_is_named(field: str, value: Any) -> None:
    table = config_named("acf-t").to_json() | {field: value}
    with pytest.raises(InputError) as raised:
        config_from_json(table)
    assert field in raised.value.problem.lower()
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_older_checkpoints_say_nothing_of_the_deblur_step() -> None:
    table = config_named("acf-b").to_json()
    del table["deblur_step"]
    assert config_from_json(table) == config_named("acf-b")


@pytest.mark.parametrize("field", sorted(set(config_named("acf-t").to_json()) - {"deblur_step"}))
def test_a_missing_field_is_named(field: str) -> None:
    table = config_named("acf-t").to_json()
    del table[field]
    with pytest.raises(InputError, match=f"lacks.*'{field}'"):
        config_from_json(table)


def test_unknown_fields_are_named() -> None:
    table: dict[Any, Any] = config_named("acf-t").to_json()
    with pytest.raises(InputError, match="unknown keys: 'depth'"):
        config_from_json(table | {"depth": 3})
    with pytest.raises(InputError, match="unknown keys"):
        config_from_json(table | {7: 3, ("a",): 1, "depth": 2})


def test_a_configuration_made_in_code_is_checked_too() -> None:
    for wrong in ({"branch": 10**9}, {"scale": 3}, {"trunk_blocks": (16,) * 10**5}):
        with pytest.raises(InputError):
            replace(tiny_config(), **wrong)  # type: ignore[arg-type]
    assert isinstance(replace(tiny_config(), branch=1024), AcfConfig)
