"""Power mode and clocks of a Jetson, read from where its kernel tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEVFREQ: Final = Path("/sys/class/devfreq")
RELEASE: Final = Path("/etc/nv_tegra_release")
# Orin: 17000000.gpu, older kernels 17000000.ga10b; Thor: gpu-gpc-0 and others.
_GPU: Final = re.compile(r"gpu|g[av]1\d?b|gb\d\db")
_JETPACK: Final = {"35": "JetPack 5", "36": "JetPack 6", "38": "JetPack 7", "39": "JetPack 7"}


@dataclass(frozen=True)
class Clock:
    """A GPU's clock, in MHz.

    Attributes:
        name: the kernel's name of it.
        now: this moment's.
        low, high: between which it floats.
        most: the fastest that the chip has; 0 where it is not told.
    """

    name: str
    now: int
    low: int
    high: int
    most: int

    def __str__(self) -> str:
        words = f"GPU at {self.now} MHz"
        if self.low == self.high:
            words += ", held there"
        else:
            words += f", floats between {self.low} and {self.high} ('sudo jetson_clocks' holds it)"
        if self.high < self.most:
            words += f"; the power mode caps it below {self.most}"
        return words


def gpu_clocks(folder: Path = DEVFREQ) -> tuple[Clock, ...]:
    """The GPU's clocks; empty where the kernel tells none."""
    try:
        places = sorted(place for place in folder.iterdir() if _GPU.search(place.name))
    except OSError:
        return ()
    found = []
    for place in places:
        numbers = [_mhz(place / f"{name}_freq") for name in ("cur", "min", "max")]
        if all(number is not None for number in numbers):
            now, low, high = (number or 0 for number in numbers)
            found.append(Clock(place.name, now, low, high, _most(place)))
    return tuple(found)


def l4t_release(file: Path = RELEASE) -> str | None:
    """Jetson Linux and its JetPack, e.g. ``"L4T 36.4.3 (JetPack 6)"``; None elsewhere."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    if match is None:
        return None
    jetpack = _JETPACK.get(match[1])
    return f"L4T {match[1]}.{match[2]}" + (f" ({jetpack})" if jetpack else "")


def _mhz(file: Path) -> int | None:
    try:
        return round(int(file.read_text()) / 1e6)
    except (OSError, ValueError):
        return None


def _most(place: Path) -> int:
    try:
        return max(
            round(int(n) / 1e6) for n in (place / "available_frequencies").read_text().split()
        )
    except (OSError, ValueError):
        return 0
