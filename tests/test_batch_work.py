"""The work folder: what is taken up, what is not, and what a full disk or a power cut does."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from long_films import LENGTH, Stopping, enhance, film, packets, pictures, stopped
from video_clips import FakeEngine, read_clip, write_clip

from acf_edge.errors import InputError
from acf_edge.stream import enhance_file
from acf_edge.stream.batch.join import join
from acf_edge.stream.batch.work import work_path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crf": 30}, "the options"),
        ({"preset": "fast"}, "the options"),
        ({"engine_id": "another"}, "the engine"),
        ({"deinterlace": "auto"}, "the options"),
    ],
)
def test_other_work_is_begun_anew_and_it_is_said(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    stopped(source, target, 35)
    lines: list[str] = []
    summary, engine = enhance(source, target, say=lines.append, **change)
    assert summary.resumed_frames == 0 and engine.calls == 66
    assert lines == summary.events and len(lines) == 1
    assert lines[0].startswith(f"started anew: {said} changed")
    enhance(source, tmp_path / "whole.mp4", **change)
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_another_input_is_begun_anew(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    stopped(source, target, 35)
    write_clip(source, pictures(66)[::-1])
    summary, _ = enhance(source, target)
    assert summary.resumed_frames == 0 and "the input changed" in summary.events[0]
    assert read_clip(target).numbers == list(range(66))[::-1]


def test_sound_and_damage_options_do_not_undo_what_is_done(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", audio=["aac"]), tmp_path / "out.mp4"
    kept = stopped(source, target, 35).kept_frames
    summary, _ = enhance(source, target, audio=False, keep_damaged=True)
    assert summary.resumed_frames == kept and summary.audio_streams == 0
    assert read_clip(target).audio == []


def test_restart_begins_anew(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    stopped(source, target, 35)
    summary, engine = enhance(source, target, restart=True)
    assert summary.resumed_frames == 0 and engine.calls == 66 and summary.events == []


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "zeros", "foreign"])
def test_a_segment_that_a_power_cut_spoiled_is_made_again(tmp_path: Path, harm: str) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    enhance(source, tmp_path / "whole.mp4")
    kept = stopped(source, target, 45).kept_frames
    victim = work_path(target) / "segment-000001.acfseg"
    data = bytearray(victim.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    elif harm == "foreign":
        data = bytearray((work_path(target) / "segment-000002.acfseg").read_bytes())
    spoiled = {"cut": data[: len(data) // 2], "empty": b"", "zeros": bytes(len(data))}
    victim.write_bytes(spoiled.get(harm, data))
    summary, engine = enhance(source, target)
    assert summary.resumed_frames == kept - LENGTH
    assert engine.calls == 66 - summary.resumed_frames
    assert packets(target) == packets(tmp_path / "whole.mp4")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "null"])
def test_a_manifest_that_a_power_cut_spoiled_is_no_manifest(tmp_path: Path, text: str) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    stopped(source, target, 35)
    (work_path(target) / "manifest.json").write_text(text)
    summary, _ = enhance(source, target)
    assert summary.resumed_frames == 0 and "its manifest is damaged" in summary.events[0]
    assert read_clip(target).numbers == list(range(66))


def test_a_run_that_died_while_joining_only_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = film(tmp_path / "in.mp4", audio=["aac"]), tmp_path / "out.mp4"

    def dies(work: Any, *rest: Any) -> None:
        join(work, *rest)
        work.joined.write_bytes(work.joined.read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("acf_edge.stream.batch.long.join", dies)
        with pytest.raises(KeyboardInterrupt):
            enhance(source, target)
    assert not target.exists()
    summary, engine = enhance(source, target)
    assert engine.calls == 0 and summary.resumed_frames == 66
    enhance(source, tmp_path / "whole.mp4")
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_an_old_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    engine = Stopping(35)
    enhance(source, target, engine=engine, cancel=engine.cancel)
    assert target.read_bytes() == b"precious"
    enhance(source, target)
    assert read_clip(target).numbers == list(range(66))


def test_two_runs_do_not_meddle(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"

    class Meanwhile(FakeEngine):
        def run(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 20:
                with pytest.raises(InputError, match="Another acf-edge is at work"):
                    enhance(source, target)
            return super().run(frame)

    summary, _ = enhance(source, target, engine=Meanwhile(2))
    assert summary.frames == 66


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    work_path(target).mkdir()
    mine = work_path(target) / "diary.txt"
    mine.write_text("dear diary")
    with pytest.raises(InputError, match=r"is in the way: it holds 'diary\.txt'"):
        enhance(source, target, restart=True)
    assert mine.read_text() == "dear diary"
    enhance_file(source, target, FakeEngine(2))  # short enough for one go
    assert mine.read_text() == "dear diary"
    # What file managers and NFS put anywhere is no reason to refuse, and none to remove.
    mine.rename(work_path(target) / ".directory")
    summary, _ = enhance(source, target)
    assert summary.frames == 66
    assert [p.name for p in work_path(target).iterdir()] == [".directory"]


def test_short_videos_are_made_in_one_go(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4", 20), tmp_path / "out.mp4"
    summary, _ = enhance(source, target)
    assert summary.segments == 0 and summary.frames == 20
    # What a run with shorter segments left is of no use any more.
    engine = Stopping(12)
    enhance_file(source, target, engine, segment_frames=5, cancel=engine.cancel)
    assert work_path(target).is_dir()
    enhance_file(source, target, FakeEngine(2))
    assert not work_path(target).exists()
    with pytest.raises(InputError, match="--segment-frames -1 is out of range"):
        enhance_file(source, target, FakeEngine(2), segment_frames=-1)


@pytest.mark.parametrize("count", [60, 61, 69])
def test_a_film_of_whole_segments_ends_where_it_should(tmp_path: Path, count: int) -> None:
    source, target = film(tmp_path / "in.mp4", count), tmp_path / "out.mp4"
    summary, _ = enhance(source, target)
    assert (summary.frames, summary.segments) == (count, -(-count // LENGTH))
    assert read_clip(target).numbers == list(range(count))
    assert read_clip(target).duration == read_clip(source).duration
    # Killed after the last segment and before the end was written down.
    engine = Stopping(count - 1)
    enhance(source, tmp_path / "b.mp4", engine=engine, cancel=engine.cancel)
    enhance(source, tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == target.read_bytes()


def test_a_damaged_film_keeps_what_was_done_before_the_damage(tmp_path: Path) -> None:
    source, target = tmp_path / "in.avi", tmp_path / "out.mp4"
    film(source, codec="mpeg4", options={"g": "1"}, time_base=Fraction(1, 25))
    data = bytearray(source.read_bytes())
    at = [i for i in range(len(data)) if data.startswith(b"00dc", i)][33]
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = b"\xff" * size
    source.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"is damaged: .*--keep-damaged.* frames are kept in"):
        enhance(source, target)
    summary, engine = enhance(source, target, keep_damaged=True)
    assert summary.frames == 65 and summary.resumed_frames >= 20
    assert engine.calls == 65 - summary.resumed_frames
    whole, _ = enhance(source, tmp_path / "whole.mp4", keep_damaged=True)
    assert summary.notes == whole.notes and any("damaged" in note for note in whole.notes)
    assert packets(target) == packets(tmp_path / "whole.mp4")


@pytest.mark.parametrize(("suffix", "sound"), [(".webm", "aac"), (".mov", "libopus")])
def test_sound_that_does_not_fit_is_refused_before_any_work(
    tmp_path: Path, suffix: str, sound: str
) -> None:
    source, engine = film(tmp_path / "in.mkv", audio=[sound]), FakeEngine(2)
    with pytest.raises(InputError, match=rf"'\{suffix}' cannot hold .*{sound[-3:]}.*--no-audio"):
        enhance(source, tmp_path / f"out{suffix}", engine=engine)
    assert engine.calls == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


_FULL = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from long_films import LENGTH, Stopping, enhance, film, packets, pictures, stopped
from video_clips import FakeEngine
from acf_edge.errors import InputError
from acf_edge.stream import enhance_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    enhance_file({source!r}, {target!r}, FakeEngine(2), segment_frames=10)
except InputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("where", ["segment", "join"])
def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, where: str) -> None:
    """A size limit stands in for a full disk: both arrive as an error while writing."""
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    enhance(source, tmp_path / "whole.mp4")
    kept = stopped(source, target, 35).kept_frames
    largest = max(path.stat().st_size for path in work_path(target).iterdir())
    limit = 600 if where == "segment" else 2 * largest
    assert limit < (tmp_path / "whole.mp4").stat().st_size
    code = _FULL.format(
        tests=str(Path(__file__).parent), limit=limit, source=str(source), target=str(target)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1
    assert "frames are kept in" in done.stdout
    assert not target.exists()
    summary, _ = enhance(source, target)
    assert summary.resumed_frames == (kept if where == "segment" else 66)
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_progress_starts_where_the_last_run_ended(tmp_path: Path) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    kept = stopped(source, target, 35).kept_frames
    seen: list[tuple[int, int | None]] = []
    enhance(source, target, on_progress=lambda done, of: seen.append((done, of)))
    assert seen[0] == (kept, 66) and seen[-1] == (66, 66)
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
