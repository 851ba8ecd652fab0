"""Pruning: groups that cover every channel, cuts that change nothing where nothing was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_networks import tiny_config
from torch import Tensor

from acf_edge.compress.prune import choose_channels, groups_of, importance, prune, with_width
from acf_edge.errors import InputError
from acf_edge.model.checkpoint import load_checkpoint, save_checkpoint
from acf_edge.model.config import SIZES, AcfConfig
from acf_edge.model.cost import cost
from acf_edge.model.network import AcfNetwork


def wide_config() -> AcfConfig:
    return tiny_config(width=48)


CUTTABLE = [g.name for g in groups_of(wide_config()) if g.width > 16]


def random_network(config: AcfConfig, seed: int = 0) -> AcfNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AcfNetwork(config)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def batches(count: int = 2) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.rand(2, 3, 12, 12, generator=generator),
            torch.rand(2, 3, 48, 48, generator=generator),
        )
        for _ in range(count)
    ]


def everything(config: AcfConfig) -> dict[str, list[int]]:
    return {group.name: list(range(group.width)) for group in groups_of(config)}


@pytest.mark.parametrize("config", [*SIZES.values(), wide_config(), tiny_config(2, 1)])
def test_groups_cover_every_dimension_once(config: AcfConfig) -> None:
    """A dimension belongs to one group, or to colours, pixels, taps or the squeeze."""
    with torch.device("meta"):
        state = AcfNetwork(config).state_dict()
    covered = Counter[tuple[str, int]]()
    for group in groups_of(config):
        for part in group.slices:
            assert state[part.tensor].shape[part.dim] == part.repeats * group.width
            covered[part.tensor, part.dim] += 1
    assert set(covered.values()) == {1}
    fixed = {"reconstruction.tail.weight": 0, "reconstruction.tail.bias": 0}
    fixed |= {"reconstruction.attention.spatial.weight": 0}
    fixed |= {"reconstruction.attention.spatial.bias": 0}
    fixed |= {"reconstruction.attention.squeeze_weight": 0}
    fixed |= {"reconstruction.attention.squeeze_bias": 0}
    fixed |= {"reconstruction.attention.excite_weight": 1}
    fixed |= {f"sharing.{b}.stem.weight": 1 for b in ("artefact", "deblur", "structure")}
    for name, tensor in state.items():
        for dim in range(min(tensor.ndim, 2)):
            assert ((name, dim) in covered) != (fixed.get(name) == dim), (name, dim)


@pytest.mark.parametrize("group", CUTTABLE)
def test_each_group_can_be_cut_alone(group: str) -> None:
    network = random_network(wide_config())
    keep = everything(network.config)
    keep[group] = keep[group][3:19]
    smaller = prune(network, keep)
    assert smaller.config == with_width(network.config, group, 16)
    assert not smaller.training
    assert smaller(torch.rand(1, 3, 7, 9)).shape == (1, 3, 28, 36)
    sizes = [sum(p.numel() for p in n.parameters()) for n in (smaller, network)]
    assert sizes[0] < sizes[1]
    assert cost(smaller.config).params == sizes[0]


def silence(network: AcfNetwork, group: str, channels: list[int]) -> None:
    """Zero all that goes into and comes out of some channels."""
    state = network.state_dict()
    for part in next(g for g in groups_of(network.config) if g.name == group).slices:
        tensor = state[part.tensor].movedim(part.dim, 0)
        width = len(tensor) // part.repeats
        for repeat in range(part.repeats):
            for channel in channels:
                tensor[repeat * width + channel] = 0.0


@pytest.mark.parametrize("group", CUTTABLE)
def test_cutting_what_is_zero_changes_nothing(group: str) -> None:
    """Scattered channels, so that a wrong order of repeats would show."""
    network = random_network(wide_config())
    keep = everything(network.config)
    width = len(keep[group])
    dead = [c for c in range(width) if c % 3 == 1][: width - 32 if width > 32 else 16]
    dead += [c for c in range(width) if c % 3 == 2][: 16 - len(dead)]
    assert len(dead) == 16
    image = torch.rand(2, 3, 10, 13, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loud = network(image)
        silence(network, group, dead)
        before = network(image)
        keep[group] = [c for c in range(width) if c not in dead]
        after = prune(network, keep)(image)
        # Equal but for the order of float sums; and the channels had said something.
        torch.testing.assert_close(after, before, rtol=0, atol=2e-5)
        assert (loud - before).abs().max() > 1e-3
        # The right number of wrong channels is not the same.
        keep[group] = sorted(set(range(width)) - set(range(16)))
        assert (prune(network, keep)(image) - before).abs().max() > 1e-3


def test_pruning_nothing_is_the_same_network() -> None:
    network = random_network(wide_config())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    same = prune(network, everything(network.config))
    assert same.config == network.config
    for name, tensor in same.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.data_ptr() != network.state_dict()[name].data_ptr()


def test_dead_channels_rank_lowest() -> None:
    network = random_network(wide_config())
    groups = [g for g in groups_of(network.config) if g.width == 48]
    assert len(groups) >= 3
    for group in groups:
        silence(network, group.name, [1, 5, 40])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    scores = importance(network, batches())
    assert {name: len(s) for name, s in scores.items()} == {
        g.name: g.width for g in groups_of(network.config)
    }
    for group in groups:
        row = scores[group.name]
        assert row.dtype == torch.float64 and (row >= 0).all() and torch.isfinite(row).all()
        # None below them; a few others may be shut off by their ReLU.
        assert (row[[1, 5, 40]] == 0).all() and (row > 0).sum() >= 40, group.name
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_importance_is_a_mean_and_ignores_frozen_flags() -> None:
    network = random_network(wide_config())
    once = importance(network, batches(1))
    twice = importance(network, batches(1) * 2)
    frozen = importance(network.requires_grad_(False), batches(1))
    for name in once:
        torch.testing.assert_close(once[name], twice[name])
        torch.testing.assert_close(once[name], frozen[name])
    assert not any(p.requires_grad for p in network.parameters())


def test_importance_needs_pictures() -> None:
    with pytest.raises(InputError, match="no pictures"):
        importance(random_network(tiny_config()), [])


def flat_scores(config: AcfConfig) -> dict[str, Tensor]:
    return {g.name: torch.ones(g.width, dtype=torch.float64) for g in groups_of(config)}


@pytest.mark.parametrize("ratio", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("name", ["acf-t", "acf-s"])
def test_ratio_is_reached_and_hardly_passed(name: str, ratio: float) -> None:
    config = SIZES[name]
    keep = choose_channels(config, flat_scores(config), ratio)
    smaller = config
    for group in groups_of(config):
        indices = keep[group.name]
        assert len(indices) % 16 == 0 and indices == sorted(set(indices))
        assert indices[0] >= 0 and indices[-1] < group.width
        smaller = with_width(smaller, group.name, len(indices))
    gone = 1 - cost(smaller).macs / cost(config).macs
    assert ratio <= gone < ratio + 0.2


def test_the_least_important_channels_go() -> None:
    config = wide_config()
    scores = {name: 100.0 + row for name, row in flat_scores(config).items()}
    cheap = [3 * i for i in range(16)]
    scores["branch"][cheap] = 1e-9
    keep = choose_channels(config, scores, 0.1)
    assert set(range(48)) - set(keep["branch"]) == set(cheap)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_senseless_ratios(ratio: float) -> None:
    with pytest.raises(InputError, match="not possible"):
        choose_channels(wide_config(), flat_scores(wide_config()), ratio)


def test_an_impossible_ratio_says_what_is_possible() -> None:
    config = wide_config()
    with pytest.raises(InputError, match=r"99%.*at the smallest widths (\d+)%"):
        choose_channels(config, flat_scores(config), 0.99)
    smallest = tiny_config()
    small = {g.name: 16 for g in groups_of(smallest)}
    for name, width in small.items():
        smallest = with_width(smallest, name, width)
    with pytest.raises(InputError, match="smallest widths 0%"):
        choose_channels(smallest, flat_scores(smallest), 0.01)


def test_a_pruned_network_survives_its_file(tmp_path: Path) -> None:
    network = random_network(wide_config())
    keep = choose_channels(network.config, importance(network, batches(1)), 0.4)
    smaller = prune(network, keep)
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, smaller, {})
    loaded = load_checkpoint(path)
    assert loaded.config == smaller.config != network.config
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert torch.equal(loaded.network(image), smaller(image))
