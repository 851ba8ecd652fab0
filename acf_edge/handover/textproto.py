"""Protocol buffers as text, as far as a model configuration needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_STEP = 2


@dataclass(frozen=True)
class Word:
    """The name of an enumeration's value, e.g. ``Word("TYPE_UINT8")``."""

    name: str


Scalar: TypeAlias = str | bool | int | Word
Message: TypeAlias = Mapping[str, "Scalar | Message | Sequence[int] | Sequence[str] | Messages"]
Messages: TypeAlias = "Sequence[Message]"


def write_message(message: Message) -> str:
    """The text of a message; fields stand in the order of the mapping.

    A sequence is a repeated field: on one line if it holds numbers or strings, else one block
    each. A map field is a sequence of messages ``{"key": ..., "value": ...}``.
    """
    return "".join(_lines(message, 0))


def _lines(message: Message, indent: int) -> list[str]:
    space = " " * indent
    lines: list[str] = []
    for name, value in message.items():
        if isinstance(value, Mapping):
            lines += _block(name, value, indent)
        elif isinstance(value, (str, bool, int, Word)):
            lines.append(f"{space}{name}: {_scalar(value)}\n")
        elif any(isinstance(item, Mapping) for item in value):
            for item in value:
                assert isinstance(item, Mapping)
                lines += _block(name, item, indent)
        else:
            items = [_scalar(item) for item in value if isinstance(item, (str, int))]
            lines.append(f"{space}{name}: [{', '.join(items)}]\n")
    return lines


def _block(name: str, message: Message, indent: int) -> list[str]:
    space = " " * indent
    return [f"{space}{name} {{\n", *_lines(message, indent + _STEP), f"{space}}}\n"]


def _scalar(value: Scalar) -> str:
    if isinstance(value, Word):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
