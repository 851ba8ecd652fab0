"""A webcam through V4L2: a stand-in answers FFmpeg's system calls in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DEVICE = "v4l2:///dev/video77"

COMMON = """
import json, sys, threading, time
from pathlib import Path
from acf_edge.errors import InputError
from acf_edge.stream.protocols import SourceLost
from acf_edge.stream.sources.reconnect import Reconnecting
from acf_edge.stream.uri import open_source

folder, uri = Path(sys.argv[1]), sys.argv[2]
source = open_source(uri)
out = {}

def number(frame):  # the luma of frame n is 16 + 8 * (n % 24), limited range
    return round(float(frame.pixels.mean()) * 219 / 255 / 8)

def handles():
    return len(list(Path("/proc/self/fd").iterdir()))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("camera") / "fake_camera.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "fake_camera.c")]
    done = subprocess.run([*command, "-ldl"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the stand-in cannot be compiled: {done.stderr[:200]}")
    return made


@pytest.fixture
def run(library: Path, tmp_path: Path) -> Any:
    def run(code: str, uri: str = DEVICE, **state: bool) -> dict[str, Any]:
        for name, there in state.items():
            if there:
                (tmp_path / name).touch()
        environment = {**os.environ, "LD_PRELOAD": str(library), "FAKE_CAMERA": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", f"{COMMON}\n{code}\nprint(json.dumps(out))", str(tmp_path), uri],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


READ = """
info = source.open()
frames = []
for item in source.items():
    frames.append(item)
    if len(frames) == 12:
        break
source.close()
out.update(size=(info.width, info.height), rate=str(info.rate), live=info.live,
    matrix=info.colour.matrix, notes=info.notes, numbers=[number(f) for f in frames],
    steps=[float(b.seconds - a.seconds) for a, b in zip(frames, frames[1:])])
"""


@pytest.mark.parametrize("query", ["", "&deinterlace=1"])
def test_pictures_come_in_order_with_the_cameras_times(run: Any, query: str) -> None:
    found = run(READ, f"{DEVICE}?width=160&height=120&fps=20{query}")
    assert found["size"] == [160, 120] and found["rate"] == "20" and found["live"]
    assert found["matrix"] == 6 and len(found["notes"]) == bool(query)
    first = found["numbers"][0]
    assert found["numbers"] == [(first + i) % 24 for i in range(12)]
    assert found["steps"] == pytest.approx([0.05] * 11, abs=1e-5)


def test_what_the_camera_makes_of_the_wish_is_said(run: Any) -> None:
    found = run(READ, f"{DEVICE}?width=640&height=480&fps=60")
    assert found["size"] == [320, 240]
    assert found["notes"] == [
        "the camera gives 320x240, not 640x480",
        "the camera gives 20 frames per second, not 60",
    ]


FAIL = """
try:
    source.open()
except InputError as error:
    out["error"] = str(error)
"""


@pytest.mark.parametrize(
    ("uri", "state", "says"),
    [
        (DEVICE, "unplugged", "There is no camera '/dev/video77'"),
        (DEVICE, "busy", "is in use"),
        (f"{DEVICE}?format=h264", "", "v4l2-ctl --list-formats-ext"),
        ("v4l2:///dev/null", "", "cannot be opened that way"),
        ("v4l2://78", "", "There is no camera '/dev/video78'"),
    ],
)
def test_why_a_camera_cannot_be_opened(run: Any, uri: str, state: str, says: str) -> None:
    assert says in run(FAIL, uri, **({state: True} if state else {}))["error"]


def test_a_camera_that_is_unplugged_is_lost_and_comes_back(run: Any) -> None:
    found = run("""
states, stamps = [], []
whole = Reconnecting(source, on_state=lambda state, reason: states.append((state, reason)))
whole.open()
before = handles()
for item in whole.items():
    stamps.append(float(item.seconds))
    if len(stamps) == 5:
        (folder / "unplugged").touch()
        threading.Timer(1.0, (folder / "unplugged").unlink).start()
    if len(stamps) == 10:
        out["handles"] = handles() - before
        break
whole.close()
out.update(states=states, stamps=stamps, recoveries=whole.recoveries)
""")
    assert found["recoveries"] == 1 and found["handles"] == 0
    states = [tuple(state) for state in found["states"]]
    assert states[:2] == [("live", ""), ("lost", "it was unplugged")]
    assert ("lost", "There is no camera '/dev/video77'.") in states
    assert states[-1] == ("live", "") or states[-2] == ("live", "")
    gap = found["stamps"][5] - found["stamps"][4]
    assert found["stamps"][0] == 0 and 1.0 < gap < 10
    assert found["stamps"] == sorted(set(found["stamps"]))


def test_a_camera_that_hangs_is_noticed(run: Any) -> None:
    found = run(
        """
source.open()
try:
    for count, item in enumerate(source.items()):
        if count == 3:
            (folder / "hung").touch()
            begun = time.monotonic()
except SourceLost as lost:
    out.update(reason=lost.reason, after=time.monotonic() - begun)
source.close()
""",
        f"{DEVICE}?timeout=0.5",
    )
    assert found["reason"] == "no picture for 0.5 s"
    assert 0.5 <= found["after"] < 3


def test_a_camera_that_never_gives_a_picture_is_noticed(run: Any) -> None:
    found = run(
        """
try:
    source.open()
except SourceLost as lost:
    out["reason"] = lost.reason
""",
        f"{DEVICE}?timeout=0.4",
        hung=True,
    )
    assert "no " in found["reason"] and " s" in found["reason"]


def test_closing_while_the_camera_hangs(run: Any) -> None:
    found = run("""
source.open()
counted = []
thread = threading.Thread(target=lambda: counted.extend(source.items()))
thread.start()
time.sleep(0.3)
(folder / "hung").touch()
time.sleep(0.2)
source.close()
thread.join(3)
out.update(alive=thread.is_alive(), count=len(counted))
""")
    assert not found["alive"] and found["count"] > 0
