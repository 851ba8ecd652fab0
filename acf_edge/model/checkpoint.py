"""Checkpoints: safetensors with the configuration and the provenance in the metadata.

A ``.pth`` file is read with ``weights_only=True`` alone, so that opening a
stranger's checkpoint runs none of the stranger's code.
"""

from __future__ import annotations

import hashlib
import json
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from acf_edge.errors import InputError
from acf_edge.files import atomic_path
from acf_edge.model.config import AcfConfig, config_from_json
from acf_edge.model.network import AcfNetwork
from acf_edge.model.plain import build_network
from acf_edge.resources import named_weights, shipped_weights

FORMAT = "acf-edge-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """A network and where it comes from.

    Attributes:
        network: in evaluation mode, float32, on the CPU.
        provenance: data, recipe, seed, time, quality; whatever the trainer noted.
        sha256: of the file, lower-case hex.
    """

    network: AcfNetwork
    provenance: Mapping[str, Any]
    sha256: str

    @property
    def config(self) -> AcfConfig:
        """The network's shape."""
        return self.network.config


def save_checkpoint(
    path: Path | str, network: AcfNetwork, provenance: Mapping[str, Any], half: bool = False
) -> None:
    """Write a ``.safetensors`` checkpoint, whole or not at all.

    Args:
        path: must end in ``.safetensors``.
        network: its parameters are written, the fixed anchor is not.
        provenance: plain JSON types.
        half: store float16 instead of float32.

    Raises:
        InputError: another suffix, a place that cannot be written, or a tensor that is not
            finite as stored (such a file could not be read again).
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"'{path}' does not end in .safetensors.", "Rename the output.")
    kind = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().to("cpu", kind).contiguous()
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"Tensor '{name}' is not finite as {str(kind).removeprefix('torch.')}.",
                "Train again." if kind is torch.float32 else "Store float32.",
            )
    metadata = {
        "format": FORMAT,
        "config": json.dumps(network.config.to_json(), sort_keys=True),
        "provenance": json.dumps(dict(provenance), sort_keys=True),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_order(save(tensors, metadata=metadata)))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted.

    The library writes them in the order of a hash table that is seeded anew in every process;
    equal networks shall give equal files, and so equal checksums.
    """
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint and check it against its own configuration.

    Args:
        path: ``.safetensors``, or the name of a shipped one, e.g. ``"acf-t-x4"``; or
            ``.pth``/``.pt`` with the keys ``config`` and ``state`` (and optionally
            ``provenance``).

    Raises:
        InputError: no such file, not a checkpoint, a tensor that is missing, unknown, of the
            wrong shape or not finite.
    """
    path = named_weights(path)
    if not path.is_file():
        raise InputError(
            f"There is no checkpoint '{path}'.",
            f"Check the path, or name one that is shipped: {', '.join(shipped_weights())}.",
        )
    if path.suffix == ".safetensors":
        table, provenance, tensors = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        table, provenance, tensors = _read_pickle(path)
    else:
        raise InputError(
            f"'{path}' is no known kind of checkpoint.", "Give a .safetensors, .pth or .pt file."
        )
    network = _network(config_from_json(table), tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Checkpoint(network.eval(), provenance, digest)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    # Tensor types that this torch does not know come out as KeyError or AttributeError.
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        words = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        raise InputError(
            f"'{path}' is no readable safetensors file: {words}.", "Fetch or train it again."
        ) from None
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"'{path}' carries no ACF configuration.",
            "Only checkpoints that acf-edge wrote can be read so far.",
        )
    return (
        _json(metadata.get("config", ""), path, "configuration"),
        _json(metadata.get("provenance", "{}"), path, "provenance"),
        tensors,
    )


def _json(text: str, path: Path, what: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise InputError(f"'{path}': its {what} is no JSON table.", "Fetch or train it again.")
    return table


def _read_pickle(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises many kinds here, and its text repeats advice to load unsafely.
        raise InputError(
            f"'{path}' cannot be loaded as plain weights ({type(error).__name__}).",
            "Files that need code to be run are refused; save it as safetensors.",
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise InputError(
            f"'{path}' carries no ACF configuration.", "Use a .safetensors checkpoint."
        )
    state = content.get("state")
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise InputError(f"'{path}' has no table 'state' of tensors.", "Save it again.")
    provenance = content.get("provenance", {})
    return dict(content["config"]), provenance if isinstance(provenance, dict) else {}, dict(state)


def _network(config: AcfConfig, tensors: Mapping[str, Tensor], path: Path) -> AcfNetwork:
    # A network without storage first: memory is taken only for what the file really holds.
    with torch.device("meta"):
        wanted = build_network(config).state_dict()
    missing, unknown = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing:
        raise InputError(
            f"'{path}' lacks the tensor '{missing[0]}'" + _more(missing) + ".",
            "Fetch or train it again.",
        )
    if unknown:
        raise InputError(
            f"'{path}' has an unknown tensor {unknown[0][:100]!r}" + _more(unknown) + ".",
            "It belongs to another network.",
        )
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or not tensor.is_floating_point():
            raise InputError(
                f"'{path}': tensor '{name}' is {tensor.dtype}, not plain floating point.",
                "Save it again as float32.",
            )
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"'{path}': tensor '{name}' is {list(tensor.shape)}, "
                f"the configuration wants {list(wanted[name].shape)}.",
                "Fetch or train it again.",
            )
        if not torch.isfinite(tensor.float()).all():
            raise InputError(f"'{path}': tensor '{name}' holds NaN or infinity.", "Train it again.")
    network = build_network(config)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
