"""A long video in segments on this machine: what is done once is never done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.stream import ahead
from acf_edge.stream.batch.encode import FilmShape, SegmentEncoder
from acf_edge.stream.batch.join import Stopped, join, rehearse
from acf_edge.stream.batch.manifest import Manifest
from acf_edge.stream.batch.reader import Numbered, Reader, Reading, SeekableSource
from acf_edge.stream.batch.segment import MARKS
from acf_edge.stream.batch.work import Ending, WorkFolder
from acf_edge.stream.colour import output_colour
from acf_edge.stream.encoder import EncoderOptions
from acf_edge.stream.pipeline import StageSeconds, run_pipeline
from acf_edge.stream.sink_file import check_video_suffix
from acf_edge.stream.summary import EnhanceSummary, Progress, Say


@dataclass(frozen=True, slots=True)
class LongJob:
    """What is to be done.

    Attributes:
        source: the video.
        target: the output.
        options: of the encoder; ``reproducible``.
        reading: how the source is read.
        segment_frames: frames of every segment but the last, >= 1.
        engine: what identifies the engine.
        restart: begin anew, whatever lies in the work folder.
    """

    source: Path
    target: Path
    options: EncoderOptions
    reading: Reading
    segment_frames: int
    engine: str
    restart: bool

    def manifest(self) -> Manifest:
        """By what its segments are known.

        Raises:
            InputError: the source cannot be read.
        """
        format_name = check_video_suffix(self.target)
        return Manifest.of(
            self.source,
            format_name,
            self.options,
            self.segment_frames,
            self.engine,
            self.reading.deinterlace,
        )

    def marked(self, number: int) -> bool:
        """Whether frame ``number`` is one of the last of its segment."""
        return number % self.segment_frames >= self.segment_frames - MARKS


@dataclass(slots=True)
class Hooks:
    """How the work speaks with the outside.

    Attributes:
        on_progress: called with (frames done, frames expected or None).
        cancel: once set, the work stops; whole segments are kept.
        say: called with what the user should read at once.
        events: everything that was said.
    """

    on_progress: Progress | None = None
    cancel: threading.Event | None = None
    say: Say | None = None
    events: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Say something, and note it."""
        self.events.append(text)
        if self.say is not None:
            self.say(text)

    def progress(self, done: int, expected: int | None) -> None:
        """Tell how far the work is."""
        if self.on_progress is not None:
            self.on_progress(done, expected)

    @property
    def cancelled(self) -> bool:
        """Somebody asked to stop."""
        return self.cancel is not None and self.cancel.is_set()


def film_shape(
    source: SeekableSource, target: Path, scale: int, options: EncoderOptions
) -> FilmShape:
    """What the film will be."""
    height, width = source.first.pixels.shape[:2]
    size = (width * scale, height * scale)
    colour = output_colour(source.tags, source.first.colour, *size)
    return FilmShape(
        check_video_suffix(target),
        source.rate,
        source.time_base,
        source.aspect,
        size,
        colour,
        options,
    )


@dataclass(slots=True)
class Effort:
    """What the making of segments took.

    Attributes:
        busy: seconds of decoding, inference and encoding, on all machines.
        workers: machines that took part; 0 for this one alone.
        rerun: segments given out again because a machine was lost.
    """

    busy: StageSeconds = field(default_factory=StageSeconds)
    workers: int = 0
    rerun: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to make segments with, and where they go.

    Attributes:
        reader: of the source, at its start.
        shape: of the film.
        work: takes the segments.
        hooks: how to speak with the outside.
        expected: frames that the source announces; None where it does not.
    """

    reader: Reader
    shape: FilmShape
    work: WorkFolder
    hooks: Hooks
    expected: int | None


def enhance_long(job: LongJob, engine: Engine, hooks: Hooks) -> EnhanceSummary:
    """Enhance a video segment by segment; see :func:`acf_edge.stream.enhance_file`.

    Raises:
        InputError: as there; another run is at work on the same output.
    """

    def fill(site: Site) -> Effort:
        return Effort(_Filler(job, engine, site).fill())

    return make_film(job, engine.name, engine.scale, hooks, fill)


def make_film(
    job: LongJob, engine: str, scale: int, hooks: Hooks, fill: Callable[[Site], Effort]
) -> EnhanceSummary:
    """Take up the work, let ``fill`` make what is missing, join it.

    Args:
        job: what is to be done.
        engine: its name.
        scale: its up-sampling factor.
        hooks: how to speak with the outside.
        fill: makes segments until the film is whole or somebody cancels.

    Raises:
        InputError: see :func:`acf_edge.stream.enhance_file`; another run is at
            work on the same output.
    """
    start = time.perf_counter()
    with Reader(job.source, job.reading, hooks.cancel) as reader:
        source = reader.source
        shape = film_shape(source, job.target, scale, job.options)
        expected = source.expected_frames
        height, width = source.first.pixels.shape[:2]
        with WorkFolder(job.target) as work, kept_in(work, hooks):
            notes, audio_streams = rehearse(source, work.joined, job.target, shape)
            take_up(work, job, hooks, expected)
            before, effort = work.frames, Effort()
            if not whole(work):
                effort = fill(Site(reader, shape, work, hooks, expected))
            filled, made, segments = time.perf_counter(), work.frames, len(work.kept)
            ending = finish(job, shape, work, hooks)
        kept = 0 if ending else made
        known = ending or Ending(0, reader.source.report.corrupt, reader.source.notes())
    end = time.perf_counter()
    return EnhanceSummary(
        input=str(job.source),
        output=str(job.target),
        kind="video",
        engine=engine,
        frames=known.frames,
        frames_expected=expected,
        seconds=end - start,
        fps=(made - before) / (end - start),
        width_in=width,
        height_in=height,
        width_out=shape.size[0],
        height_out=shape.size[1],
        interrupted=ending is None,
        corrupt_frames=known.corrupt,
        audio_streams=audio_streams,
        stage_seconds={
            "decode": effort.busy.produce,
            "infer": effort.busy.transform,
            "encode": effort.busy.consume,
            "join": end - filled,
        },
        notes=known.notes + notes,
        segments=segments,
        resumed_frames=before,
        kept_frames=kept,
        work_folder=str(work.path) if kept else "",
        workers=effort.workers,
        segments_rerun=effort.rerun,
        events=hooks.events,
    )


@contextmanager
def kept_in(work: WorkFolder, hooks: Hooks) -> Iterator[None]:
    """Let whoever leaves this block by an error know what is kept."""
    try:
        yield
    except InputError as error:
        if not work.frames or type(error) is not InputError:
            raise
        remedy = f"{error.remedy} {work.frames} frames are kept in '{work.path}' for a further run."
        raise InputError(error.problem, remedy.lstrip()) from error
    except KeyboardInterrupt:
        if work.frames:
            hooks.tell(
                f"{work.frames} frames are kept in '{work.path}'; "
                "run the same command again to go on"
            )
        raise


def take_up(work: WorkFolder, job: LongJob, hooks: Hooks, expected: int | None) -> None:
    """Go on with what lies in the folder, or start anew, and say which."""
    reason = work.begin(job.manifest(), job.restart)
    if reason:
        hooks.tell(f"started anew: {reason} since the work in '{work.path}' was begun")
    elif work.frames:
        of = f" of {expected}" if expected is not None else ""
        hooks.tell(f"going on: {work.frames}{of} frames were kept in '{work.path}'")
    hooks.progress(work.frames, expected)


def whole(work: WorkFolder) -> bool:
    """Nothing is left to be made."""
    return work.ending is not None and work.frames == work.ending.frames


def finish(job: LongJob, shape: FilmShape, work: WorkFolder, hooks: Hooks) -> Ending | None:
    """Join what is whole and put it in its place.

    Returns:
        None if something is missing or somebody cancelled; all segments stay then.
    """
    ending = work.ending
    if ending is None or not whole(work) or not ending.frames:
        return None
    try:
        join(work, job.source, job.target, shape, hooks.cancel)
    except Stopped:
        return None
    work.deliver(job.target)
    hooks.progress(ending.frames, ending.frames)
    return ending


class _Filler:
    """Makes the segments that are not there, front to back."""

    def __init__(self, job: LongJob, engine: Engine, site: Site) -> None:
        self._job, self._engine = job, engine
        self._reader, self._shape = site.reader, site.shape
        self._work, self._hooks = site.work, site.hooks
        self._encoder: SegmentEncoder | None = None
        self._done = site.work.frames

    def fill(self) -> StageSeconds:
        """Until the end of the film, or until somebody cancels."""
        busy = StageSeconds()
        number = 0
        try:
            while not (self._reader.ended or self._hooks.cancelled or whole(self._work)):
                while number in self._work.kept:
                    number += 1
                following = [kept for kept in self._work.kept if kept > number]
                self._run(number, min(following, default=None), busy)
                number = min(following, default=number)
            if self._reader.ended:
                self._finish()
        finally:
            if self._encoder is not None:
                self._encoder.abandon()
        return busy

    def _run(self, number: int, following: int | None, busy: StageSeconds) -> None:
        """Make the segments from ``number`` up to the next one that is there."""
        work, length = self._work, self._job.segment_frames
        if number:
            clean = all(work.kept[before].clean for before in range(number))
            if not self._reader.go(number * length, work.kept[number - 1].tail, clean):
                return
        stop = None if following is None else following * length
        spent = run_pipeline(
            self._reader.read(stop, self._job.marked),
            self._infer,
            ahead.settled(self._write),
            cancel=self._hooks.cancel,
            tick=self._tick,
        )
        busy.produce += spent.produce
        busy.transform += spent.transform
        busy.consume += spent.consume

    def _infer(self, item: Numbered) -> Numbered | ahead.Later[Numbered]:
        return ahead.start(self._engine, item.frame.pixels, item.enhanced)

    def _write(self, item: Numbered) -> None:
        if self._encoder is None:
            number = item.number // self._job.segment_frames
            self._encoder = SegmentEncoder(self._shape, self._work.job, number, item.number)
        self._encoder.write(item)
        self._done += 1
        if self._encoder.frames == self._job.segment_frames:
            segment = self._encoder.finish()
            self._encoder = None
            self._work.add(segment)
            torn = self._work.torn(segment.number)
            if torn is not None:  # what was read in one go is right
                self._work.drop(torn)
                self._done = self._work.frames

    def _tick(self) -> None:
        self._hooks.progress(self._done, self._reader.source.expected_frames)

    def _finish(self) -> None:
        source, frames = self._reader.source, self._reader.position
        self._work.drop(-(-frames // self._job.segment_frames))
        # First the end, then the last segment: an end without it is not whole yet.
        self._work.end(Ending(frames, source.report.corrupt, source.notes()))
        if self._encoder is not None:
            self._work.add(self._encoder.finish())
            self._encoder = None
