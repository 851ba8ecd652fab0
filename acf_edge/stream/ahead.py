"""Frames ahead of each other on a GPU: one is copied in while the one before it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from acf_edge.engine.protocol import Engine, Uint8Image

T = TypeVar("T")


class Later(Generic[T]):
    """A result that is under way: the next stage waits for it, while this one begins another.

    Args:
        fetch: waits, and returns the result.
    """

    def __init__(self, fetch: Callable[[], T]) -> None:
        self.fetch = fetch


def start(engine: Engine, pixels: Uint8Image, then: Callable[[Uint8Image], T]) -> T | Later[T]:
    """Enhance a picture; where the engine has ``submit``, without waiting for the result.

    Args:
        engine: any.
        pixels: ``(H, W, 3)`` uint8 RGB.
        then: makes of the enhanced picture what the next stage takes.
    """
    submit = getattr(engine, "submit", None)
    if submit is None:
        return then(engine.run(pixels))
    ticket = submit(pixels)
    return Later(lambda: then(ticket.result()))


def settled(consume: Callable[[T], None]) -> Callable[[T | Later[T]], None]:
    """A stage that first waits for what :func:`start` began."""

    def stage(item: T | Later[T]) -> None:
        consume(item.fetch() if isinstance(item, Later) else item)

    return stage
