"""The operation of torch that is being translated, and the steps so far."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from acf_edge.errors import InputError
from acf_edge.foreign.record import Array, Call, Ref
from acf_edge.foreign.steps import Step, Value

WHAT_CAN_BE_BUILT = (
    "Networks of convolutions can be built (Compact, SPAN, ESRGAN, RCAN, PLKSR); "
    "transformers cannot."
)


class Work:
    """The call at hand, the steps so far."""

    call: Call

    def __init__(self, picture: tuple[int, int], name: str) -> None:
        self.pixels = picture[0] * picture[1]
        self.name = name
        self.steps: list[Step] = []
        self.values: dict[int, Value] = {0: 0}
        self.count = 1

    def refused(self, what: str = "") -> InputError:
        """The error for the call at hand."""
        return InputError(
            f"{self.name} cannot be taken: there is no way to export the operation "
            f"'{self.call.name}'{what} in '{self.call.module}'.",
            WHAT_CAN_BE_BUILT,
        )

    def has(self, name: str) -> bool:
        """Whether the call has an argument of that name."""
        return name in self.call.arguments

    def get(self, name: str, default: Any = None) -> Any:
        """An argument as it is."""
        return self.call.arguments.get(name, default)

    def plain(self, name: str, *allowed: Any) -> Any:
        """An argument that must be one of ``allowed``."""
        value = self.get(name)
        if isinstance(value, Ref | np.ndarray) or value not in allowed:
            raise self.refused(f" with {name} = {value}")
        return value

    def value(self, argument: Any) -> Value:
        """The value behind a reference, or a constant as float32."""
        if isinstance(argument, Ref):
            if argument.index not in self.values:
                raise self.refused()
            return self.values[argument.index]
        if isinstance(argument, bool) or not isinstance(argument, int | float | np.ndarray):
            raise self.refused()
        return np.asarray(argument, np.float32)

    def tensor(self, name: str = "self") -> int:
        """An argument that depends on the picture."""
        value = self.value(self.get(name))
        if not isinstance(value, int):
            raise self.refused()
        return value

    def shape(self, name: str = "self") -> tuple[int, ...]:
        """The shape of an argument that depends on the picture; four numbers."""
        ref = self.get(name)
        if not isinstance(ref, Ref) or len(ref.shape) != 4:
            raise self.refused()
        return ref.shape

    def constant(self, name: str) -> Array:
        """An argument that does not depend on the picture."""
        value = self.get(name)
        if not isinstance(value, np.ndarray):
            raise self.refused()
        return np.asarray(value, np.float32)

    def add(
        self,
        op: str,
        inputs: list[Value | None],
        attributes: dict[str, Any] | None = None,
        outputs: int = 1,
        macs: Fraction = Fraction(0),
    ) -> list[Value]:
        """Append a step."""
        numbers = list(range(self.count, self.count + outputs))
        self.count += outputs
        self.steps.append(Step(op, self.call.module, inputs, numbers, attributes or {}, macs))
        return list(numbers)

    def area(self) -> Fraction:
        """Elements of one channel of the output, per pixel of the picture."""
        shape = self.call.outputs[0].shape
        area = Fraction(math.prod(shape[2:]), self.pixels)
        return area if math.prod(shape[2:]) > 1 else Fraction(0)
