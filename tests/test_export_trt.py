"""The models that TensorRT is given: what is in them, and that they compute what torch does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tiny_networks import Image, noise, run_onnx, scenes, tiny_config, tiny_network

from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError
from acf_edge.export import qdq_ort
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.trt.core import count_types
from acf_edge.export.trt.judged import for_onnxruntime
from acf_edge.export.trt.numbers import FP8, INT8, activation_step, quantize_weight, short
from acf_edge.export.trt.write import (
    PRECISIONS,
    measure_means,
    quantized_values,
    write_tensorrt,
)
from acf_edge.imaging.metrics import psnr
from acf_edge.model.config import VOTINGS
from acf_edge.model.plain import build_network

LEAST = {"fp32": 90.0, "fp16": 64.0, "int8": 50.0, "fp8": 50.0}
"""dB between a form and the plain network."""
DQ = "DequantizeLinear"


@cache
def voting_of(voting: str) -> tuple[onnx.ModelProto, ScaleStore]:
    """A network of that voting, plain, and its store."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = export_network(build_network(replace(tiny_config(), voting=voting)).eval())
    return plain, store_of(plain)


@cache
def shape_of(scale: int, fold: int) -> tuple[onnx.ModelProto, ScaleStore]:
    plain = export_network(tiny_network(tiny_config(scale, fold)))
    return plain, store_of(plain)


def store_of(plain: onnx.ModelProto) -> ScaleStore:
    """One store for both dialects: it was calibrated for the CPU's."""
    model = inline_operators(plain)
    values = qdq_ort.quantized_values(model)
    return calibrate(model, values, scenes(3), source="scenes", weights_sha256="")


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    return export_network(tiny_network())


@pytest.fixture(scope="module")
def store(plain: onnx.ModelProto) -> ScaleStore:
    return store_of(plain)


def run(model: onnx.ModelProto, pictures: Image) -> Image:
    result: Image = run_onnx(for_onnxruntime(model), {"image": pictures})[0]
    return result


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


@pytest.mark.parametrize("scale, fold", [(2, 1), (4, 2)])
@pytest.mark.parametrize("plugins", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_form_computes_what_the_plain_network_does(
    scale: int, fold: int, precision: str, plugins: bool
) -> None:
    plain, store = shape_of(scale, fold)
    before = plain.SerializeToString()
    model = write_tensorrt(plain, precision=precision, store=store, plugins=plugins)
    assert plain.SerializeToString() == before
    for pictures in (np.stack(scenes(5)[3:]), noise(17, 23)[None], noise(1, 1)[None]):
        ours, theirs = run(model, pictures), run_onnx(plain, {"image": pictures})[0]
        assert ours.shape == theirs.shape and ours.dtype == np.uint8
        if pictures.shape[1] > 17:
            assert psnr(ours[0], theirs[0]) >= LEAST[precision]
            assert psnr(ours[1], theirs[1]) >= LEAST[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_is_one_that_the_parser_of_10_reads(
    plain: onnx.ModelProto, store: ScaleStore, precision: str
) -> None:
    model = write_tensorrt(plain, precision=precision, store=store)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert model.ir_version <= 10 and not model.functions
    (entry,), (end,) = model.graph.input, model.graph.output
    assert (entry.name, end.name) == ("image", "enhanced")
    for value in (entry, end):
        assert value.type.tensor_type.elem_type == TensorProto.UINT8
    # uint8 exists for inputs and outputs alone: it is converted before anything else.
    takers = [node.op_type for node in model.graph.node if "image" in node.input]
    assert takers == ["Cast"]
    assert makers(model)["enhanced"].op_type == "Cast"
    whole = onnx.shape_inference.infer_shapes(model).graph
    inside = {v.type.tensor_type.elem_type for v in whole.value_info}
    assert TensorProto.UINT8 not in inside
    floats = {"fp32": TensorProto.FLOAT}.get(precision, TensorProto.FLOAT16)
    types = {v.name: v.type.tensor_type.elem_type for v in whole.value_info}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert types[node.output[0]] == floats, node.name


@pytest.mark.parametrize("precision, kind", [("int8", INT8), ("fp8", FP8)])
def test_codes_are_symmetric_and_as_fusions_want_them(
    plain: onnx.ModelProto, store: ScaleStore, precision: str, kind: object
) -> None:
    model = write_tensorrt(plain, precision=precision, store=store)
    made, known = makers(model), constants(model)
    uses = Counter(name for node in model.graph.node for name in node.input)
    code = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}[precision]
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", DQ):
            scale, zero = known[node.input[1]], known[node.input[2]]
            assert zero.data_type == code and not any(zero.raw_data)
            assert scale.data_type == TensorProto.FLOAT16 and scale.dims == zero.dims
            assert (numpy_helper.to_array(scale) > 0).all()
            if node.op_type == "QuantizeLinear":
                # A list of one scale is taken for one per channel, and nothing is fused.
                assert list(scale.dims) == []
            else:
                assert uses[node.output[0]] == 1
        if node.op_type == "Conv" and made[node.input[0]].op_type == DQ:
            weight = made[node.input[1]]
            assert weight.op_type == DQ and known[weight.input[0]].data_type == code
            wanted = [known[weight.input[0]].dims[0]] if precision == "int8" else []
            assert list(known[weight.input[1]].dims) == wanted
            assert known[node.input[2]].data_type == TensorProto.FLOAT16 if node.input[2:] else True


@pytest.mark.parametrize("voting", VOTINGS)
def test_every_convolution_and_every_skip_is_int8(voting: str) -> None:
    plain, store = voting_of(voting)
    model = write_tensorrt(plain, precision="int8", store=store)
    made = makers(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert count_types(model) == {"int8": len(convolutions)}
    assert all(made[node.input[0]].op_type == DQ for node in convolutions)
    sums = [n for n in model.graph.node if n.op_type == "Add" and "blocks." in n.name]
    assert sums
    for node in sums:
        kinds = sorted(made[name].op_type for name in node.input)
        assert kinds == ["Conv", DQ], node.name
    # The sum that makes the picture is none of them.
    assert DQ not in {made[name].op_type for name in made["output/Folded"].input}


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_code_times_its_scale_is_a_number_of_fp16(
    plain: onnx.ModelProto, store: ScaleStore, precision: str
) -> None:
    """But for the interpolation's, whose codes have to add up."""
    model = write_tensorrt(plain, precision=precision, store=store)
    known = constants(model)
    for node in model.graph.node:
        if node.op_type != DQ or "anchor" in node.name:
            continue
        scale = numpy_helper.to_array(known[node.input[1]]).astype(np.float64)
        codes = np.arange(-128.0, 128.0)
        if precision == "fp8":
            every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
            codes = every[every.isfinite()].numpy()
        products = np.multiply.outer(scale, codes)
        tiny = np.abs(products) < 2.0**-14  # of E4M3's smallest codes
        exact = products.astype(np.float16).astype(np.float64) == products
        assert (exact | tiny).all(), node.name


def test_int8_codes_of_the_picture_are_its_pixels(
    plain: onnx.ModelProto, store: ScaleStore
) -> None:
    model = for_onnxruntime(write_tensorrt(plain, precision="int8", store=store))
    codes = onnx.helper.make_tensor_value_info("input/Centred:codes", TensorProto.INT8, None)
    model.graph.output.append(codes)
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    found = run_onnx(model, {"image": picture}, "input/Centred:codes")[0]
    inside = found[0, :, 2:18, 2:18].transpose(1, 2, 0).astype(int) + 128
    np.testing.assert_array_equal(inside, picture[0])


@pytest.mark.parametrize("precision", ["int8", "fp16"])
@pytest.mark.parametrize("scale, fold", [(2, 1), (4, 2)])
def test_flat_grey_comes_out_exactly(scale: int, fold: int, precision: str) -> None:
    """The anchor alone (no residual): its integer weights add up to one."""
    network = tiny_network(tiny_config(scale, fold))
    torch.nn.init.zeros_(network.reconstruction.tail.weight)
    torch.nn.init.zeros_(network.reconstruction.tail.bias)  # type: ignore[arg-type]
    plain = export_network(network)
    model = write_tensorrt(plain, precision=precision, store=store_of(plain))
    for level in (0, 1, 100, 127, 254, 255):
        picture = np.full((1, 7, 6, 3), level, np.uint8)
        picture[..., 1] = 255 - level
        out = run(model, picture)
        np.testing.assert_array_equal(out, picture.repeat(scale, 1).repeat(scale, 2))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_plugins_are_named_and_have_clean_borders(
    plain: onnx.ModelProto, store: ScaleStore, precision: str
) -> None:
    model = write_tensorrt(plain, precision=precision, store=store, plugins=True)
    inlined = write_tensorrt(plain, precision=precision, store=store)
    onnx.checker.check_model(model)
    assert not model.functions
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 20), ("acf", 1)}
    made, known = makers(model), constants(model)
    nodes = [node for node in model.graph.node if node.domain == "acf"]
    assert [node.op_type for node in nodes] == ["JunctionVote", "ChannelSpatialAttention"]
    wanted = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    for node in nodes:
        told = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "JunctionVote":
            assert told.pop("branches") == 3
        assert told == {
            "plugin_namespace": b"acf",
            "plugin_version": b"1",
            "features_scale": 0.0,
            "logits_scale": 0.0,
            "output_scale": 0.0,
        }
        for name in node.input:
            assert name not in known or known[name].data_type == wanted
            assert name in known or made[name].op_type not in (DQ, "QuantizeLinear")
    picture = scenes(4)[3][None]
    assert psnr(run(model, picture)[0], run(inlined, picture)[0]) >= 70.0


def test_a_network_without_operators_has_no_plugin_form() -> None:
    plain, _ = voting_of("plain")
    ours = write_tensorrt(plain, precision="fp16", plugins=True)
    assert ours == write_tensorrt(plain, precision="fp16")


def test_what_is_kept_stays_in_fp16(plain: onnx.ModelProto, store: ScaleStore) -> None:
    kept = ["anchor/Conv", "reconstruction.tail/Conv"]
    model = write_tensorrt(plain, precision="int8", store=store, keep=kept)
    made, known = makers(model), constants(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            coded = made[node.input[0]].op_type == DQ
            assert coded == (node.name not in kept)
            assert coded == (node.input[1] not in known)


def test_one_store_feeds_both_dialects(plain: onnx.ModelProto, store: ScaleStore) -> None:
    assert set(quantized_values(plain)) <= set(store.ranges)
    assert quantized_values(plain) == quantized_values(inline_operators(plain))
    lacking = replace(store, ranges={"network/Concat": Range(0.0, 1.0)})
    with pytest.raises(InputError, match=r"lacks the range of 'sharing\.artefact/Relu'"):
        write_tensorrt(plain, precision="int8", store=lacking)


def test_a_silent_branch_does_no_harm() -> None:
    """Its range is next to nothing, and FP16 has no such scale."""
    network = build_network(replace(tiny_config(), voting="none")).eval()
    with torch.no_grad():
        block = network.sharing.artefact.blocks[-1]
        block.project.weight.zero_()  # type: ignore[union-attr]
        block.project.bias.fill_(-1e3)  # type: ignore[union-attr]
    plain = export_network(network)
    store = store_of(plain)
    assert store.ranges["sharing.artefact.blocks.0/Relu_2"].high < 1e-5
    # So do stores that were calibrated for these dialects alone.
    narrow = {name: store.ranges[name] for name in quantized_values(plain)}
    picture = scenes(4)[3][None]
    for precision in ("int8", "fp8"):
        model = write_tensorrt(plain, precision=precision, store=store)
        alone = replace(store, ranges=narrow)
        assert model == write_tensorrt(plain, precision=precision, store=alone)
        ours = run(model, picture)
        assert psnr(ours[0], run_onnx(plain, {"image": picture})[0][0]) >= LEAST[precision]


def test_bad_requests_are_refused(plain: onnx.ModelProto, store: ScaleStore) -> None:
    with pytest.raises(InputError, match=r"Unknown precision 'int4'.*fp32, fp16, int8, fp8"):
        write_tensorrt(plain, precision="int4")
    with pytest.raises(InputError, match="needs a scale store"):
        write_tensorrt(plain, precision="int8")
    with pytest.raises(InputError, match="A DLA runs no plugins"):
        write_tensorrt(plain, precision="fp16", plugins=True, dla=True)
    with pytest.raises(InputError, match=r"needs the mean of 'junction/mean'"):
        write_tensorrt(plain, precision="fp16", dla=True)
    with pytest.raises(InputError, match="'nobody/Conv' is no convolution"):
        write_tensorrt(plain, precision="int8", store=store, keep=["nobody/Conv"])
    with pytest.raises(InputError, match="no pictures"):
        measure_means(plain, [])


@pytest.mark.parametrize("voting", VOTINGS)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_dla_gets_neither_global_pooling_nor_sigmoids(voting: str, precision: str) -> None:
    plain, store = voting_of(voting)
    means = measure_means(plain, scenes(2))
    model = write_tensorrt(plain, precision=precision, store=store, dla=True, means=means)
    onnx.checker.check_model(model, full_check=True)
    core = {n.op_type for n in model.graph.node if not n.name.startswith(("input/", "output/"))}
    never = {"GlobalAveragePool", "ReduceMean", "Sigmoid", "Gemm", "Flatten", "Unsqueeze"}
    assert not core & never
    picture = scenes(4)[3][None]
    ours = run(model, picture)
    assert psnr(ours[0], run_onnx(plain, {"image": picture})[0][0]) >= 40.0


def test_numbers_of_few_bits() -> None:
    assert short(0.0272, 4) == 0.02734375  # 14 / 512
    assert short(0.0272, 4, up=True) == 0.02734375
    assert short(1.01, 4, up=True) == 1.125 and short(1.01, 4) == 1.0
    assert float(activation_step(Range(-2.0, 1.0), INT8)) == 0.015625
    assert float(activation_step(Range(0.0, 1e-7), INT8)) == 2.0**-14
    weight = np.zeros((2, 1, 1, 2), np.float32)
    weight[0] = [[[0.5, -1.27]]]
    codes, scales = quantize_weight(weight, INT8)
    back = codes.view(np.int8) * scales.astype(np.float32)[:, None, None, None]
    assert np.abs(back - weight).max() <= float(scales[0]) / 2
    assert (np.abs(codes.view(np.int8).astype(int)) <= 127).all() and not codes[1].any()


def test_plugins_can_take_and_give_codes(plain: onnx.ModelProto, store: ScaleStore) -> None:
    forms = [
        write_tensorrt(plain, precision="int8", store=store, plugins=True, int8_plugins=coded)
        for coded in (True, False)
    ]
    made, known = makers(forms[0]), constants(forms[0])
    for node in forms[0].graph.node:
        if node.domain == "acf":
            told = {a.name: a.f for a in node.attribute if a.name.endswith("_scale")}
            for name, word in zip(node.input, ("features_scale", "logits_scale"), strict=False):
                assert made[name].op_type == "QuantizeLinear"
                assert float(numpy_helper.to_array(known[made[name].input[1]])) == told[word] > 0
            (taker,) = (n for n in forms[0].graph.node if node.output[0] in n.input)
            assert taker.op_type == DQ
            scale = float(numpy_helper.to_array(known[taker.input[1]]))
            assert scale == told["output_scale"] > 0
    picture = scenes(4)[3][None]
    theirs = run_onnx(plain, {"image": picture})[0][0]
    coded, wide = (psnr(run(form, picture)[0], theirs) for form in forms)
    assert coded >= 45.0 and abs(coded - wide) < 6.0
    mixed = write_tensorrt(
        plain,
        precision="int8",
        store=store,
        plugins=True,
        int8_plugins=True,
        keep=["reconstruction.tail/Conv"],
    )
    assert psnr(run(mixed, picture)[0], theirs) >= coded - 1.0
    for wrong in ({"precision": "fp16", "plugins": True}, {"precision": "int8"}):
        with pytest.raises(InputError, match="Only the plugins of an INT8 network"):
            write_tensorrt(plain, store=store, int8_plugins=True, **wrong)  # type: ignore[arg-type]
