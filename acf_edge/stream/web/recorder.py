"""Recording from the page: a sink that is attached while it lasts."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from acf_edge.errors import InputError
from acf_edge.stream.protocols import Controls

# A recording ends by itself before it fills the disk.
LEAST_FREE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that runs.

    Attributes:
        number: of the attached sink.
        path: the file.
        began: ``time.monotonic()``.
    """

    number: int
    path: Path
    began: float


@dataclass(slots=True)
class Finished:
    """A recording that is whole, to be fetched by the browser.

    Attributes:
        path: the file.
        fetched: somebody has downloaded all of it.
    """

    path: Path
    fetched: bool = False


@dataclass(slots=True)
class Recorder:
    """Starts and stops one recording at a time; thread-safe.

    The file is written by the stream's own recording sink, so it is whole (and has
    the pictures as they were enhanced, not as they were coded for the browser).
    With ``save`` it stays there; otherwise it lies in a folder of its own until the
    browser has fetched it.

    Args:
        controls: of the running stream.
        save: folder for recordings, or None.
    """

    controls: Controls
    save: Path | None
    finished: dict[str, Finished] = field(default_factory=dict)
    _running: Recording | None = None
    _folder: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def running(self) -> Recording | None:
        """The recording that runs, if any."""
        return self._running

    def start(self) -> Recording:
        """Begin a recording.

        Raises:
            InputError: one runs already, the disk is nearly full, or the sink cannot be made.
        """
        with self._lock:
            if self._running is not None:
                raise InputError("A recording runs already.", "Stop it first.")
            folder = self.save or self._own_folder()
            if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
                raise InputError(f"The disk that holds '{folder}' is nearly full.", "Free some.")
            path = _free_name(folder, stamp(), ".mp4")
            number = self.controls.attach(str(path))
            self._running = Recording(number, path, time.monotonic())
            return self._running

    def stop(self) -> tuple[Path, Sequence[str]]:
        """Finish the recording; returns the file and the sink's notes.

        Raises:
            InputError: none runs, or the file could not be finished.
        """
        with self._lock:
            recording = self._running
            if recording is None:
                raise InputError("No recording runs.", "Start one first.")
            self._running = None
            notes = self.controls.detach(recording.number)
            if not recording.path.is_file():
                raise InputError("Nothing was recorded.", " ".join(notes))
            if self.save is None:
                self.finished[recording.path.name] = Finished(recording.path)
            return recording.path, notes

    def watch(self, stats: Mapping[str, Any]) -> str | None:
        """Notice a recording that ended by itself; returns why, or None.

        Args:
            stats: of the stream.
        """
        recording = self._running
        if recording is None:
            return None
        for sink in stats.get("sinks", ()):
            if sink.get("number") == recording.number and sink.get("state") == "failed":
                with contextlib.suppress(InputError):
                    self.stop()
                return str(sink.get("reason") or "the recording failed")
        if shutil.disk_usage(recording.path.parent).free < LEAST_FREE_BYTES:
            with contextlib.suppress(InputError):
                self.stop()
            return "the disk is nearly full; what was recorded is whole"
        return None

    def close(self) -> list[str]:
        """Throw away what was fetched; returns notes on what was not.

        A recording that still runs is the stream's to finish, as it finishes all sinks.
        """
        with self._lock:
            if self._folder is None:
                return []
            for each in self.finished.values():
                if each.fetched:
                    each.path.unlink(missing_ok=True)
            kept = [each.path for each in self.finished.values() if each.path.is_file()]
            if self._running is not None:
                kept.append(self._running.path)
            if not kept:
                shutil.rmtree(self._folder, ignore_errors=True)
            return [f"a recording that nobody fetched is kept: '{path}'" for path in kept]

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="acf-edge-web-"))
        return self._folder


def stamp() -> str:
    """A name that begins with the time, UTC, e.g. ``acf-20261103-101500``."""
    return datetime.now(timezone.utc).strftime("acf-%Y%m%d-%H%M%S")


def _free_name(folder: Path, stem: str, suffix: str) -> Path:
    count, path = 1, folder / f"{stem}{suffix}"
    while path.exists():
        count += 1
        path = folder / f"{stem}-{count}{suffix}"
    return path
