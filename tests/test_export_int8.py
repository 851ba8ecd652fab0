"""The INT8 model: close to float32, whole in integers, the same on every CPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from saturating_kernel import HIGH, LOW, emulated, pair_sums
from tiny_networks import Image, noise, run_onnx, scenes, tiny_config, tiny_network

from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import InputError
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.qdq_ort import (
    activation_scale,
    largest_pair,
    quantize_weight,
    quantized_values,
    write_qdq,
)
from acf_edge.imaging.metrics import psnr
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.model.network import AcfNetwork, bicubic_fold_weight

KINDS = [(2, 1), (2, 2), (4, 1), (4, 2)]


def plain(network: AcfNetwork) -> onnx.ModelProto:
    return inline_operators(export_network(network))


def store_of(model: onnx.ModelProto, pictures: list[Image] | None = None) -> ScaleStore:
    return calibrate(
        model,
        quantized_values(model),
        pictures or scenes(3),
        source="scenes",
        weights_sha256="",
    )


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"x{kind[0]}-fold{kind[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Float and INT8."""
    model = plain(tiny_network(tiny_config(*request.param)))
    return model, write_qdq(model, store_of(model))


def test_int8_is_close_to_float(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    model, small = pair
    onnx.checker.check_model(small, full_check=True)
    for picture in (*scenes(5)[3:], scenes(1, 33, 47)[0]):
        feed = {"image": picture[None]}
        ours, theirs = run_onnx(small, feed)[0], run_onnx(model, feed)[0]
        assert psnr(ours[0], theirs[0]) >= 38.0
        scale = ours.shape[1] // picture.shape[0]
        assert psnr(ours[0], upscale_bicubic(picture, scale)) < psnr(ours[0], theirs[0])


def test_any_size_and_batches(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    model, small = pair
    for batch, height, width in ((1, 1, 1), (1, 3, 10), (2, 9, 14)):
        pictures = np.stack([noise(height, width, seed) for seed in range(batch)])
        ours, theirs = (run_onnx(m, {"image": pictures})[0] for m in (small, model))
        assert ours.dtype == np.uint8 and ours.shape == theirs.shape


def test_everything_large_runs_in_integers(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], tmp_path: Path
) -> None:
    """In the graph that ONNX Runtime really runs."""
    model, small = pair
    path = tmp_path / "optimized.onnx"
    scale = 2 if "2*H" in str(model.graph.output[0]) else 4
    content = small.SerializeToString()
    OrtEngine(content, name="tiny", scale=scale, threads=1, optimized=path).close()
    graph = onnx.load(path).graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["Conv"] == ops["FusedConv"] == 0
    assert ops["QLinearConv"] == sum(n.op_type == "Conv" for n in model.graph.node)
    assert not {"Add", "Mul", "Sigmoid", "Relu", "Concat"} & _ops_on_pictures(graph)
    # Of the conversions those of the two averages and the two channel gates are left.
    left = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(left) <= 4
    for node in left:
        assert any(word in node.name + "".join(node.output) for word in ("mean", "channel")), node


def _ops_on_pictures(graph: onnx.GraphProto) -> set[str]:
    """Float element-wise operations, but for the few numbers of the channel gates."""
    return {
        node.op_type
        for node in graph.node
        if not node.name.startswith(("input/", "output/"))
        and node.domain != "com.microsoft"
        and not any(word in "".join(node.output) for word in ("channel", "hidden", "excited"))
    }


@pytest.mark.parametrize("scale, fold", KINDS)
@pytest.mark.parametrize("fit_pairs", [False, True])
def test_flat_grey_comes_out_exactly(scale: int, fold: int, fit_pairs: bool) -> None:
    """The anchor alone (no residual): its integer weights add up to exactly one."""
    network = tiny_network(tiny_config(scale, fold))
    torch.nn.init.zeros_(network.reconstruction.tail.weight)
    torch.nn.init.zeros_(network.reconstruction.tail.bias)  # type: ignore[arg-type]
    model = plain(network)
    small = write_qdq(model, store_of(model), fit_pairs)
    for level in (0, 1, 100, 127, 254, 255):
        picture = np.full((1, 7, 6, 3), level, np.uint8)
        picture[..., 1] = 255 - level
        out = run_onnx(small, {"image": picture})[0]
        np.testing.assert_array_equal(out, picture.repeat(scale, 1).repeat(scale, 2))
    # And a busy picture is bicubic within the rounding of 8-bit weights.
    picture = scenes(1)[0]
    out = run_onnx(small, {"image": picture[None]})[0][0]
    assert np.abs(out.astype(int) - upscale_bicubic(picture, scale)).max() <= 3


@pytest.mark.parametrize("fold, scale", [(1, 2), (2, 2), (1, 4), (2, 4)])
@pytest.mark.parametrize("fit_pairs", [False, True])
def test_anchor_weights_keep_their_sum(fold: int, scale: int, fit_pairs: bool) -> None:
    weight = bicubic_fold_weight(fold, scale).numpy()
    codes, steps = quantize_weight(weight, keep_sum=True, fit_pairs=fit_pairs)
    sums = codes.astype(int).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums * steps.astype(np.float64), 1.0, rtol=1e-6)
    np.testing.assert_allclose(codes * steps[:, None, None, None], weight, atol=1.01 * steps.max())
    # Neighbours there are of different colours, all but one with weight zero: nothing is lost.
    plain_codes, _ = quantize_weight(weight, keep_sum=True)
    np.testing.assert_array_equal(codes, plain_codes)


def test_weights_round_to_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype(np.float32)
    weight[3] = 0.0
    codes, steps = quantize_weight(weight)
    assert codes.dtype == np.int8 and steps.dtype == np.float32
    error = np.abs(codes * steps[:, None, None, None].astype(np.float64) - weight)
    assert (error <= 0.5001 * steps[:, None, None, None]).all()
    peaks = np.abs(codes.astype(int)).max(axis=(1, 2, 3))
    assert (np.delete(peaks, 3) == 127).all() and peaks[3] == 0


@pytest.mark.parametrize("shape", [(16, 3, 6, 6), (8, 32, 3, 3), (8, 64, 1, 1), (4, 3, 3, 3)])
def test_fitted_pairs_cannot_overflow(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    # Like a filter of brightness: neighbouring colours have nearly the same weight.
    weight = rng.standard_normal((shape[0], 1, *shape[2:])) + 0.1 * rng.standard_normal(shape)
    weight = weight.astype(np.float32)
    white = np.full((1, int(np.prod(shape[1:]))), 255, np.int32)
    # Every pair sees the activations that are worst for it: 255 where it is of one sign.
    for fit_pairs in (False, True):
        codes, steps = quantize_weight(weight, fit_pairs=fit_pairs)
        worst = [np.maximum(codes, 0), np.minimum(codes, 0)]
        sums = np.concatenate([pair_sums(white, part.astype(np.int8)) for part in worst])
        fits = bool(sums.min() >= LOW and sums.max() <= HIGH)
        assert fits == fit_pairs
        error = np.abs(codes * steps[:, None, None, None].astype(np.float64) - weight)
        assert (error <= 0.5001 * steps[:, None, None, None]).all()
        # At most one bit is given away.
        assert (np.abs(codes.astype(int)).max(axis=(1, 2, 3)) >= 63).all()


def test_largest_pair_by_hand() -> None:
    weight = np.zeros((2, 3, 1, 2), np.float32)
    # In the kernel's order, tap by tap, the three input channels of each: pairs (0,1) (2,3) (4,5).
    weight[0, :, 0, 0], weight[0, :, 0, 1] = (1.0, 2.0, -4.0), (-5.0, 7.0, -8.0)
    weight[1, :, 0, 0], weight[1, :, 0, 1] = (0.0, 0.0, 6.0), (5.0, 0.0, -3.0)
    np.testing.assert_array_equal(largest_pair(weight), [9.0, 11.0])
    np.testing.assert_array_equal(largest_pair(np.full((1, 3, 1, 1), 2.0)), [4.0])


def _bright_network() -> AcfNetwork:
    """Stems that add up brightness, as trained ones do, and a residual that shows it."""
    network = tiny_network()
    with torch.no_grad():
        network.reconstruction.tail.weight.mul_(20.0)
        for branch in (network.sharing.artefact, network.sharing.structure, network.sharing.deblur):
            branch.stem.weight.copy_(branch.stem.weight.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    return network


def test_the_same_pixels_on_cpus_without_vnni() -> None:
    """Emulated 16-bit pair sums: harmless for the model as written, harmful without fitting."""
    picture = np.clip(scenes(1, 24, 32)[0].astype(int) + 90, 0, 255).astype(np.uint8)
    feed = {"image": picture[None]}
    model = plain(_bright_network())
    store = store_of(model, [picture, *scenes(2)])
    fitted, full = write_qdq(model, store), write_qdq(model, store, fit_pairs=False)
    exact = emulated(fitted, saturate=False).run(None, feed)[0]
    np.testing.assert_array_equal(emulated(fitted, saturate=True).run(None, feed)[0], exact)
    # The emulation is that of this machine's runtime, wherever its kernels are exact.
    assert np.abs(run_onnx(fitted, feed)[0].astype(int) - exact).max() <= 1
    bad = emulated(full, saturate=True).run(None, feed)[0]
    good = emulated(full, saturate=False).run(None, feed)[0]
    assert psnr(bad[0], good[0]) < 45 < psnr(exact[0], good[0])


def test_gates_have_their_fixed_range() -> None:
    model = plain(tiny_network())
    store = store_of(model)
    # Whatever calibration saw: gates lie in 0..1, and so does the anchor's picture.
    wild = {name: Range(-3.0, 5.0) for name in store.ranges}
    small = write_qdq(model, ScaleStore(wild, "mse", "", 1, ""))
    tables = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    fixed = [name for name in tables if name.endswith("_vote:codes:scale")]
    fixed += [n for n in tables if n.endswith("gate:codes:scale")]
    assert len(fixed) == 4
    for name in [*fixed, "anchor/Conv:codes:scale"]:
        assert tables[name] == np.float32(1 / 255), name
        assert tables[name.replace(":scale", ":zero")] == 0


def test_movement_shares_one_scale() -> None:
    model = plain(tiny_network())
    small = write_qdq(model, store_of(model))
    tables = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    dequantizers = {n.output[0]: n for n in small.graph.node if n.op_type == "DequantizeLinear"}
    quantizers = {n.input[0]: n for n in small.graph.node if n.op_type == "QuantizeLinear"}
    moved = 0
    for node in small.graph.node:
        if node.op_type in ("Concat", "DepthToSpace", "Split") and node.input[0] in dequantizers:
            ends = [dequantizers[name].input[1:] for name in node.input]
            ends += [quantizers[name].input[1:] for name in node.output]
            assert len({(float(tables[s]), int(tables[z])) for s, z in ends}) == 1
            moved += 1
    assert moved == 3


def test_a_channel_of_no_weight_keeps_its_bias() -> None:
    """Its scale must not shrink with its weights: the bias has to fit into 32 bits."""
    network = tiny_network()
    with torch.no_grad():
        network.sharing.artefact.stem.weight[:8] = 0.0
        network.sharing.artefact.stem.weight[8:] *= 1e-12
        assert network.sharing.artefact.stem.bias is not None
        network.sharing.artefact.stem.bias.copy_(torch.linspace(0.2, 1.0, 16))
    model = plain(network)
    small = write_qdq(model, store_of(model))
    picture = scenes(1)[0][None]
    probe = onnx.ModelProto()
    probe.CopyFrom(small)
    name = "sharing.artefact/Relu"
    probe.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    seen = run_onnx(probe, {"image": picture}, name)[0]
    expected = np.linspace(0.2, 1.0, 16)[None, :, None, None]
    np.testing.assert_allclose(seen, np.broadcast_to(expected, seen.shape), atol=0.005)


def test_zero_is_exact() -> None:
    for low, high in ((0.0, 1.0), (-0.3, 1.7), (-5.0, 0.0), (-1e-9, 1.0), (-1e3, 1e-6)):
        scale, zero = activation_scale(Range(low, high))
        assert scale > 0 and 0 <= zero <= 255 and zero.dtype == np.uint8
        reach = ((0 - int(zero)) * float(scale), (255 - int(zero)) * float(scale))
        assert reach[0] == pytest.approx(low, abs=float(scale))
        assert reach[1] == pytest.approx(high, abs=float(scale))


def test_a_missing_range_is_named() -> None:
    model = plain(tiny_network())
    store = store_of(model)
    name = quantized_values(model)[5]
    ranges = {k: v for k, v in store.ranges.items() if k != name}
    with pytest.raises(InputError, match=f"lacks the range of '{name}'"):
        write_qdq(model, ScaleStore(ranges, "mse", "", 1, ""))


def test_the_float_model_is_left_alone_and_the_result_repeats() -> None:
    model = plain(tiny_network())
    store, before = store_of(model), model.SerializeToString()
    one, two = write_qdq(model, store), write_qdq(model, store)
    assert model.SerializeToString() == before
    assert one.SerializeToString() == two.SerializeToString()
    assert [v.name for v in one.graph.input] == ["image"]
    # A quarter of the weights' bytes, and a little for scales and the graph.
    assert _weights(one) < 0.35 * _weights(model)
    modules = dict(tiny_network().named_modules())
    for node in one.graph.node:
        owner = node.name.split("/")[0].split(":")[0]
        path = owner.rsplit(".", 1)[0] if owner.endswith(("weight", "bias")) else owner
        assert path in ("input", "output", "network") or path in modules, node.name


def _weights(model: onnx.ModelProto) -> int:
    return sum(len(t.raw_data) for t in model.graph.initializer)
