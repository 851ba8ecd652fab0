"""A folder of pictures and videos into another folder: what is done stays done."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from acf_edge.errors import AcfError, InputError
from acf_edge.files import explain_os_error
from acf_edge.stream.batch.work import SUFFIX as WORK_SUFFIX
from acf_edge.stream.images import IMAGE_SUFFIXES
from acf_edge.stream.sink_file import VIDEO_SUFFIXES
from acf_edge.stream.summary import EnhanceSummary

JOURNAL = ".acf-batch.jsonl"
# What is taken for a video. Those that cannot be written become Matroska files,
# which hold any sound.
FILM_SUFFIXES = (
    *VIDEO_SUFFIXES,
    *(".264", ".265", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc"),
    *(".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".ts", ".vob", ".wmv", ".y4m"),
)
DONE, SKIPPED, FAILED, STOPPED = "done", "skipped", "failed", "stopped"


@dataclass(slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        input: path read.
        output: path written.
        status: ``"done"``; ``"skipped"``, since an earlier run did it; ``"failed"``;
            ``"stopped"``, by the user.
        reason: why, where it is not done.
        seconds: spent on it.
        summary: of its enhancement; None where there was none.
    """

    input: str
    output: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    summary: EnhanceSummary | None = None


@dataclass(slots=True)
class FolderSummary:
    """What :func:`enhance_folder` did.

    Attributes:
        input: folder read.
        output: folder written.
        kind: ``"folder"``.
        done, skipped, failed: how many files.
        left: files that nobody looked at, because the run was stopped.
        ignored: files that are neither picture nor video.
        seconds: wall time.
        interrupted: stopped before the end on request.
        files: one by one, in order.
    """

    input: str
    output: str
    kind: str = "folder"
    done: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    ignored: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    files: list[FileResult] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which file becomes which.

    Attributes:
        pairs: input and output, in order of the names.
        ignored: how many files are neither picture nor video.
    """

    pairs: tuple[tuple[Path, Path], ...]
    ignored: int


def plan_folder(source: Path, target: Path) -> Plan:
    """Find all pictures and videos below ``source`` and name their outputs.

    Folders below it are kept. Hidden files and folders, links to folders, work
    folders, and ``target`` itself are not looked into. A file keeps its name; a
    video whose format cannot be written becomes ``NAME.mkv``, or, if another
    file already becomes that, keeps its whole name: ``NAME.avi.mkv``.

    Raises:
        InputError: no such folder; nothing in it; ``target`` is a file, the same
            folder, or one above it.
    """
    if not source.is_dir():
        raise InputError(f"'{source}' is no folder.", "Check the path.")
    if target.exists() and not target.is_dir():
        raise InputError(f"'{target}' is a file.", "Give the name of a folder.")
    here, there = source.resolve(), target.resolve()
    if here == there or here.is_relative_to(there):
        raise InputError(
            f"'{target}' is the input folder itself, or holds it.", "Choose another output folder."
        )
    try:
        files = sorted(_walk(source, there))
    except OSError as error:
        raise explain_os_error(error, source) from error
    media = [path for path in files if path.suffix.lower() in (*IMAGE_SUFFIXES, *FILM_SUFFIXES)]
    if not media:
        raise InputError(f"'{source}' holds no pictures or videos.", "Check the path.")
    wished = {path: _wished(path.relative_to(source)) for path in media}
    taken = Counter(_folded(name) for name in wished.values())
    pairs = []
    for path, name in wished.items():
        relative = path.relative_to(source)
        if taken[_folded(name)] > 1 and name != relative:
            name = relative.with_name(relative.name + ".mkv")
        pairs.append((path, target / name))
    return Plan(tuple(pairs), len(files) - len(media))


def _walk(folder: Path, target: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            follow = not entry.is_symlink() and entry.suffix != WORK_SUFFIX
            if follow and entry.resolve() != target:
                yield from _walk(entry, target)
        elif entry.is_file():
            yield entry


def _wished(path: Path) -> Path:
    kept = path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return path if kept else path.with_suffix(".mkv")


def _folded(path: Path) -> str:
    return str(path).casefold()


def enhance_folder(
    source: Path | str,
    target: Path | str,
    enhance: Callable[[Path, Path], EnhanceSummary],
    key: str,
    *,
    restart: bool = False,
    cancel: threading.Event | None = None,
    on_file: Callable[[int, int, Path], None] | None = None,
    on_result: Callable[[FileResult], None] | None = None,
) -> FolderSummary:
    """Enhance all pictures and videos of a folder; a file that fails stops nothing.

    What is done is written down in ``<target>/.acf-batch.jsonl``. A later run
    with the same ``key`` skips files that are there, and whose input has the same
    size and time of change; everything else is made again.

    Args:
        source: folder to read; see :func:`plan_folder`.
        target: folder to write.
        enhance: makes one file of another.
        key: what would change the results: engine and options.
        restart: skip nothing.
        cancel: once set, no further file is begun.
        on_file: called before each file with (its number from 1, how many, path).
        on_result: called after each file.

    Raises:
        InputError: see :func:`plan_folder`; the output folder cannot be written.
    """
    source, target = Path(source), Path(target)
    start = time.perf_counter()
    plan = plan_folder(source, target)
    summary = FolderSummary(str(source), str(target), ignored=plan.ignored)
    with _Journal(target, key, restart) as journal:
        for number, (path, output) in enumerate(plan.pairs, 1):
            if cancel is not None and cancel.is_set():
                summary.interrupted = True
                break
            if on_file is not None:
                on_file(number, len(plan.pairs), path)
            name = str(path.relative_to(source))
            result = _enhance_one(path, output, name, enhance, journal)
            summary.files.append(result)
            if on_result is not None:
                on_result(result)
            if result.status == STOPPED:
                summary.interrupted = True
                break
    count = Counter(result.status for result in summary.files)
    summary.done, summary.skipped, summary.failed = count[DONE], count[SKIPPED], count[FAILED]
    summary.left = len(plan.pairs) - sum(count.values()) + count[STOPPED]
    summary.seconds = time.perf_counter() - start
    return summary


def _enhance_one(
    path: Path,
    output: Path,
    name: str,
    enhance: Callable[[Path, Path], EnhanceSummary],
    journal: _Journal,
) -> FileResult:
    result = FileResult(str(path), str(output), FAILED)
    start = time.perf_counter()
    try:
        state = _state(path)
        if journal.knows(name, state, output):
            result.status, result.reason = SKIPPED, "done by an earlier run"
            return result
        result.summary = enhance(path, output)
        if result.summary.interrupted:
            # The part of a short video that was done must not pass for the whole.
            if result.summary.frames:
                output.unlink(missing_ok=True)
            result.status, result.reason = STOPPED, "stopped by the user"
        else:
            journal.add(name, state, output)
            result.status = DONE
    except AcfError as error:
        result.reason = str(error)
    except OSError as error:
        result.reason = str(explain_os_error(error, path))
    except MemoryError:
        result.reason = "There is not enough memory for it."
    except Exception as error:
        # One file that we cannot cope with is no reason to leave the others.
        result.reason = f"internal error: {type(error).__name__}: {error}"
    finally:
        result.seconds = time.perf_counter() - start
    return result


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


class _Journal:
    """One line of JSON for each file that is done; the last line of a file counts."""

    def __init__(self, folder: Path, key: str, restart: bool) -> None:
        self._key = key
        self._path = folder / JOURNAL
        self._known: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not restart:
                self._read()
            self._file: IO[str] = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise explain_os_error(error, self._path) from error

    def _read(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["name"]] = entry
            except (ValueError, TypeError, KeyError):
                continue  # cut off by a crash

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def knows(self, name: str, state: list[int], output: Path) -> bool:
        entry = self._known.get(name)
        if entry is None or (entry.get("key"), entry.get("state")) != (self._key, state):
            return False
        return output.is_file() and output.stat().st_size == entry.get("bytes")

    def add(self, name: str, state: list[int], output: Path) -> None:
        size = output.stat().st_size
        entry = {"name": name, "key": self._key, "state": state, "bytes": size}
        # A line that a crash cut off must not swallow this one.
        self._file.write("\n" + json.dumps(entry) + "\n")
        self._file.flush()


def folder_json(summary: FolderSummary) -> dict[str, Any]:
    """The summary as plain JSON types."""
    return asdict(summary)
