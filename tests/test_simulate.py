"""The quantized network in torch against the quantized graph under ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tiny_networks import noise, run_onnx, scenes, tiny_config, tiny_network

from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.scales import Range, ScaleStore, load_scales
from acf_edge.compress.simulate import PRECISIONS, activation_step, simulate
from acf_edge.errors import InputError
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.trt.judged import for_onnxruntime
from acf_edge.export.trt.write import quantized_values, write_tensorrt
from acf_edge.imaging.metrics import psnr
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.config import VOTINGS
from acf_edge.model.network import AcfNetwork
from acf_edge.model.plain import build_network
from acf_edge.model.runner import run_network
from acf_edge.resources import default_bundle, weights_folder

AGREEMENT = 60.0
"""dB between the two."""


def store_of(plain: onnx.ModelProto) -> ScaleStore:
    model = inline_operators(plain)
    values = quantized_values(model)
    return calibrate(model, values, scenes(3), source="scenes", weights_sha256="")


def agreement(network: AcfNetwork, store: ScaleStore, precision: str, plugins: bool) -> float:
    """The least of some pictures."""
    model = write_tensorrt(
        export_network(network), precision=precision, store=store, plugins=plugins
    )
    graph = for_onnxruntime(model)
    simulated = simulate(network, store, precision)
    found = []
    for picture in (scenes(4, 60, 80)[3], noise(31, 27)):
        ours = run_onnx(graph, {"image": picture[None]})[0][0]
        found.append(psnr(ours, run_network(simulated, picture)))
    return min(found)


@pytest.mark.parametrize("plugins", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_shipped_network(precision: str, plugins: bool) -> None:
    network = load_checkpoint(weights_folder() / "acf-t-x4.safetensors").network
    store = load_scales(default_bundle() / "scales.json")
    assert agreement(network, store, precision, plugins) >= AGREEMENT


@pytest.mark.parametrize("voting", VOTINGS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_voting(voting: str, precision: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(replace(tiny_config(), voting=voting)).eval()
    store = store_of(export_network(network))
    assert agreement(network, store, precision, False) >= AGREEMENT


@pytest.mark.parametrize("deblur_step, fold", [(1, 2), (2, 1)])
def test_other_shapes(deblur_step: int, fold: int) -> None:
    network = tiny_network(replace(tiny_config(2, fold), deblur_step=deblur_step, artefact=()))
    store = store_of(export_network(network))
    assert agreement(network, store, "int8", False) >= AGREEMENT


def test_the_comparison_tells_codes_from_floats_and_scales_apart() -> None:
    """What has to fail does: another network, and ranges of another store."""
    network = load_checkpoint(weights_folder() / "acf-t-x4.safetensors").network
    store = load_scales(default_bundle() / "scales.json")
    picture = scenes(4, 60, 80)[3]
    ours = run_network(simulate(network, store), picture)
    assert psnr(ours, run_network(network, picture)) < AGREEMENT
    wide = {name: Range(r.low * 1.2, r.high * 1.2) for name, r in store.ranges.items()}
    other = simulate(network, replace(store, ranges=wide))
    assert psnr(ours, run_network(other, picture)) < AGREEMENT


def test_the_network_itself_stays_as_it_is() -> None:
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    picture = noise(9, 9)
    says = run_network(network, picture)
    simulate(network, store_of(export_network(network)))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    np.testing.assert_array_equal(run_network(network, picture), says)


def test_wrong_requests_are_refused() -> None:
    network = tiny_network()
    store = store_of(export_network(network))
    with pytest.raises(InputError, match="Unknown precision 'int4'"):
        simulate(network, store, "int4")
    with pytest.raises(InputError, match="lacks the range of"):
        simulate(network, replace(store, ranges={}))


def test_steps_are_of_few_bits_and_never_vanish() -> None:
    assert activation_step(Range(0.0, 0.0272 * 127)) == 0.02734375
    assert activation_step(Range(0.0, 1e-7)) == 2.0**-14
    assert activation_step(Range(-1.0, 0.5), "fp8") == 2.0 / 448 // 2**-15 * 2**-15
