"""Films of some segments, runs of them that are stopped, and what is in the results."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
from video_clips import FakeEngine, numbered_picture, smooth_picture, write_clip

from acf_edge.stream import EnhanceSummary, enhance_file

LENGTH = 10  # frames of a segment in these tests


def pictures(count: int) -> list[np.ndarray]:
    """Numbered above, moving below, so that B-frames are worth their while."""
    made = []
    for i in range(count):
        picture = numbered_picture(48, 64, i % 256)
        picture[24:] = np.roll(smooth_picture(24, 64, i // 9), i, 1)
        made.append(picture)
    return made


def film(path: Path, count: int = 66, **options: Any) -> Path:
    options.setdefault("options", {"preset": "fast", "bf": "3", "g": "17"})
    write_clip(path, pictures(count), **options)
    return path


class Stopping(FakeEngine):
    """Asks to stop when it has seen so many frames."""

    def __init__(self, after: int) -> None:
        super().__init__(2)
        self.cancel = threading.Event()
        self._after = after

    def run(self, frame: np.ndarray) -> np.ndarray:
        if self.calls == self._after:
            self.cancel.set()
        return super().run(frame)


def enhance(source: Path, target: Path, **options: Any) -> tuple[EnhanceSummary, FakeEngine]:
    engine = options.pop("engine", None) or FakeEngine(2)
    return enhance_file(source, target, engine, segment_frames=LENGTH, **options), engine


def stopped(source: Path, target: Path, after: int, **options: Any) -> EnhanceSummary:
    engine = Stopping(after)
    summary, _ = enhance(source, target, engine=engine, cancel=engine.cancel, **options)
    assert summary.interrupted and summary.frames == 0
    assert not target.exists()
    return summary


def packets(path: Path) -> list[tuple[int, int | None, int | None, int | None, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.stream_index, packet.pts, packet.dts, packet.duration, bytes(packet))
            for packet in container.demux()
            if packet.size
        ]
