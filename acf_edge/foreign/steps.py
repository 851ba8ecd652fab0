"""A network as a list of ONNX operations on numbered values: small enough to be rewritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Value = int | Array
"""A number stands for what an earlier step gave, 0 for the picture; an array is a constant."""


@dataclass
class Step:
    """One ONNX operation.

    Attributes:
        op: ONNX' name of it.
        module: path of the module that it belongs to.
        inputs: values; None for an optional one that is not given.
        outputs: numbers, given once each.
        attributes: of the ONNX node.
        macs: multiply-accumulates per pixel of the network's input.
    """

    op: str
    module: str
    inputs: list[Value | None]
    outputs: list[int]
    attributes: dict[str, Any] = field(default_factory=dict)
    macs: Fraction = Fraction(0)

    @property
    def output(self) -> int:
        """The only output."""
        (number,) = self.outputs
        return number


@dataclass
class Steps:
    """A network.

    Attributes:
        steps: in an order in which they can be run.
        result: the value that is the enhanced picture.
        count: numbers below it are in use.
    """

    steps: list[Step]
    result: int
    count: int

    def number(self) -> int:
        """A number that no value has."""
        self.count += 1
        return self.count - 1

    def makers(self) -> dict[int, Step]:
        """Value -> the step that gives it."""
        return {number: step for step in self.steps for number in step.outputs}

    def users(self) -> dict[int, list[Step]]:
        """Value -> the steps that take it, once per use."""
        found: dict[int, list[Step]] = {}
        for step in self.steps:
            for value in step.inputs:
                if isinstance(value, int):
                    found.setdefault(value, []).append(step)
        return found

    def uses(self) -> Counter[int]:
        """Value -> how often it is taken; being the result counts."""
        counts = Counter({value: len(steps) for value, steps in self.users().items()})
        counts[self.result] += 1
        return counts

    def replace(self, old: int, new: int) -> None:
        """Let everybody take ``new`` instead of ``old``."""
        for step in self.steps:
            step.inputs = [new if is_value(v, old) else v for v in step.inputs]
        if self.result == old:
            self.result = new

    def sweep(self) -> None:
        """Leave out what nobody takes."""
        wanted, kept = {self.result}, []
        for step in reversed(self.steps):
            if wanted.intersection(step.outputs):
                wanted.update(v for v in step.inputs if isinstance(v, int))
                kept.append(step)
        self.steps = kept[::-1]


def is_value(value: Value | None, number: int) -> bool:
    """Whether ``value`` is the numbered one (arrays do not compare to one truth)."""
    return isinstance(value, int) and value == number


def same(one: Steps, other: Steps) -> bool:
    """Whether two networks are equal in everything."""
    return (
        one.result == other.result
        and len(one.steps) == len(other.steps)
        and all(_same_step(a, b) for a, b in zip(one.steps, other.steps, strict=True))
    )


def _same_step(a: Step, b: Step) -> bool:
    plain = (a.op, a.module, a.outputs, a.attributes, a.macs)
    return plain == (b.op, b.module, b.outputs, b.attributes, b.macs) and _same_values(
        a.inputs, b.inputs
    )


def _same_values(a: Iterable[Value | None], b: Iterable[Value | None]) -> bool:
    first, second = list(a), list(b)
    return len(first) == len(second) and all(
        np.array_equal(x, y)
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
        else type(x) is type(y) and x == y
        for x, y in zip(first, second, strict=True)
    )
