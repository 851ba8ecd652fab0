"""A clip with a flash and a beep at the same moment, and when each is seen and heard."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FLASH = 1.2  # seconds; a whole number of pictures at 25 a second


def write_flash_and_beep(path: Path, codec: str, seconds: float = 2.4) -> None:
    """Black and silent, but for 200 ms from :data:`FLASH` on."""
    container = av.open(str(path), "w")
    video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    sound = container.add_stream(codec, rate=48000)
    assert isinstance(sound, av.AudioStream)
    sound.layout = "mono"
    packets = []
    for i in range(round(seconds * 25)):
        lit = 0 <= i / 25 - FLASH < 0.2
        picture = np.full((48, 64, 3), 235 if lit else 16, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        packets += video.encode(frame)
    packets += video.encode(None)
    for start in range(0, round(seconds * 48000), 960):
        when = (start + np.arange(960)) / 48000
        wave = np.where((when >= FLASH) & (when < FLASH + 0.2), np.sin(2 * np.pi * 1000 * when), 0)
        kind = sound.format.name.rstrip("p")
        data = (wave * 20000).astype(np.int16) if kind == "s16" else (0.6 * wave).astype(np.float32)
        block = av.AudioFrame.from_ndarray(data[None], format=kind, layout="mono")
        block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
        packets += sound.encode(block)
    packets += sound.encode(None)
    for packet in sorted(packets, key=lambda p: Fraction(p.dts or 0) * p.time_base):
        container.mux(packet)
    container.close()


def flash_and_beep(path: Path) -> tuple[float, float]:
    """When the picture becomes bright and when the sound begins, in seconds."""
    with av.open(str(path)) as container:
        flash = next(
            float(frame.pts * frame.time_base)
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 128
        )
    with av.open(str(path)) as container:
        for block in container.decode(audio=0):
            wave = block.to_ndarray().astype(np.float64)
            wave = np.abs(wave / (32768 if block.format.name.startswith("s16") else 1)).max(axis=0)
            loud = np.flatnonzero(wave > 0.2)
            if len(loud):
                return flash, float(block.pts * block.time_base) + loud[0] / block.sample_rate
    raise AssertionError("no beep")
