"""How the board feels: power mode and temperature of a Jetson, where jtop tells them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoardState:
    """What is known of the board.

    Attributes:
        power_mode: e.g. ``"15W"``; empty where unknown.
        temperature: hottest sensor, degrees Celsius; None where unknown.
        hot: too warm, or throttled by its own protection.
    """

    power_mode: str
    temperature: float | None
    hot: bool
