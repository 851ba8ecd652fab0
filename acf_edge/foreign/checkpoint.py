"""Tensors of a stranger's file, read so that none of the stranger's code runs.

``.safetensors`` holds no code. A ``.pth``, ``.pt`` or ``.ckpt`` is a pickle and goes through
``torch.load(weights_only=True)`` alone. TorchScript archives are programs and are refused;
spandrel's own loader would run them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acf_edge.errors import InputError
from acf_edge.model.checkpoint import FORMAT

PICKLES = (".pth", ".pt", ".ckpt")
MOST_TENSORS = 50_000
MOST_LAYERS = 4096
"""Highest number in a tensor's name: readers make that many layers, whatever the file holds."""
_OURS = FORMAT.rstrip("0123456789")


def is_foreign(path: Path | str) -> bool:
    """Whether a checkpoint holds plain tensors that acf-edge did not write.

    False for what cannot be read as tensors at all, too:
    :func:`acf_edge.model.checkpoint.load_checkpoint` says what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        return False
    if path.suffix.lower() == ".ckpt":
        return True
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as archive:
                written = (archive.metadata() or {}).get("format", "")
            return not written.startswith(_OURS)
        if path.suffix in PICKLES:
            content = _unpickled(path)
            ours = isinstance(content, dict) and isinstance(content.get("config"), dict)
            return not (ours and "state" in content)
    except Exception:  # unreadable; torch and safetensors raise many kinds
        return False
    return False


def read_tensors(path: Path | str) -> tuple[dict[str, Any], str]:
    """Read a checkpoint's tensors.

    Args:
        path: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.

    Returns:
        What the file holds (tensors by name, perhaps in tables of tables), and the file's
        SHA-256 as lower-case hex.

    Raises:
        InputError: no such file, of no known kind, damaged, or one that needs code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no checkpoint '{path}'.", "Check the path.")
    if path.suffix == ".safetensors":
        content: Any = _safetensors(path)
    elif path.suffix.lower() in PICKLES:
        try:
            content = _unpickled(path)
        except Exception as error:
            # torch raises many kinds here, and its text repeats advice to load unsafely.
            raise InputError(
                f"'{path}' cannot be loaded as plain weights ({type(error).__name__}).",
                "Files that need code to be run are refused; save it as safetensors.",
            ) from None
    else:
        raise InputError(
            f"'{path}' is no known kind of checkpoint.",
            "Give a .safetensors, .pth, .pt or .ckpt file.",
        )
    if not isinstance(content, dict) or not content:
        raise InputError(f"'{path}' holds no table of tensors.", "Save the network's state_dict.")
    return content, hashlib.sha256(path.read_bytes()).hexdigest()


def _unpickled(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as archive:
            return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        words = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        raise InputError(
            f"'{path}' is no readable safetensors file: {words}.", "Fetch it again."
        ) from None


def checked_tensors(table: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of one flat table, sane enough to hand to a library.

    A library reads a network's size off names and shapes, so these must not promise more than
    the file holds.

    Raises:
        InputError: no tensors, too many, not plain ones, not finite, or larger than the file.
    """
    tensors = {
        name: value
        for name, value in table.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise InputError(f"'{path}' holds no table of tensors.", "Save the network's state_dict.")
    promised = 0
    for name, tensor in tensors.items():
        if len(name) > 500 or any(_too_high(part) for part in name.split(".")):
            raise InputError(f"'{path}' has a strange tensor {name[:100]!r}.", "Fetch it again.")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise InputError(
                f"'{path}': tensor '{name}' is no plain tensor.", "Save it again as float32."
            )
        promised += tensor.numel() * tensor.element_size()
        if promised > 4 * path.stat().st_size or len(tensors) > MOST_TENSORS:
            raise InputError(f"'{path}' promises more tensors than it holds.", "Fetch it again.")
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise InputError(f"'{path}': tensor '{name}' holds NaN or infinity.", "Fetch it again.")
    return tensors


def _too_high(part: str) -> bool:
    return part.isdecimal() and (len(part) > 6 or int(part) > MOST_LAYERS)
