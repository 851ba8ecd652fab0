"""Layer tables in every form that TensorRT prints them."""

from __future__ import annotations

import json

import pytest

from acf_edge.engine.trt.layers import (
    Layer,
    data_type,
    layers_from_inspector,
    layers_from_log,
    parse_layer,
    summarize,
)

# TensorRT-RTX and TensorRT 11: type and format apart.
FUSED = (
    "Name: __myl_CorrAdd_myl0_3, LayerType: runtime_fusion, Inputs: [ { Name: a, Dimensions: "
    "[1,16,-1,-1], Strides: [-1,1,-1,16], Datatype: FP8, Format: (NHWC) Channel major format }, "
    "{ Name: b, Dimensions: [1,16,-1,-1], Datatype: Half, Format: (NHWC) Channel major format }], "
    "Constants: [ { Name: w, Dimensions: [16,16,3,3], Datatype: FP8, Format: (NHWC) Channel major "
    "format }], Outputs: [ { Name: c, Dimensions: [1,16,-1,-1], Datatype: Float, Format: (NHWC) "
    "Channel major format }], TacticName: stub_0x1, StreamId: 0, Metadata: [ONNX Layer: up/Conv]"
    "[ONNX Layer: up/Relu][ONNX Layer: up/Conv]"
)
# TensorRT 10: type and format in one description, weights as an attribute.
CASK = (
    "Name: up/Conv + up/Relu, LayerType: CaskConvolution, Inputs: [ { Name: a[0], Location: "
    "Device, Dimensions: [1,32,180,320], Format/Datatype: Thirty-two wide channel vectorized row "
    "major Int8 format }], Outputs: [ { Name: c, Location: Device, Dimensions: [1,32,180,320], "
    "Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], ParameterType: "
    'Convolution, Kernel: [3,3], Groups: 1, Weights: {"Type": "Int8", "Count": 9216}, Bias: '
    '{"Type": "Float", "Count": 32}, TacticName: sm80_xmma_i8, TacticValue: 0x1f, StreamId: 0, '
    "Metadata: [ONNX Layer: up/Conv]"
)
PLUGIN = (
    "Name: junction, LayerType: PluginV3, Inputs: [ { Name: f, Location: Device, Dimensions: "
    "[1,96,90,160], Format/Datatype: Channel major FP16 format where channel % 8 == 0 }], "
    "Outputs: [ { Name: j, Location: Device, Dimensions: [1,32,90,160], Format/Datatype: Channel "
    "major FP16 format where channel % 8 == 0 }], TacticValue: 0x0, StreamId: 0, Metadata: "
)
# Below detailed verbosity, and from older versions.
OLD = (
    "Layer(CaskConvolution): up/Conv + up/Relu, Tactic: 0x4727434768e46395, "
    "a b[Int8(1,32,180,320)], s[Half(1,32,180,320)] -> (Unnamed)_output[Half(1,32,180,320)]"
)


def test_a_fused_layer() -> None:
    layer = parse_layer(FUSED)
    assert layer == Layer(
        name="__myl_CorrAdd_myl0_3",
        kind="runtime_fusion",
        inputs=("fp8", "fp16"),
        outputs=("fp32",),
        constants=("fp8",),
        sources=("up/Conv", "up/Relu"),
        tactic="stub_0x1",
    )
    assert layer.convolution
    assert not layer.plugin


def test_a_layer_of_tensorrt_10() -> None:
    layer = parse_layer(CASK)
    assert layer is not None
    assert (layer.name, layer.kind) == ("up/Conv + up/Relu", "CaskConvolution")
    assert (layer.inputs, layer.outputs, layer.constants) == (("int8",), ("int8",), ("int8",))
    assert layer.tactic == "sm80_xmma_i8"
    assert layer.convolution


def test_a_plugin() -> None:
    layer = parse_layer(PLUGIN)
    assert layer is not None
    assert layer.plugin
    assert not layer.convolution
    assert (layer.inputs, layer.outputs) == (("fp16",), ("fp16",))


def test_the_old_form() -> None:
    layer = parse_layer(OLD)
    assert layer is not None
    assert (layer.name, layer.kind) == ("up/Conv + up/Relu", "CaskConvolution")
    assert (layer.inputs, layer.outputs) == (("int8", "fp16"), ("fp16",))
    assert layer.tactic == "0x4727434768e46395"
    bare = parse_layer("Layer(Conv): up/Conv, Tactic: 0x0")
    assert bare is not None
    assert (bare.name, bare.inputs, bare.outputs) == ("up/Conv", (), ())


def test_names_with_brackets_and_commas_do_not_confuse() -> None:
    name = "{ForeignNode[a, b...c/Conv_(x), d]}"
    line = CASK.replace("up/Conv + up/Relu", name).replace("a[0]", "t[1], u] {")
    layer = parse_layer(line)
    assert layer is not None
    assert layer.name == name
    assert layer.outputs == ("int8",)


@pytest.mark.parametrize(
    "line", ["", "Engine generation completed in 3 seconds.", "Name: image, IOMode: Input", "{"]
)
def test_a_line_that_is_no_layer(line: str) -> None:
    assert parse_layer(line) is None


def test_a_table_in_one_message_and_in_many() -> None:
    whole = f"Layers:\n{FUSED}\n{CASK}\n{PLUGIN}\n\nI/O Tensors:\n Name: image, IOMode: Input"
    single = ["Layers:", FUSED, CASK, PLUGIN]
    for messages in ([whole], single, ["before", *single, "Engine generation completed"]):
        assert [one.kind for one in layers_from_log(messages)] == [
            "runtime_fusion",
            "CaskConvolution",
            "PluginV3",
        ]


def test_the_last_table_counts() -> None:
    first, second = f"Layers:\n{FUSED}", f"Engine Layer Information:\n{OLD}\n{OLD}"
    assert [one.kind for one in layers_from_log([first, second])] == ["CaskConvolution"] * 2
    assert layers_from_log(["nothing", "of the kind"]) == ()


def test_the_inspector_s_json() -> None:
    text = json.dumps(
        {
            "Layers": [
                {
                    "Name": "up/Conv",
                    "LayerType": "CaskConvolution",
                    "Inputs": [{"Name": "a", "Format/Datatype": "Row major linear FP16 format"}],
                    "Outputs": [{"Name": "b", "Datatype": "Half", "Format": "(NHWC)"}],
                    "Weights": {"Type": "Half", "Count": 9216},
                    "TacticName": "xmma",
                    "Metadata": "[ONNX Layer: up/Conv]",
                },
                "a layer of which only the name is told",
            ],
            "Bindings": ["image", "enhanced"],
        }
    )
    first, second = layers_from_inspector(text)
    assert (first.inputs, first.outputs, first.constants) == (("fp16",), ("fp16",), ("fp16",))
    assert (first.sources, first.tactic) == (("up/Conv",), "xmma")
    assert (second.name, second.kind) == ("a layer of which only the name is told", "?")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"Layers": 3}', '{"Layers": [3]}'])
def test_an_inspector_s_text_that_is_none(text: str) -> None:
    assert layers_from_inspector(text) == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("Row major linear FP32", "fp32"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Row major Int8 format", "int8"),
        ("UInt8", "uint8"),
        ("BFloat16", "bf16"),
        ("something new", "?"),
        ("", "?"),
    ],
)
def test_data_types(text: str, name: str) -> None:
    assert data_type(text) == name


def test_the_summary() -> None:
    table = tuple(one for one in map(parse_layer, (FUSED, CASK, PLUGIN)) if one)
    dla = Layer("{ForeignNode[x]}", "DLA", ("int8",), ("int8",))
    waits = Layer("__mye4444_myl0_10", "wait", (), ())
    found = summarize((*table, waits, dla))
    assert found.layers == 4
    assert found.convolutions == {"fp8": 1, "int8": 1}
    assert (found.widened, found.plugins, found.dla) == (1, ("junction",), 1)
    assert str(found) == (
        "4 layers; convolutions: 1 in fp8, 1 in int8; 1 of them widen their result; "
        "on the deep-learning accelerator: 1; plugins: 1"
    )


def test_a_table_of_names_alone_counts_them() -> None:
    assert summarize((Layer("a", "?", (), ()), Layer("b", "?", (), ()))).layers == 2


def test_casts_and_concatenations_are_no_convolutions() -> None:
    for name, kind in (
        ("__myl_CastMulConc_myl0_1", "kgen"),
        ("convert", "Reformat"),
        ("x", "Converter"),
        ("up/Conv:quantize", "kgen"),
    ):
        assert not Layer(name, kind, (), ()).convolution
