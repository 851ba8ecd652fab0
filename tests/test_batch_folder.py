"""Folders: names, what is skipped, what fails, what is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from video_clips import FakeEngine, numbered_picture, read_clip, smooth_picture, write_clip

from acf_edge.errors import InputError
from acf_edge.stream import EnhanceSummary, enhance_file
from acf_edge.stream.batch.display import print_folder
from acf_edge.stream.batch.folder import (
    JOURNAL,
    FolderSummary,
    enhance_folder,
    folder_json,
    plan_folder,
)


def _picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), smooth_picture(24, 32, seed))
    return path


def _clip(path: Path, count: int = 12, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("time_base", Fraction(1, 25))
    write_clip(path, [numbered_picture(48, 64, i) for i in range(count)], **options)
    return path


class Maker:
    """Enhances files and remembers which."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, source: Path, target: Path) -> EnhanceSummary:
        self.made.append(source.name)
        return enhance_file(source, target, FakeEngine(2))


def _run(source: Path, target: Path, **options: Any) -> tuple[FolderSummary, list[str]]:
    maker = options.pop("maker", Maker())
    summary = enhance_folder(source, target, maker, options.pop("key", "k"), **options)
    return summary, maker.made


def _tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_pictures_and_videos_below_a_folder(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    _picture(source / "a.png")
    _picture(source / "deep" / "er" / "B.JPG")
    _clip(source / "c.mp4", audio=["aac"])
    _clip(source / "deep" / "d.avi", codec="mpeg4")
    (source / "notes.txt").write_text("not mine")
    _picture(source / ".hidden.png")
    _picture(source / ".cache" / "e.png")
    _picture(source / "c.mp4.acf-work" / "f.png")
    summary, made = _run(source, target)
    assert _tree(target) == [JOURNAL, "a.png", "c.mp4", "deep/d.mkv", "deep/er/B.JPG"]
    assert made == ["a.png", "c.mp4", "d.avi", "B.JPG"]
    assert (summary.done, summary.skipped, summary.failed, summary.left) == (4, 0, 0, 0)
    assert summary.ignored == 1 and not summary.interrupted
    assert cv2.imread(str(target / "a.png")).shape == (48, 64, 3)
    assert read_clip(target / "c.mp4").numbers == list(range(12))
    assert len(read_clip(target / "c.mp4").audio) == 1
    assert [r.status for r in summary.files] == ["done"] * 4
    assert json.loads(json.dumps(folder_json(summary)))["files"][1]["summary"]["frames"] == 12


def test_what_is_done_is_skipped(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for number in range(4):
        _picture(source / f"{number}.png", number)
    _run(source, target)
    summary, made = _run(source, target)
    assert made == [] and summary.skipped == 4
    assert {r.reason for r in summary.files} == {"done by an earlier run"}
    _picture(source / "0.png", 9)  # another content
    os.utime(source / "1.png", ns=(1, 1))
    (target / "2.png").unlink()
    summary, made = _run(source, target)
    assert made == ["0.png", "1.png", "2.png"] and summary.skipped == 1
    _, made = _run(source, target, key="another engine")
    assert len(made) == 4
    _, made = _run(source, target, key="another engine", restart=True)
    assert len(made) == 4
    (target / "3.png").write_bytes(b"something else")
    _, made = _run(source, target, key="another engine")
    assert made == ["3.png"]


def test_a_journal_that_a_crash_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        _picture(source / f"{number}.png", number)
    _run(source, target)
    text = (target / JOURNAL).read_text()
    (target / JOURNAL).write_text(text[: text.rindex("{") + 20])
    _, made = _run(source, target)
    assert made == ["2.png"]
    _, made = _run(source, target)
    assert made == []


def test_a_file_that_fails_stops_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    _picture(source / "a.png")
    (source / "b.mp4").write_text("This is not a video.\n" * 99)
    (source / "c.png").write_bytes(b"")
    _picture(source / "d.png")
    _picture(source / "e.png")

    class Breaking(Maker):
        def __call__(self, path: Path, output: Path) -> EnhanceSummary:
            if path.name == "d.png":
                raise ZeroDivisionError("a bug of ours")
            return super().__call__(path, output)

    summary, _ = _run(source, target, maker=Breaking())
    assert [r.status for r in summary.files] == ["done", "failed", "failed", "failed", "done"]
    reasons = [r.reason for r in summary.files]
    assert "is not a video" in reasons[1] or "no video stream" in reasons[1]
    assert "is empty" in reasons[2]
    assert reasons[3] == "internal error: ZeroDivisionError: a bug of ours"
    assert (summary.done, summary.failed) == (2, 3)
    summary, made = _run(source, target)
    assert (summary.done, summary.skipped, summary.failed) == (1, 2, 2)
    assert made == ["b.mp4", "c.png", "d.png"]


def test_names_that_would_meet_keep_their_suffix(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("a.avi", "b.avi", "b.MKV", "c.ts", "c.wmv", "d.webm", "D/c.ts"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    plan = plan_folder(source, target)
    names = {str(a.relative_to(source)): str(b.relative_to(target)) for a, b in plan.pairs}
    assert names == {
        "a.avi": "a.mkv",
        "b.avi": "b.avi.mkv",
        "b.MKV": "b.MKV",
        "c.ts": "c.ts.mkv",
        "c.wmv": "c.wmv.mkv",
        "d.webm": "d.webm",
        "D/c.ts": "D/c.mkv",
    }
    assert len(set(names.values())) == len(names)


def test_the_output_folder_is_never_looked_into(tmp_path: Path) -> None:
    source = tmp_path / "in"
    target = source / "sharper"
    _picture(source / "a.png")
    _run(source, target)
    summary, made = _run(source, target)
    assert _tree(source) == ["a.png", f"sharper/{JOURNAL}", "sharper/a.png"]
    assert made == [] and len(summary.files) == 1
    (source / "loop").symlink_to(source)
    _, made = _run(source, target)
    assert made == []


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    source = tmp_path / "in"
    _picture(source / "a.png")
    for target in (source, tmp_path):
        with pytest.raises(InputError, match="is the input folder itself, or holds it"):
            plan_folder(source, target)
    with pytest.raises(InputError, match="is a file"):
        plan_folder(source, source / "a.png")
    with pytest.raises(InputError, match="is no folder"):
        plan_folder(tmp_path / "gone", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures or videos"):
        plan_folder(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stopped_run_leaves_nothing_half_done(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    _picture(source / "a.png")
    _clip(source / "b.mp4", 60)
    _picture(source / "c.png")
    cancel = threading.Event()

    class Stopping(FakeEngine):
        def run(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 20:
                cancel.set()
            return super().run(frame)

    def make(path: Path, output: Path) -> EnhanceSummary:
        return enhance_file(path, output, Stopping(2), cancel=cancel)

    summary = enhance_folder(source, target, make, "k", cancel=cancel)
    assert [r.status for r in summary.files] == ["done", "stopped"]
    assert (summary.interrupted, summary.done, summary.left) == (True, 1, 2)
    assert _tree(target) == [JOURNAL, "a.png"]
    cancel.clear()
    summary, made = _run(source, target)
    assert made == ["b.mp4", "c.png"] and summary.done == 2


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    _picture(source / "a[b].png")
    (source / "bad.png").write_bytes(b"")
    summary, _ = _run(source, target)
    print_folder(summary)
    out = capsys.readouterr().out
    assert "a[b].png" in out and "bad.png" in out and "is empty" in out
    assert "1 done, 0 skipped, 1 failed" in out
    print_folder(summary, quiet=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "bad.png" in captured.err
    print_folder(summary, as_json=True)
    assert json.loads(capsys.readouterr().out)["failed"] == 1


_SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from video_clips import FakeEngine
import acf_edge.engine
class Slow(FakeEngine):
    def run(self, frame):
        time.sleep(0.02)
        return super().run(frame)
acf_edge.engine.load_engine = lambda bundle=None, **_: Slow(2)
from acf_edge.cli.main import main
sys.exit(main(["enhance", *sys.argv[1:]]))
"""


def _start(*words: str) -> subprocess.Popen[str]:
    code = _SLOW.format(tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    _clip(source / "a.mp4", 100)
    _picture(source / "b.png")
    words = (str(source), str(target), "--segment-frames", "10")
    process = _start(*words)
    for _ in range(3000):
        if len(list(target.glob("a.mp4.acf-work/segment-*"))) >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted: 2 files are left" in errors and "Traceback" not in errors
    (source / "c.png").write_bytes(b"")
    process = _start(*words)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "going on: " in errors
    assert "2 done, 0 skipped, 1 failed" in out
    assert read_clip(target / "a.mp4").numbers == list(range(100))
    (source / "c.png").unlink()
    process = _start(*words, "--json")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["skipped"] == 2
    process = _start(str(source), str(source))
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "") and len(errors.splitlines()) == 1
