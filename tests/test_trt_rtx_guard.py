"""No creator of our operators ever stands where TensorRT-RTX's parser could find it.

The parser of the real TensorRT-RTX ends its process over one; so each case has its own.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest

from acf_edge.engine.trt.api import create_builder, create_network, create_parser, load_api
from acf_edge.engine.trt.plugin import register
from acf_edge.errors import InputError

HERE = Path(__file__).resolve().parent
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="no TensorRT-RTX"
)
START = """
import sys
import onnx
from acf_edge.engine.trt import api as trt
from acf_edge.engine.trt.plugin_class import make_creator
from acf_edge.errors import InputError

api = trt.load_api("tensorrt_rtx")
creator = make_creator(api, "JunctionVote", lambda: None)
network = trt.create_network(api, trt.create_builder(api))
model = onnx.parser.parse_model('''
  <ir_version: 8, opset_import: ["" : 17, "acf" : 1]>
  g (float16[1,6,8,8] x, float16[1,6,8,8] e, float16[6,6] w, float16[6] b)
    => (float16[1,2,8,8] y) {
    y = acf.JunctionVote<branches=3, plugin_namespace="acf", plugin_version="1">(x, e, w, b)
  }''').SerializeToString()
"""


def process(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        check=False,
    )


@needs_rtx
def test_without_a_creator_the_parser_complains_in_words() -> None:
    done = process(
        """
        assert not trt.create_parser(api, network).parse(model)
        print(api.last_error())
        """
    )
    assert done.returncode == 0, done.stderr
    assert "JunctionVote" in done.stdout


@needs_rtx
def test_with_one_it_ends_the_process() -> None:
    """What the guard is for: should a version stop doing so, it can go."""
    done = process(
        """
        api.module.get_plugin_registry().register_creator(creator, "acf")
        print("parsing", flush=True)
        api.module.OnnxParser(network, api.logger).parse(model)
        print("alive")
        """
    )
    assert done.returncode == -signal.SIGABRT, done.stderr
    assert "parsing" in done.stdout
    assert "alive" not in done.stdout


@needs_rtx
def test_the_guard_stands_before_it() -> None:
    done = process(
        """
        api.module.get_plugin_registry().register_creator(creator, "acf")
        try:
            trt.create_parser(api, network)
        except InputError as error:
            print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "JunctionVote" in done.stdout
    assert "process of its own" in done.stdout


@needs_rtx
def test_we_never_register_with_it() -> None:
    api = load_api("tensorrt_rtx")
    with pytest.raises(InputError, match="knows no plugins"):
        register(api)
    names = {creator.name for creator in api.module.get_plugin_registry().all_creators}
    assert not names & {"JunctionVote", "ChannelSpatialAttention"}


def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    classic, rtx = fake_tensorrt.make("11.4.0"), fake_tensorrt.make("1.7.1", rtx=True)
    monkeypatch.setitem(sys.modules, "tensorrt", classic)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    return classic, rtx


def test_plugins_of_classic_tensorrt_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    both(monkeypatch)
    register(load_api("tensorrt"))
    api = load_api("tensorrt_rtx")
    network = create_network(api, create_builder(api))
    with pytest.raises(InputError, match="ChannelSpatialAttention and JunctionVote"):
        create_parser(api, network)


def test_where_both_share_a_registry_nothing_stays_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classic, rtx = both(monkeypatch)
    rtx.registry = classic.registry
    with pytest.raises(InputError, match="different processes"):
        register(load_api("tensorrt"))
    assert classic.registry.all_creators == []
