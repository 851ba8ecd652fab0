"""The work folder beside the output: what survives a crash."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error
from acf_edge.stream.batch.manifest import Manifest
from acf_edge.stream.batch.segment import Mark, Segment, SegmentError

SUFFIX = ".acf-work"
_MANIFEST, _LOCK, _ENDING, _JOINED = "manifest.json", "lock", "end.json", "joined"
_SEGMENT = re.compile(r"segment-(\d{6,})\.acfseg")
# Everything that this module ever puts there, with the temporary names of `atomic_path`.
_OURS = re.compile(
    r"manifest\.json|lock|end\.json|joined\.\w+|segment-\d{6,}\.acfseg"
    r"|\.(?:manifest|end|segment-\d{6,})-\w+\.(?:json|acfseg)"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known once the source has been read to its end.

    Attributes:
        frames: of the whole film.
        corrupt: frames that the decoder marked as damaged.
        notes: everything that is not as in the input, in words.
    """

    frames: int
    corrupt: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kept:
    """A segment in the folder, without its packets.

    Attributes:
        number: of the segment.
        frames: how many it holds.
        shown: presentation times in coding order.
        end: see :class:`Segment`.
        head: see :class:`Segment`.
        tail: see :class:`Segment`.
        clean: see :class:`Segment`.
        extradata: see :class:`Segment`.
    """

    number: int
    frames: int
    shown: tuple[int, ...]
    end: int
    head: tuple[Mark, ...]
    tail: tuple[Mark, ...]
    clean: bool
    extradata: bytes

    @classmethod
    def of(cls, segment: Segment) -> Kept:
        """What is remembered of a segment."""
        shown = tuple(picture.pts for picture in segment.pictures)
        return cls(
            segment.number,
            segment.frames,
            shown,
            segment.end,
            segment.head,
            segment.tail,
            segment.clean,
            segment.extradata,
        )


def work_path(target: Path) -> Path:
    """Where the work folder of an output lies."""
    return target.with_name(target.name + SUFFIX)


def remove_stale(target: Path) -> None:
    """Remove the work folder of an output that has been made in another way."""
    path = work_path(target)
    if (path / _MANIFEST).is_file():
        with contextlib.suppress(InputError), WorkFolder(target) as work:
            work.clear()


class WorkFolder:
    """Holds a lock on the folder from its making until it is closed.

    Args:
        target: the output that the work is for.

    Attributes:
        path: of the folder.
        job: digest of the manifest, once the work has begun.
        kept: the whole segments by number.
        frames: how many they hold.
        ending: None until the source has been read to its end.

    Raises:
        InputError: it cannot be made; another run is at work there; it holds
            files that are not of this program.
    """

    def __init__(self, target: Path) -> None:
        self.path = work_path(target)
        self.kept: dict[int, Kept] = {}
        self.ending: Ending | None = None
        self.job = ""
        self.frames = 0
        self._suffix = target.suffix
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = [entry for entry in self.path.iterdir() if not _is_ours(entry)]
            foreign = [entry for entry in foreign if not entry.name.startswith(".")]
        except OSError as error:
            raise explain_os_error(error, self.path) from error
        if foreign:
            raise InputError(
                f"'{self.path}' is in the way: it holds '{foreign[0].name}', "
                "which acf-edge did not put there.",
                "Move that folder, or choose another output name.",
            )
        self._lock = self._acquire()

    def _acquire(self) -> IO[bytes]:
        lock = self.path / _LOCK
        try:
            handle = lock.open("ab")
        except OSError as error:
            raise explain_os_error(error, lock) from error
        try:
            _lock(handle)
            # The run before may have removed the folder between the two lines above.
            if os.path.samestat(os.fstat(handle.fileno()), lock.stat()):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        handle.close()
        raise InputError(
            f"Another acf-edge is at work in '{self.path}'.",
            "Wait for it, or choose another output name.",
        )

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the lock; a folder without a single segment goes, too."""
        if not self.kept and self.ending is None:
            self.clear()
        self._lock.close()

    def begin(self, manifest: Manifest, restart: bool = False) -> str:
        """Take up the work that lies here, or start anew.

        Args:
            manifest: of the work to be done.
            restart: throw away what is here.

        Returns:
            Why what was here could not be used; empty if it is, or nothing was.

        Raises:
            InputError: the folder cannot be read or written.
        """
        self.job = manifest.job
        text = self._read(_MANIFEST)
        before = Manifest.loads(text.decode("utf-8", "replace")) if text is not None else None
        reason = ""
        if text is not None and not restart:
            if before is None:
                reason = "its manifest is damaged"
            elif differences := before.differences(manifest):
                reason = f"{' and '.join(differences)} changed"
        if before == manifest and not restart:
            self._sweep()
            self._take_up()
            return ""
        self._empty()
        self._write(self.path / _MANIFEST, manifest.dumps().encode())
        return reason

    def _take_up(self) -> None:
        for entry in sorted(self.path.iterdir()):
            match = _SEGMENT.fullmatch(entry.name)
            if match is None:
                continue
            segment = self._load(entry)
            if segment is None or (segment.job, segment.number) != (self.job, int(match[1])):
                entry.unlink()
            else:
                self._keep(segment)
        text = self._read(_ENDING)
        if text is not None:
            with contextlib.suppress(ValueError, TypeError):
                self.ending = Ending(**json.loads(text))

    def _load(self, path: Path) -> Segment | None:
        try:
            return Segment.loads(path.read_bytes())
        except SegmentError:
            return None
        except OSError as error:
            raise explain_os_error(error, path) from error

    def _keep(self, segment: Segment) -> None:
        self.kept[segment.number] = Kept.of(segment)
        self.frames += segment.frames

    def add(self, segment: Segment) -> None:
        """Put a segment in; once this returns, not even a power cut takes it away.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        self._write(self._place(segment.number), segment.dumps())
        self._keep(segment)

    def torn(self, number: int) -> int | None:
        """The segment that does not go on where the one before it ends: this or the next one.

        None if both do, as far as it is known.
        """
        for later in (number, number + 1):
            before, after = self.kept.get(later - 1), self.kept.get(later)
            if before and after and after.head and after.head != before.tail:
                return later
        return None

    def drop(self, number: int) -> None:
        """Take the segments from ``number`` on, and the ending, out again.

        Raises:
            InputError: the folder cannot be written.
        """
        self.ending = None
        self._remove(self.path / _ENDING)
        for place in [place for place in self.kept if place >= number]:
            self._remove(self._place(place))
            self.frames -= self.kept.pop(place).frames

    def end(self, ending: Ending) -> None:
        """Write down that the source has been read to its end."""
        self._write(self.path / _ENDING, json.dumps(asdict(ending)).encode())
        self.ending = ending

    def segments(self) -> Iterator[Segment]:
        """All segments in order.

        Raises:
            InputError: one was damaged since it was put in.
        """
        for number in sorted(self.kept):
            segment = self._load(self._place(number))
            if segment is None:
                raise InputError(
                    f"'{self._place(number)}' was damaged meanwhile.",
                    "Run the same command again; that piece is then made anew.",
                )
            yield segment

    @property
    def joined(self) -> Path:
        """Where the whole film is put together before it takes its place."""
        return self.path / f"{_JOINED}{self._suffix}"

    def deliver(self, target: Path) -> None:
        """Move the joined film to its place, durably, and remove the folder."""
        try:
            with self.joined.open("rb+") as file:
                os.fsync(file.fileno())
            self.joined.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise explain_os_error(error, target) from error
        self.clear()

    def clear(self) -> None:
        """Remove the folder, and never a file that is not ours."""
        with contextlib.suppress(OSError):
            self._empty()
            (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()

    def _empty(self) -> None:
        self.kept, self.frames, self.ending = {}, 0, None
        # The manifest goes first: segments without one are never taken up.
        (self.path / _MANIFEST).unlink(missing_ok=True)
        for entry in list(self.path.iterdir()):
            if entry.name != _LOCK and _is_ours(entry):
                entry.unlink(missing_ok=True)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise explain_os_error(error, path) from error

    def _sweep(self) -> None:
        """Remove what a run that was killed had half written."""
        for entry in list(self.path.iterdir()):
            if _is_ours(entry) and (entry.name.startswith(".") or entry.stem == _JOINED):
                entry.unlink(missing_ok=True)

    def _place(self, number: int) -> Path:
        return self.path / f"segment-{number:06d}.acfseg"

    def _read(self, name: str) -> bytes | None:
        path = self.path / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise explain_os_error(error, path) from error

    def _write(self, path: Path, content: bytes) -> None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)


def _is_ours(entry: Path) -> bool:
    return _OURS.fullmatch(entry.name) is not None


def _lock(handle: IO[bytes]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks: the user must see to it


def _sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
