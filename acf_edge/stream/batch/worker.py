"""What one machine of a cluster does: a segment at a time, from the film or from a cut of it."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from acf_edge.engine.load import load_engine
from acf_edge.errors import InputError
from acf_edge.stream import ahead
from acf_edge.stream.batch.encode import SegmentEncoder
from acf_edge.stream.batch.manifest import Fingerprint, versions
from acf_edge.stream.batch.reader import Numbered, Reader, Reading, SeekableSource, near
from acf_edge.stream.batch.segment import MARKS, Mark
from acf_edge.stream.batch.task import Hello, Outcome, Setup, Task
from acf_edge.stream.frame import Frame
from acf_edge.stream.pipeline import run_pipeline

_PREFIX = "acf-edge-worker-"


class _Differs(Exception):
    """The frames are not those that the packets promised."""


class Worker:
    """Holds the engine, and the film where it has to be read from its start.

    Args:
        setup: what all tasks have in common.
        threads: of the engine; None = all cores.
    """

    def __init__(self, setup: Setup, threads: int | None = None) -> None:
        self._setup = setup
        _remove_left_behind()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
        self._film = Path(setup.path)
        self._open_film: SeekableSource | None = None
        self._reader: Reader | None = None
        bundle = Path(self._folder.name) / "bundle"
        bundle.mkdir()
        for name, content in setup.bundle.items():
            (bundle / name).write_bytes(content)
        self._refusal = self._compare()
        self._engine = None
        if not self._refusal:
            self._engine = load_engine(bundle, threads=threads, spin=False)
        shutil.rmtree(bundle, ignore_errors=True)

    def _compare(self) -> str:
        mine = versions()
        for name, wanted in self._setup.versions.items():
            if mine.get(name) != wanted:
                return f"it has {name} {mine.get(name)}, not {wanted}"
        return ""

    def hello(self) -> Hello:
        """Whether this machine can take part, and whether it can read the film itself."""
        has_film = False
        if self._setup.share:
            with contextlib.suppress(InputError):
                has_film = Fingerprint.of(self._film).same_content(self._setup.print_)
        return Hello(platform.node(), has_film, self._refusal)

    def close(self) -> None:
        """Remove what lies on the disk."""
        self._folder.cleanup()

    def fetch(self, part: bytes, first: bool) -> None:
        """Take the next part of the film, to be read here from now on."""
        film = Path(self._folder.name) / ("film" + self._film.suffix)
        with film.open("wb" if first else "ab") as file:
            file.write(part)
        self._film = film

    def run(self, task: Task) -> Outcome:
        """Make one segment."""
        try:
            if task.shown is None:
                return self._counted(task)
            return self._promised(task, task.shown)
        except _Differs:
            return Outcome(task.number, differs=True)
        except InputError as error:
            return Outcome(task.number, error=(error.problem, error.remedy))

    def _counted(self, task: Task) -> Outcome:
        """By numbers from the start of the film; the reader stays where it is for the next task."""
        if self._reader is None:
            self._reader = Reader(self._film, self._setup.reading)
        reader, length = self._reader, self._setup.segment_frames
        first = task.number * length
        segment, busy = None, (0.0, 0.0, 0.0)
        if reader.advance(first):
            items = reader.read(first + length, lambda number: number % length >= length - MARKS)
            segment, busy = self._make(task.number, items, [])
        report = reader.source.report
        return Outcome(
            task.number,
            segment,
            busy=busy,
            ended=reader.ended,
            frames=reader.position,
            corrupt=report.corrupt,
            notes=reader.source.notes(),
        )

    def _promised(self, task: Task, shown: tuple[int, ...]) -> Outcome:
        """By times, from a key picture on; every frame must come as the packets say."""
        head: list[Mark] = []
        with self._source(task, shown) as source:
            items = self._frames(source, task, shown, head)
            segment, busy = self._make(task.number, items, head)
        return Outcome(task.number, segment, busy=busy)

    @contextlib.contextmanager
    def _source(self, task: Task, shown: tuple[int, ...]) -> Iterator[SeekableSource]:
        if task.cut is not None:
            path = Path(self._folder.name) / "cut.mkv"
            path.write_bytes(task.cut)
            with SeekableSource(path, keep_damaged=True) as source:
                path.unlink()  # it stays readable while it is open
                if source.look != self._setup.look:
                    raise _Differs
                yield source
            return
        if self._open_film is None:
            self._open_film = SeekableSource(self._film, keep_damaged=True)
        for source in near(self._film, self._open_film, shown[0], Reading(keep_damaged=True)):
            with source:
                if source.entry is not None and source.entry <= task.entry:
                    yield source
                    return
        raise _Differs

    def _frames(
        self, source: SeekableSource, task: Task, shown: tuple[int, ...], head: list[Mark]
    ) -> Iterator[Numbered]:
        wanted = shown if task.cut is None else task.cut_shown
        first = task.number * self._setup.segment_frames - task.head
        marked = self._setup.segment_frames - MARKS
        # What cannot be decoded right before the wanted frames is no fault of theirs.
        faults: tuple[int, ...] = (0, 0, 0, 0, source.report.skipped)
        at = 0
        for frame in source.items():
            if not isinstance(frame, Frame):
                continue
            if frame.pts < wanted[0]:
                faults = source.faults
                continue
            if frame.pts != wanted[at] or source.faults != faults:
                raise _Differs
            number, pts = first + at, shown[at]
            if at < task.head:
                head.append(Mark.of(pts, frame.pixels))
            else:
                mark = None
                if number % self._setup.segment_frames >= marked:
                    mark = Mark.of(pts, frame.pixels)
                frame.pts, frame.time_base = pts, self._setup.shape.time_base
                frame.duration = task.durations[at]
                yield Numbered(frame, number, mark, True)
            at += 1
            if at == len(wanted):
                return
        raise _Differs

    def _make(
        self, number: int, items: Iterator[Numbered], head: list[Mark]
    ) -> tuple[bytes | None, tuple[float, float, float]]:
        setup, engine = self._setup, self._engine
        assert engine is not None
        encoder = SegmentEncoder(setup.shape, setup.job, number, number * setup.segment_frames)

        def infer(item: Numbered) -> Numbered | ahead.Later[Numbered]:
            return ahead.start(engine, item.frame.pixels, item.enhanced)

        try:
            spent = run_pipeline(items, infer, ahead.settled(encoder.write))
            segment = encoder.finish(tuple(head)).dumps() if encoder.frames else None
        finally:
            encoder.abandon()
        return segment, (spent.produce, spent.transform, spent.consume)


def _remove_left_behind() -> None:
    """Remove what workers that were killed have left on this machine."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        number = folder.name[len(_PREFIX) :].partition("-")[0]
        if not number.isdecimal():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # somebody else's
