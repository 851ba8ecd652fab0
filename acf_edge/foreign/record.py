"""Watch a network run and write down what it computes.

The network runs for real on a small random picture. Every operation of torch whose input
depends on the picture is noted, together with the module that called it; whatever does not
depend on the picture (merged convolutions, tables, masks) has simply been computed by then and
is a constant. So the network's own Python decides everything, and nothing of it is interpreted
a second time. That what was noted holds for other pictures and sizes is for the caller to
check, by watching twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from acf_edge.errors import InputError

Array = npt.NDArray[Any]
ROOT = "network"
"""Stands for the outermost module, whose path is empty."""
PUT_CHANNELS = "put_channels"
"""A call that torch does not have: ``base`` with the channels from ``start`` on replaced by
``part``. It follows whatever wrote into a slice of ``base``."""


@dataclass(frozen=True)
class Ref:
    """A value that depends on the picture.

    Attributes:
        index: of the value; the picture is 0.
        shape: in the run that was watched.
    """

    index: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One operation.

    Attributes:
        name: torch's, without the underscore of in-place variants: ``"leaky_relu"``.
        module: path of the calling module, :data:`ROOT` for the outermost.
        arguments: by name, defaults filled in; values are :class:`Ref`, arrays, plain Python
            or lists of these.
        outputs: what it gives.
    """

    name: str
    module: str
    arguments: dict[str, Any]
    outputs: tuple[Ref, ...]


@dataclass(frozen=True)
class Recording:
    """All operations in order, and which value is the result."""

    calls: tuple[Call, ...]
    result: Ref


def record(run: Callable[[Tensor], Tensor], network: nn.Module, picture: Tensor) -> Recording:
    """Watch one run.

    Args:
        run: calls ``network`` with a picture.
        network: gives the modules their paths; evaluation mode.
        picture: ``(1, 3, H, W)`` float32; may be overwritten.

    Raises:
        InputError: the run looks at values of the picture, writes where it cannot be followed,
            or gives something else than one tensor that depends on the picture.
    """
    watch = _Watch(picture)
    with torch.inference_mode(), _paths(network, watch.stack), watch:
        result = run(picture)
    return Recording(tuple(watch.calls), watch.ref(result, "the result"))


@contextmanager
def _paths(network: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep the path of the module that is running on top of ``stack``."""
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            hooks.enter_context(
                module.register_forward_pre_hook(lambda *_, path=path: stack.append(path or ROOT))
            )
            hooks.enter_context(
                module.register_forward_hook(lambda *_: stack.pop() and None, always_call=True)
            )
        yield


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation between Python and torch's kernels."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.stack = [ROOT]
        # Tensors are kept, so that no two of them ever have the same id.
        self.known: dict[int, tuple[Tensor, int | None]] = {id(picture): (picture, 0)}
        # Slice of channels -> what it was cut from, and its first channel.
        self.slices: dict[int, tuple[Tensor, int]] = {}
        self.count = 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        given = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
        given.update(kwargs)
        if not any(self._depends(value) for value in given.values()):
            return func(*args, **kwargs)
        name = schema.name.partition("::")[2]
        arguments = {
            argument.name: self._argument(given.get(argument.name, argument.default_value), name)
            for argument in schema.arguments
        }
        written = [
            given.get(a.name)
            for a in schema.arguments
            if a.alias_info is not None and a.alias_info.is_write
        ]
        result = func(*args, **kwargs)
        outputs: tuple[Any, ...] = tuple(result) if isinstance(result, tuple | list) else (result,)
        if not all(isinstance(one, Tensor) for one in outputs):
            raise self._refused(f"looks at the picture's values ('{name}')")
        if written:
            # One tensor, which is also the result: the ending _ of PyTorch's names.
            if len(written) != 1 or len(outputs) != 1 or written[0] is not outputs[0]:
                raise self._refused(f"writes into other tensors ('{name}')")
            name = name.removesuffix("_")
        refs = tuple(self._new(one) for one in outputs)
        self.calls.append(Call(name, self.stack[-1], arguments, refs))
        if written:
            self._overwritten(outputs[0], refs[0])
        elif name == "slice" and arguments["dim"] in (1, -3) and arguments["step"] == 1:
            start = int(arguments["start"] or 0)
            base = given["self"]
            self.slices[id(result)] = (base, start + (base.shape[1] if start < 0 else 0))
        return result

    def ref(self, tensor: Any, what: str) -> Ref:
        """The value that a tensor holds now."""
        if not isinstance(tensor, Tensor) or id(tensor) not in self.known:
            raise self._refused(f"does not give one picture ({what})")
        _, index = self.known[id(tensor)]
        if index is None:
            raise self._refused("writes into a part of a tensor and reads the whole")
        return Ref(index, tuple(tensor.shape))

    def _refused(self, why: str) -> InputError:
        return InputError(
            f"'{self.stack[-1]}' of this network {why}.",
            "Only networks of convolutions and the like can be taken.",
        )

    def _depends(self, value: Any) -> bool:
        if isinstance(value, tuple | list):
            return any(self._depends(one) for one in value)
        return isinstance(value, Tensor) and id(value) in self.known

    def _argument(self, value: Any, name: str) -> Any:
        if isinstance(value, tuple | list):
            return [self._argument(one, name) for one in value]
        if not isinstance(value, Tensor):
            return value
        if id(value) in self.known:
            return self.ref(value, name)
        # A copy: the network may overwrite its tables later.
        return np.array(value.detach().cpu().numpy())

    def _new(self, tensor: Tensor) -> Ref:
        index = self.count
        self.count += 1
        self.known[id(tensor)] = (tensor, index)
        return Ref(index, tuple(tensor.shape))

    def _overwritten(self, tensor: Tensor, now: Ref) -> None:
        """``tensor`` has a new value, and so have those that share its memory."""
        for key, (other, index) in list(self.known.items()):
            if other is tensor or not _overlap(other, tensor):
                continue
            base, start = self.slices.get(id(tensor), (None, 0))
            if _layout(other) == _layout(tensor):
                self.known[key] = (other, now.index)
            elif other is base and index is not None:
                was = Ref(index, tuple(other.shape))
                arguments = {"base": was, "part": now, "start": start}
                whole = self._new(other)
                self.calls.append(Call(PUT_CHANNELS, self.stack[-1], arguments, (whole,)))
            else:
                self.known[key] = (other, None)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype


def _overlap(one: Tensor, other: Tensor) -> bool:
    if one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return False
    (a, b), (c, d) = _extent(one), _extent(other)
    return a < d and c < b


def _extent(tensor: Tensor) -> tuple[int, int]:
    """First and one past the last element in the storage."""
    if tensor.numel() == 0:
        return 0, 0
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    start = int(tensor.storage_offset())
    return start, start + 1 + sum((size - 1) * stride for size, stride in sizes)
