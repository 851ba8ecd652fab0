"""The wire format of protocol buffers, as far as ONNX files use it.

The runtime half installs without the ``onnx`` package; what it reads of a model, and
what it adds to one, is a few fields of this format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which field.
        value: an int for a varint, the content for everything else.
        raw: the whole field as it stands in the message, tag included.
    """

    number: int
    value: int | memoryview
    raw: memoryview


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        ValueError: it is cut off or no message.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _read_varint(data, at)
            yield Field(tag >> 3, number, data[start:at])
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field is cut off")
        yield Field(tag >> 3, data[at : at + size], data[start : at + size])
        at += size


def messages(data: memoryview, *numbers: int) -> Iterator[memoryview]:
    """The contents of the fields of these numbers that are no varints."""
    for number, value, _ in fields(data):
        if number in numbers and not isinstance(value, int):
            yield value


def integers(data: memoryview, wanted: int) -> list[int]:
    """The signed integers of a repeated field, packed or not."""
    found: list[int] = []
    for number, value, _ in fields(data):
        if number != wanted:
            continue
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            integer, at = _read_varint(value, at)
            found.append(_signed(integer))
    return found


def text(value: memoryview) -> str:
    """A string."""
    return bytes(value).decode("utf-8", "replace")


def message(number: int, *parts: bytes | memoryview) -> bytes:
    """The field ``number`` with a content: a message, a string, bytes."""
    content = b"".join(parts)
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def integer(number: int, value: int) -> bytes:
    """The field ``number`` with an integer."""
    return _varint(number << 3 | _VARINT) + _varint(value % 2**64)


def string(number: int, value: str) -> bytes:
    """The field ``number`` with a string."""
    return message(number, value.encode())


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)
