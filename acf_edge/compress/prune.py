"""Structured pruning by explicit groups; every width stays a multiple of 16.

A group is a set of channels that must go together because tensors are added or
concatenated along them:

* ``stream``: the residual stream of the reconstruction phase;
* ``branch``: what the three branches hand to the junction (they are summed there,
  so channel c goes in all three at once);
* ``deblur``: the residual stream inside the deblur branch;
* ``<block>.interior``: the hidden channels of one residual block, of any branch
  or of the reconstruction phase.

Channels are ranked by the first-order Taylor criterion (Molchanov et al.,
"Importance estimation for neural network pruning", CVPR 2019): the square of
gradient times weight, summed over all that goes with the channel. Sixteen at a
time leave the group where least importance is lost per multiply-accumulate saved.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acf_edge.errors import InputError
from acf_edge.model.config import CHANNEL_MULTIPLE, AcfConfig
from acf_edge.model.cost import cost
from acf_edge.model.network import AcfNetwork


@dataclass(frozen=True)
class Slice:
    """Where a group's channels lie in one tensor.

    Attributes:
        tensor: the parameter's name.
        dim: the dimension along which the channels lie.
        repeats: how many times the group's channels follow one another there.
    """

    tensor: str
    dim: int
    repeats: int = 1


@dataclass(frozen=True)
class Group:
    """Channels that are removed together."""

    name: str
    width: int
    slices: tuple[Slice, ...]


def groups_of(config: AcfConfig) -> list[Group]:
    """All groups of a network, the whole truth about which tensors hang together."""
    plain = ("sharing.artefact", "sharing.structure")
    branch = [Slice("junction.element.weight", 0, 3), Slice("junction.element.weight", 1, 3)]
    branch += [Slice("junction.element.bias", 0, 3), Slice("junction.channel_bias", 0, 3)]
    branch += [Slice("junction.channel_weight", 0, 3), Slice("junction.channel_weight", 1, 3)]
    branch += [Slice("reconstruction.entry.weight", 1)]
    branch += _produces("sharing.deblur.up", config.deblur_step**2) + _produces(
        "sharing.deblur.stem"
    )
    branch += [Slice("sharing.deblur.down.weight", 1)]
    deblur = [*_produces("sharing.deblur.down"), Slice("sharing.deblur.up.weight", 1)]
    stream = _produces("reconstruction.entry")
    stream += [Slice("reconstruction.attention.spatial.weight", 1)]
    stream += [Slice("reconstruction.attention.squeeze_weight", 1)]
    stream += [Slice("reconstruction.attention.excite_weight", 0)]
    stream += [Slice("reconstruction.attention.excite_bias", 0)]
    stream += [Slice("reconstruction.tail.weight", 1)]
    interiors = []
    for place, widths, owner in (
        ("sharing.artefact.blocks", config.artefact, branch),
        ("sharing.structure.blocks", config.structure, branch),
        ("sharing.deblur.blocks", tuple(w for w, _ in config.deblur_blocks), deblur),
        ("reconstruction.blocks", config.trunk_blocks, stream),
    ):
        for index, width in enumerate(widths):
            block = f"{place}.{index}"
            owner += [Slice(f"{block}.expand.weight", 1), *_produces(f"{block}.project")]
            inside = [*_produces(f"{block}.expand"), Slice(f"{block}.project.weight", 1)]
            interiors.append(Group(f"{block}.interior", width, tuple(inside)))
    for place in plain:
        branch += _produces(f"{place}.stem")
    return [
        Group("stream", config.trunk, tuple(stream)),
        Group("branch", config.branch, tuple(branch)),
        Group("deblur", config.deblur, tuple(deblur)),
        *interiors,
    ]


def _produces(module: str, repeats: int = 1) -> list[Slice]:
    return [Slice(f"{module}.weight", 0, repeats), Slice(f"{module}.bias", 0, repeats)]


def with_width(config: AcfConfig, group: str, width: int) -> AcfConfig:
    """The configuration with one group's width changed."""
    if group == "stream":
        return replace(config, trunk=width)
    if group in ("branch", "deblur"):
        return replace(config, **{group: width})  # type: ignore[arg-type]
    path, index = group.removesuffix(".interior").rsplit(".", 1)
    place = int(index)
    if path == "sharing.deblur.blocks":
        blocks = list(config.deblur_blocks)
        blocks[place] = (width, blocks[place][1])
        return replace(config, deblur_blocks=tuple(blocks))
    field = {
        "sharing.artefact.blocks": "artefact",
        "sharing.structure.blocks": "structure",
        "reconstruction.blocks": "trunk_blocks",
    }[path]
    widths = list(getattr(config, field))
    widths[place] = width
    return replace(config, **{field: tuple(widths)})  # type: ignore[arg-type]


def importance(network: AcfNetwork, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Taylor importance of every channel of every group.

    Args:
        network: float32; left as it was.
        batches: (input, truth), float32 NCHW in 0..1; sides multiples of the alignment.

    Returns:
        group name -> ``(width,)`` float64, >= 0.

    Raises:
        InputError: no batches.
    """
    # On a copy: gradients, and flags that forbid them, of the original stay as they are.
    network = copy.deepcopy(network).requires_grad_(True)
    parameters = dict(network.named_parameters())
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
    seen = 0
    for image, truth in batches:
        with torch.enable_grad():
            loss = torch.nn.functional.l1_loss(network(image), truth)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            total[name] += (gradient * parameter.detach()).double() ** 2
        seen += 1
    if not seen:
        raise InputError("Pruning has no pictures to rank channels by.", "Give --calibrate.")
    result = {}
    for group in groups_of(network.config):
        scores = torch.zeros(group.width, dtype=torch.float64)
        for part in group.slices:
            rows = total[part.tensor].movedim(part.dim, 0)
            along = rows.reshape(rows.shape[0], -1).sum(dim=1)
            scores += along.reshape(part.repeats, group.width).sum(dim=0)
        result[group.name] = scores / seen
    return result


def choose_channels(
    config: AcfConfig, scores: dict[str, Tensor], ratio: float
) -> dict[str, list[int]]:
    """Decide which channels stay.

    Args:
        config: the network's shape.
        scores: from :func:`importance`.
        ratio: share of the multiply-accumulates to remove, 0 < ratio < 1.

    Returns:
        group name -> sorted indices of the channels that stay.

    Raises:
        InputError: the ratio is out of range or cannot be reached with widths of at least 16.
    """
    if not 0.0 < ratio < 1.0:
        raise InputError(f"Pruning by {ratio} is not possible.", "Give a share between 0 and 1.")
    keep = {group.name: list(range(group.width)) for group in groups_of(config)}
    before = cost(config).macs
    now, shape = before, config
    while now > (1.0 - ratio) * before:
        best: tuple[float, str, list[int], AcfConfig, int] | None = None
        for name, indices in keep.items():
            if len(indices) <= CHANNEL_MULTIPLE:
                continue
            ranked = sorted(indices, key=lambda i: (float(scores[name][i]), i))
            lost = float(sum(scores[name][i] for i in ranked[:CHANNEL_MULTIPLE]))
            smaller = with_width(shape, name, len(indices) - CHANNEL_MULTIPLE)
            macs = cost(smaller).macs
            price = lost / max(now - macs, 1)
            if best is None or price < best[0]:
                best = (price, name, sorted(ranked[CHANNEL_MULTIPLE:]), smaller, macs)
        if best is None:
            raise InputError(
                f"Pruning cannot remove {ratio:.0%} of this network: "
                f"at the smallest widths {1 - now / before:.0%} are gone.",
                "Ask for less.",
            )
        _, name, keep[name], shape, now = best
    return keep


def prune(network: AcfNetwork, keep: dict[str, list[int]]) -> AcfNetwork:
    """Cut a network down to the channels that stay.

    Args:
        network: left as it is.
        keep: group name -> indices; from :func:`choose_channels`.

    Returns:
        A smaller network in evaluation mode.
    """
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    config = network.config
    for group in groups_of(network.config):
        indices = keep[group.name]
        config = with_width(config, group.name, len(indices))
        for part in group.slices:
            wanted = [r * group.width + i for r in range(part.repeats) for i in indices]
            state[part.tensor] = state[part.tensor].index_select(part.dim, torch.tensor(wanted))
    smaller = AcfNetwork(config)
    smaller.load_state_dict(state)
    return smaller.eval()
