"""The junction's votings under one interface, and the plain network beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from tiny_networks import tiny_config  # noqa: E402

from acf_edge.errors import InputError  # noqa: E402
from acf_edge.model.config import BASELINES, SIZES, VOTINGS, config_named  # noqa: E402
from acf_edge.model.cost import cost  # noqa: E402
from acf_edge.model.junction import OPEN, Junction  # noqa: E402
from acf_edge.model.plain import PlainNetwork, build_network  # noqa: E402

VOTES = ("sigmoid", "softmax", "gate")
BRANCHES, WIDTH = 3, 16


def junction(voting: str, seed: int = 0) -> Junction:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Junction(WIDTH, voting, BRANCHES)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def features(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, BRANCHES * WIDTH, 5, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("voting", VOTES)
def test_votes_are_shares_and_explain_what_passes(voting: str) -> None:
    unit, x = junction(voting), features()
    votes = unit.votes(x)
    assert votes is not None
    assert votes.channel.shape == (2, BRANCHES, WIDTH)
    assert votes.element.shape == votes.passed.shape == (2, BRANCHES, WIDTH, 5, 7)
    for share in (votes.channel, votes.element, votes.passed):
        assert torch.all((share >= 0) & (share <= 1))
    assert votes.contributed.shape == votes.passed.shape
    assert torch.allclose(unit(x), votes.contributed.sum(dim=1) + votes.constant, atol=1e-5)
    preserved = x.reshape(votes.passed.shape) * votes.passed
    if voting == "gate":  # beside what it preserves, it mixes what it filtered
        assert votes.constant.abs().max() > 0.01
        assert not torch.allclose(votes.contributed, preserved, atol=0.01)
    else:
        assert not votes.constant.any()
        assert torch.allclose(votes.contributed, preserved)


def test_softmax_shares_sum_to_one() -> None:
    votes = junction("softmax").votes(features())
    assert votes is not None
    assert torch.allclose(votes.passed.sum(dim=1), torch.ones(2, WIDTH, 5, 7))


def test_a_gate_that_preserves_passes_the_features_as_they_are() -> None:
    unit, x = junction("gate"), features()
    with torch.no_grad():
        unit.channel_weight.zero_()
        unit.channel_bias.fill_(30.0)
    whole = x.reshape(2, BRANCHES, WIDTH, 5, 7).sum(dim=1)
    assert torch.allclose(unit(x), whole, atol=1e-5)


def test_what_a_branch_mixes_through_the_gate_is_its_own() -> None:
    """One branch at the input of V, and where V is open: its part is all there is."""
    unit, x = junction("gate"), features()
    with torch.no_grad():
        unit.channel_weight.zero_()
        unit.channel_bias.fill_(-60.0)  # nothing is preserved as it is
        unit.value.weight[:, WIDTH:] = 0.0  # V listens to the first branch alone
        unit.value.bias.zero_()
    votes = unit.votes(x)
    assert votes is not None
    assert torch.allclose(votes.contributed[:, 0], unit(x), atol=1e-5) and unit(x).any()
    assert votes.contributed[:, 1:].abs().max() < 1e-6


def test_what_the_gates_relu_stops_is_not_heard() -> None:
    unit, x = junction("gate"), features()
    with torch.no_grad():
        unit.channel_weight.zero_()
        unit.channel_bias.fill_(-60.0)
        unit.value.bias.fill_(-1000.0)
    votes = unit.votes(x)
    assert votes is not None
    assert not unit(x).abs().max() > 1e-6 and not votes.contributed.abs().max() > 1e-6


@pytest.mark.parametrize("voting", VOTES)
def test_a_branch_that_is_voted_out_is_not_heard(voting: str) -> None:
    unit, x = junction(voting), features()
    with torch.no_grad():
        unit.channel_weight.zero_()
        for bias in (unit.channel_bias, unit.element.bias):
            bias[:WIDTH] = -60.0  # the first branch
            bias[WIDTH:] = 0.0
        unit.element.weight.zero_()
    loud = x.clone()
    loud[:, :WIDTH] *= 100.0
    assert torch.allclose(unit(x), unit(loud), atol=1e-4)
    votes = unit.votes(loud)
    assert votes is not None
    assert votes.contributed[:, 0].abs().max() < 1e-6
    assert votes.contributed[:, 1:].abs().mean() > 0.05


@pytest.mark.parametrize("voting", [*VOTES, "none"])
def test_a_silent_junction_lets_everything_through_alike(voting: str) -> None:
    unit, x = junction(voting), features()
    unit.silent = True
    whole = x.reshape(2, BRANCHES, WIDTH, 5, 7).sum(dim=1)
    assert torch.equal(unit(x), whole * OPEN)
    assert voting == "none" or unit.votes(x) is None
    unit.silent = False
    assert not torch.allclose(unit(x), whole * OPEN)


def test_without_a_junction_nobody_votes() -> None:
    assert junction("none").votes(features()) is None


@pytest.mark.parametrize("voting", VOTINGS)
def test_every_voting_makes_a_network_that_learns(voting: str) -> None:
    network = build_network(replace(tiny_config(), voting=voting))
    image = torch.rand(1, 3, 9, 13)
    result = network(image)
    assert result.shape == (1, 3, 36, 52)
    result.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("voting", ["softmax", "none", "sigmoid"])
def test_votings_cost_the_same(voting: str) -> None:
    ours = cost(replace(SIZES["acf-t"], voting=voting)).macs
    assert ours == cost(SIZES["acf-t"]).macs


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_plain_network_costs_what_acf_costs(name: str) -> None:
    ours = cost(config_named(name.replace("plain", "acf"))).macs
    assert abs(cost(config_named(name)).macs / ours - 1) < 0.025


@pytest.mark.parametrize("step", [1, 2])
def test_the_deblur_branch_works_on_the_grid_or_at_half_of_it(step: int) -> None:
    network = build_network(replace(tiny_config(), deblur_step=step))
    seen: list[tuple[int, ...]] = []
    network.sharing.deblur.blocks.register_forward_hook(lambda *row: seen.append(row[2].shape[2:]))
    assert network(torch.rand(1, 3, 24, 32)).shape == (1, 3, 96, 128)
    assert seen == [(12 // step, 16 // step)]
    with pytest.raises(InputError, match="deblur_step 3 is unknown"):
        replace(tiny_config(), deblur_step=3)


@pytest.mark.parametrize("name", ["acf-t", "acf-s"])
def test_the_deblur_branch_sees_64_pixels(name: str) -> None:
    network = build_network(config_named(name))
    branch = network.sharing.deblur
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.fill_(1e-3)  # nothing cancels out, every path counts
    image = torch.zeros(1, 3, 128 + 4, 128 + 4, requires_grad=True)
    branch(image)[0, 0, 32, 32].backward()
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 >= 64


def test_the_plain_network_has_no_branches() -> None:
    network = build_network(config_named("plain-t"))
    assert isinstance(network, PlainNetwork)
    assert not {name.split(".")[0] for name, _ in network.named_parameters()} - {
        "stem",
        "blocks",
        "tail",
    }


def test_an_unknown_voting_is_refused() -> None:
    with pytest.raises(InputError, match=r"'majority' is unknown\. There are: sigmoid, softmax"):
        replace(tiny_config(), voting="majority")
