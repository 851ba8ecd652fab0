"""Times and sound through the running pipeline: a flash and a beep stay together."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from sync_tools import FLASH, flash_and_beep, write_flash_and_beep
from truth_ways import running
from video_clips import FakeEngine, Image, numbered_picture, read_clip, write_clip

from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.uri import open_sink, open_source

IN_SYNC = 0.020


class SlowEngine(FakeEngine):
    """Takes its time: sound must not run ahead of the pictures in the file."""

    def run(self, frame: Image) -> Image:
        time.sleep(0.02)
        return super().run(frame)


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [
        (".mp4", ".mp4", "aac"),
        (".mp4", ".mov", "aac"),
        (".mp4", ".mkv", "aac"),
        (".mp4", ".ts", "aac"),
        (".ts", ".mp4", "aac"),
        (".ts", ".mkv", "mp2"),
        (".mkv", ".mkv", "libopus"),
        (".mkv", ".webm", "libopus"),
        (".mkv", ".mkv", "pcm_s16le"),
    ],
)
def test_flash_and_beep_stay_together(tmp_path: Path, source: str, target: str, codec: str) -> None:
    before, after = tmp_path / f"in{source}", tmp_path / f"out{target}"
    write_flash_and_beep(before, codec)
    lane = Lane(open_source(str(before)), [open_sink(str(after))])
    summary = StreamRun([lane], [SlowEngine(2)]).run()
    assert summary.exit_code == 0
    first, second = flash_and_beep(before), flash_and_beep(after)
    assert abs(first[0] - first[1]) <= 0.03  # the clip itself is as it should be
    drift = (second[0] - second[1]) - (first[0] - first[1])
    assert abs(drift) <= IN_SYNC


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".ts"])
def test_they_stay_together_when_it_is_live(tmp_path: Path, target: str) -> None:
    """A live recording begins at zero, sound and picture alike."""
    before, after = tmp_path / "in.mp4", tmp_path / f"out{target}"
    write_flash_and_beep(before, "aac", seconds=1.8)
    with running(f"{before}?realtime=1", str(after)) as thread:
        thread.join(10)
    first, second = flash_and_beep(before), flash_and_beep(after)
    drift = (second[0] - second[1]) - (first[0] - first[1])
    assert abs(drift) <= IN_SYNC
    assert second[0] == pytest.approx(FLASH, abs=0.1)


def test_they_stay_together_when_it_begins_in_the_middle(tmp_path: Path) -> None:
    before, after = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_flash_and_beep(before, "aac")
    with running(f"{before}?start=0.8", str(after)) as thread:
        thread.join(10)
    first, second = flash_and_beep(before), flash_and_beep(after)
    drift = (second[0] - second[1]) - (first[0] - first[1])
    assert abs(drift) <= IN_SYNC
    assert second[0] == pytest.approx(FLASH - 0.8, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm"])
def test_variable_and_changing_rates_are_kept(tmp_path: Path, suffix: str) -> None:
    before, after = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    # 25 a second, then 10, a pause, then 50; whole milliseconds, which all of them hold.
    pts = [40 * i for i in range(10)] + [400 + 100 * i for i in range(5)]
    pts += [2500 + 20 * i for i in range(20)]
    pictures = [numbered_picture(48, 64, i) for i in range(len(pts))]
    write_clip(before, pictures, pts=pts, time_base=Fraction(1, 1000))
    with running(str(before), str(after)) as thread:
        thread.join(20)
    got = read_clip(after)
    assert got.numbers == list(range(len(pts)))
    assert got.seconds == [Fraction(t, 1000) for t in pts]
