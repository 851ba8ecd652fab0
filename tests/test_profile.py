"""Profiles: the layers add up, and each has its module."""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from toy_bundles import network, write_toy
from trt_rig import rig, write_trt_bundle

from acf_edge.cli import profile as verb
from acf_edge.engine import Bundle
from acf_edge.engine.graph import Graph, Node
from acf_edge.errors import InputError
from acf_edge.profile import LatencyProfile, parse_size, profile_bundle
from acf_edge.profile.latency import OVERHEAD_NAME
from acf_edge.profile.owners import Owners, module_of
from acf_edge.profile.picture import latency_html
from acf_edge.profile.trace import kernels_per_run
from acf_edge.report import latency_svg

MODULES = {
    "acf.enter",
    "sharing.stem.conv",
    "sharing.deblur.0.conv1",
    "sharing.deblur.0.conv2",
    "sharing.deblur.0",
    "junction.vote",
    "reconstruction.up",
    "reconstruction.shuffle",
    "acf.leave",
}


@pytest.fixture(scope="module", params=["fp32", "int8"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    model = network(quantize=request.param == "int8")
    folder = tmp_path_factory.mktemp("profile") / "toy.bundle"
    return write_toy(folder, model, precision=request.param)


@pytest.fixture(scope="module")
def profile(bundle: Bundle) -> LatencyProfile:
    return profile_bundle(bundle.path, 64, 48, runs=9, warmup=2, threads=1)


def test_the_layers_add_up_to_the_total(profile: LatencyProfile) -> None:
    assert profile.total_ms > 0 and profile.unprofiled_ms > 0
    total = sum(layer.ms for layer in profile.layers)
    assert total == pytest.approx(profile.total_ms, rel=0.1)
    assert sum(layer.share for layer in profile.layers) == pytest.approx(1, abs=1e-6)
    assert all(layer.ms >= 0 for layer in profile.layers)
    assert profile.layers[-1].module == "(runtime)"
    assert profile.layers[-1].ms == profile.overhead_ms


def test_every_layer_is_owned_by_a_module_of_the_network(profile: LatencyProfile) -> None:
    found = {layer.module for layer in profile.layers[:-1]}
    assert found <= MODULES
    assert {"sharing.stem.conv", "sharing.deblur.0.conv2", "reconstruction.up"} <= found
    assert "junction.vote" in found


def test_convolutions_belong_to_their_own_modules(profile: LatencyProfile) -> None:
    owners = [layer.module for layer in profile.layers if layer.op.endswith("Conv")]
    assert owners == [
        "sharing.stem.conv",
        "sharing.deblur.0.conv1",
        "sharing.deblur.0.conv2",
        "reconstruction.up",
    ]


def test_layers_come_in_order_of_execution(profile: LatencyProfile) -> None:
    stages = [layer.module.split(".")[0] for layer in profile.layers]
    assert stages.index("sharing") < stages.index("junction") < stages.index("reconstruction")


def test_modules_sum_to_the_total(profile: LatencyProfile) -> None:
    modules = profile.modules()
    assert sum(ms for _, ms in modules) == pytest.approx(profile.total_ms)
    assert "sharing.deblur" in dict(modules)
    assert modules == sorted(modules, key=lambda item: -item[1])


def test_json_has_what_readers_look_for(profile: LatencyProfile) -> None:
    data = json.loads(profile.dumps())
    assert {"total_ms", "layers", "unprofiled_ms", "overhead_ms", "machine", "engine"} <= set(data)
    assert (data["width"], data["height"], data["threads"], data["runs"]) == (64, 48, 1, 9)
    assert {"cpu", "cores"} <= set(data["machine"])
    assert datetime.fromisoformat(data["date"]).tzinfo is not None
    for layer in data["layers"]:
        assert {"name", "op", "module", "ms", "calls", "share", "provider"} == set(layer)


def test_the_picture_is_whole_and_loads_nothing(profile: LatencyProfile) -> None:
    svg = ElementTree.fromstring(latency_svg(profile.to_json(), smallest=0.0))
    words = " ".join("".join(element.itertext()) for element in svg.iter())
    assert all(layer.module in words for layer in profile.layers)
    page = latency_html(profile)
    assert "sharing.deblur" in page and f"{profile.total_ms:.1f} ms" in page
    for word in ("http://", "https://", "src=", "href=", "@import", "url("):
        assert word not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(words)


def test_the_verb_writes_json_page_and_table(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(bundle.path), "--size", "16x12", "--runs", "2", "--threads", "1"]
    files = ["--json", str(tmp_path / "p.json"), "--html", str(tmp_path / "p.html")]
    assert verb.run(arguments(*common, *files)) == 0
    assert "sharing.stem" in capsys.readouterr().out
    assert json.loads((tmp_path / "p.json").read_text())["width"] == 16
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")
    assert verb.run(arguments(*common, "--json", "-")) == 0
    assert json.loads(capsys.readouterr().out)["height"] == 12


@pytest.mark.parametrize(
    "text",
    ["", "320", "320x", "x180", "0x180", "320x-1", "320x180x3", "axb", "3²x4", "9" * 30 + "x1"],
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="size"):
        parse_size(text)


def test_sizes() -> None:
    assert parse_size("320x180") == (320, 180)
    assert parse_size("1X2") == (1, 2)
    with pytest.raises(InputError, match="out of range"):
        parse_size("100000x100000")


@pytest.mark.parametrize("runs", [0, -5, 10_000])
def test_numbers_of_runs_that_make_no_sense(bundle: Bundle, runs: int) -> None:
    with pytest.raises(InputError, match="runs"):
        profile_bundle(bundle, 16, 12, runs=runs)


def test_layers_on_a_gpu(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "gpu.bundle", models={"model.onnx": network()})
    with rig() as found:
        profile = profile_bundle(bundle, 16, 8, runs=6, warmup=1)
        assert profile_bundle(bundle, 32, 16, runs=2, warmup=0).runs == 2
    times = dict(found.world.layer_times)
    layers = {layer.name: layer.ms for layer in profile.layers}
    for name, ms in times.items():
        assert layers[name] == pytest.approx(ms, abs=2e-3)
    # The layers and what a frame costs beside them make the frame.
    assert sum(layers.values()) == pytest.approx(profile.total_ms)
    assert profile.layers[-1].name == OVERHEAD_NAME
    assert "tensorrt 10.3.0" in profile.runtime and profile.runs == 6
    json.loads(profile.dumps())


def test_an_engine_for_another_gpu_is_not_profiled(tmp_path: Path) -> None:
    bundle = write_trt_bundle(tmp_path / "gpu.bundle", models={"model.onnx": network()})
    with rig(sm="89"), pytest.raises(InputError, match="SM 87"):
        profile_bundle(bundle, 16, 8)


def event(name: str, start: int, duration: int, **arguments: str) -> dict[str, Any]:
    category = "Session" if name == "model_run" else "Node"
    return {"cat": category, "name": name, "ts": start, "dur": duration, "args": arguments}


def test_kernels_are_sorted_into_their_runs() -> None:
    trace = [
        event("session_initialization", 0, 5),
        event("loop_kernel_time", 110, 50, op_name="Loop"),
        event("inside_kernel_time", 120, 10, op_name="Add"),  # its time is in the loop's
        event("a_kernel_time", 160, 20, op_name="Conv", provider="CPU"),
        event("a_kernel_time", 180, 5, op_name="Conv"),
        event("a_fence_before", 180, 0),
        event("model_run", 100, 100),
        event("model_run", 300, 100),
        event("a_kernel_time", 300, 100, op_name="Conv"),
        event("late_kernel_time", 900, 1),
    ]
    runs = kernels_per_run(json.dumps(trace))
    assert [[(one.name, one.occurrence, one.duration) for one in run] for run in runs] == [
        [("loop", 0, 50), ("a", 0, 20), ("a", 1, 5)],
        [("a", 0, 100)],
    ]
    assert (runs[0][1].op, runs[0][1].provider) == ("Conv", "CPU")


def node(name: str, op: str, inputs: str, outputs: str) -> Node:
    return Node(name, op, "", tuple(inputs.split()), tuple(outputs.split()))


NETWORK = Graph(
    9,
    18,
    (
        node("stem/Conv", "Conv", "x", "a"),
        node("body/Relu", "Relu", "a", "b"),
        node("up/Conv", "Conv", "b", "c"),
        node("up/Conv_1", "Conv", "c", "d"),
        node("leave/Cast", "Cast", "d", "y"),
        node("plain", "Cast", "y", "z"),
    ),
    False,
)
RUNNING = Graph(
    9,
    18,
    (
        node("ReorderInput", "ReorderInput", "x", "t0"),
        node("b_nchwc", "Conv", "t0", "t1"),
        node("Reorder_token_3", "ReorderOutput", "t1", "t2"),
        node("up/Conv_token_12", "QLinearConv", "t2", "t3"),
        node("up/Conv_1_token_13", "QLinearConv", "t3", "t4"),
        node("last", "ReorderOutput", "t4", "t5"),
    ),
    False,
)


@pytest.mark.parametrize(
    ("kernel", "op", "module"),
    [
        # kernel, operator that ran, owner and why
        ("stem/Conv", "FusedConv", "stem"),  # kept its name
        ("up/Conv_token_12", "QLinearConv", "up"),  # lengthened
        ("up/Conv_1_token_13", "QLinearConv", "up"),
        ("b_nchwc", "Conv", "stem"),  # named after the ReLU that was fused into it
        ("body/Relu", "Relu", "body"),
        ("c_nchwc", "Conv", "up"),
        ("ReorderInput", "ReorderInput", "stem"),  # owned by what it feeds
        ("Reorder_token_3", "ReorderOutput", "up"),
        ("last", "ReorderOutput", "up"),  # feeds nothing: owned by what feeds it
        ("stranger", "Transpose", "(layout)"),
    ],
)
def test_kernels_find_their_way_back(kernel: str, op: str, module: str) -> None:
    assert Owners(NETWORK, RUNNING).modules([(kernel, op)]) == [module]


def test_without_the_running_graph_strangers_have_no_owner() -> None:
    owners = Owners(NETWORK, None)
    kernels = [("up/Conv_token_12", "QLinearConv"), ("ReorderInput", "ReorderInput")]
    assert owners.modules(kernels) == ["up", "(layout)"]


def test_nodes_without_a_name_are_known_by_their_place() -> None:
    nodes = [
        node("", "Relu", "x", "a"),
        node("", "Relu", "a", "b"),
        node("s/Conv", "Conv", "b", "c"),
    ]
    network = Graph(
        9, 18, (node("s/Conv", "Conv", "b", "c"), node("r/Relu", "Relu", "x", "a")), False
    )
    kernels = [("Relu_7", "Relu"), ("Relu_4", "Relu"), ("s/Conv", "Conv")]
    owners = Owners(network, Graph(9, 18, tuple(nodes), False))
    assert owners.modules(kernels) == ["r", "s", "s"]
    assert owners.modules(kernels[:2]) == ["(layout)", "(layout)"]


def test_module_paths_in_node_names() -> None:
    assert module_of("a.b/Conv_3") == "a.b"
    assert module_of("a.b/weight/DequantizeLinear") == "a.b"
    assert module_of("/a/b/Conv") == "a.b"
    assert module_of("Conv_3") == ""
