"""Milliseconds per layer from TensorRT, in the form that the profile reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from trt_rig import expected, picture, rig, write_trt_bundle

from acf_edge.engine.graph import Graph, Node
from acf_edge.engine.trt.profiler import PROVIDER, LayerClock, kind_of, trace_name
from acf_edge.engine.trt.runtime import TrtEngine, load_trt, open_trt
from acf_edge.profile.owners import Owners
from acf_edge.profile.trace import kernels_per_run


def test_every_frame_has_its_layers(tmp_path: Path) -> None:
    with rig() as found:
        found.world.layer_times = (("stem/Conv", 0.25), ("junction", 0.5), ("stem/Conv", 0.125))
        engine = load_trt(write_trt_bundle(tmp_path / "bundle"), None, True, False)
        assert isinstance(engine, TrtEngine)
        for seed in range(5):
            frame = picture(16, 8, seed)
            assert np.array_equal(engine.run(frame), expected(frame))
        assert "cuGraphLaunch" not in found.machine.calls
        runs = kernels_per_run(engine.end_profiling())
        engine.close()
        with pytest.raises(ValueError):
            engine.end_profiling()
    assert len(runs) == 5
    for run in runs:
        assert [(one.name, one.occurrence, one.duration) for one in run] == [
            ("stem/Conv", 0, 250),
            ("junction", 0, 500),
            ("stem/Conv", 1, 125),
        ]
        assert run[0].provider == PROVIDER
        # The engine tells the one layer's kind; the other one's is guessed from its name.
        assert [one.op for one in run] == ["CaskConvolution", "junction", "CaskConvolution"]


def test_an_engine_that_records_nothing(tmp_path: Path) -> None:
    with rig():
        engine = open_trt(write_trt_bundle(tmp_path / "bundle"))
        with pytest.raises(ValueError, match="no profile"):
            engine.end_profiling()
        engine.close()


def test_layers_shorter_than_a_microsecond_add_up() -> None:
    clock = LayerClock()
    for _ in range(1000):
        clock.add("a/Conv", 0.0004)
    clock.end_frame(1e-6)  # a host's clock that disagrees
    clock.add("a/Conv", 2.0)
    clock.end_frame(0.5)
    first, second = kernels_per_run(clock.trace())
    assert abs(sum(one.duration for one in first) - 400) <= 1
    assert [one.duration for one in second] == [2000]
    frames = [event for event in json.loads(clock.trace()) if event["name"] == "model_run"]
    assert frames[1]["dur"] == 500_000
    assert frames[0]["ts"] + frames[0]["dur"] < frames[1]["ts"]


NAMES = [
    # TensorRT's name, the module that owns it, what it does
    ("sharing.stem/Conv", "sharing.stem", "Conv"),
    ("sharing.stem/Conv + sharing.stem/Relu", "sharing.stem", "Conv"),
    ("PWN(sharing.gate/Sigmoid, sharing.gate/Mul)", "sharing.gate", "Sigmoid"),
    ("Reformatting CopyNode for Input Tensor 0 to sharing.stem/Conv", "sharing.stem", "Reformat"),
    ("{ForeignNode[sharing.gate/Sigmoid...sharing.stem/Conv]}", "sharing.gate", "Sigmoid"),
    ("__myl_Conv_0x1234", "(layout)", "myl"),
]


@pytest.mark.parametrize(("layer", "module", "kind"), NAMES)
def test_layers_find_their_modules(layer: str, module: str, kind: str) -> None:
    names = ["sharing.stem/Conv", "sharing.stem/Relu", "sharing.gate/Sigmoid", "sharing.gate/Mul"]
    nodes = tuple(Node(name, name.rpartition("/")[2], "", (), ()) for name in names)
    network = Graph(nodes=nodes, opset=18, ir_version=9, external=False)
    assert Owners(network, None).modules([(trace_name(layer), kind_of(layer))]) == [module]
    if module != "(layout)":
        assert kind_of(layer) == kind
