"""Every voting becomes ordinary operations, but for the one that has an operator of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tiny_networks import noise, run_onnx, scenes, tiny_config

from acf_edge.compress.calibrate import calibrate
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.qdq_ort import quantized_values, write_qdq
from acf_edge.imaging.metrics import psnr
from acf_edge.model.config import VOTINGS
from acf_edge.model.network import AcfNetwork
from acf_edge.model.plain import build_network
from acf_edge.model.runner import run_network

OPERATORS = {
    "sigmoid": ["JunctionVote", "ChannelSpatialAttention"],
    "plain": [],
}


@pytest.fixture(scope="module", params=VOTINGS)
def network(request: pytest.FixtureRequest) -> AcfNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = build_network(replace(tiny_config(), voting=request.param)).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.3 * torch.randn_like(parameter))
            if hasattr(made, "junction"):
                # Votes that tell the branches and the places apart.
                made.junction.element.weight.mul_(20.0)
    return made


@pytest.mark.parametrize("size", [(17, 23), (1, 1), (8, 5)])
def test_it_says_what_torch_says(network: AcfNetwork, size: tuple[int, int]) -> None:
    model = export_network(network)
    onnx.checker.check_model(model, full_check=True)
    batch = np.stack([noise(*size, seed) for seed in (1, 2)])
    for form in (model, inline_operators(model)):
        ours = run_onnx(form, {"image": batch})[0]
        for picture, result in zip(batch, ours, strict=True):
            off = np.abs(result.astype(int) - run_network(network, picture))
            assert off.max() <= 1 and (off == 0).mean() >= 0.999


def test_only_what_has_an_operator_uses_one(network: AcfNetwork) -> None:
    model = export_network(network)
    wanted = OPERATORS.get(network.config.voting, ["ChannelSpatialAttention"])
    assert [n.op_type for n in model.graph.node if n.domain == "acf"] == wanted
    assert [function.name for function in model.functions] == wanted
    owners = {n.name.split("/")[0] for n in model.graph.node} - {"input", "output", "network"}
    for owner in owners:
        network.get_submodule(owner)


def test_all_of_them_become_int8(network: AcfNetwork) -> None:
    model = inline_operators(export_network(network))
    store = calibrate(model, quantized_values(model), scenes(3), source="scenes", weights_sha256="")
    picture = scenes(4)[3]
    small = run_onnx(write_qdq(model, store), {"image": picture[None]})[0][0]
    assert psnr(small, run_network(network, picture)) >= 38.0
