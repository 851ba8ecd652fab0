"""A file in, a better file out: the three-line form of the runtime."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.files import atomic_path
from acf_edge.stream import ahead
from acf_edge.stream.batch.long import Hooks, LongJob, enhance_long
from acf_edge.stream.batch.reader import Reading
from acf_edge.stream.batch.work import remove_stale
from acf_edge.stream.colour import output_colour
from acf_edge.stream.fields import OFF
from acf_edge.stream.frame import Frame
from acf_edge.stream.images import (
    IMAGE_SUFFIXES,
    check_image_size,
    check_image_suffix,
    enhance_still,
    looks_like_image,
    read_still,
    write_still,
)
from acf_edge.stream.pipeline import StageSeconds, run_pipeline
from acf_edge.stream.sink_file import VIDEO_SUFFIXES, EncoderOptions, FileSink, check_video_suffix
from acf_edge.stream.summary import EnhanceSummary, Progress, Say

__all__ = ["EnhanceSummary", "Progress", "check_paths", "enhance_file"]

# 10 s at 25 frames/s: little is lost with the last one, and the encoders would
# set key frames that often anyway.
SEGMENT_FRAMES = 250
# A video of at most so many segments is made in one go.
DIRECT_SEGMENTS = 2


class _NothingWritten(Exception):
    """Leaves the temporary file's block so that it is removed."""


def check_paths(source: Path | str, target: Path | str) -> bool:
    """Check both names before any work.

    Returns:
        True if the input is an image, False if it is taken for a video.

    Raises:
        InputError: input missing, empty or a folder; output of another kind, the
            input itself, a folder, or no plain file.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        raise InputError(f"'{source}' is a folder.", "Give a video or an image.")
    if not source.exists():
        raise InputError(f"'{source}' does not exist.", "Check the path.")
    if not source.is_file():
        raise InputError(f"'{source}' is not a file.", "Give a video or an image.")
    image = looks_like_image(source)
    if not source.stat().st_size:
        raise InputError(f"'{source}' is empty.", "Check how it was made.")
    suffix = target.suffix.lower()
    if image and suffix in VIDEO_SUFFIXES:
        raise InputError(
            f"'{source}' is an image and '{target}' would be a video.",
            f"Choose one of: {', '.join(IMAGE_SUFFIXES)}.",
        )
    if not image and suffix in IMAGE_SUFFIXES:
        raise InputError(
            f"'{source}' is no image, but '{target}' would be one.",
            f"Choose one of: {', '.join(VIDEO_SUFFIXES)}.",
        )
    if image:
        check_image_suffix(target)
    else:
        check_video_suffix(target)
    if target.is_dir():
        raise InputError(f"'{target}' is a folder.", "Give the name of a file.")
    if target.exists():
        if target.samefile(source):
            raise InputError(f"'{target}' is the input itself.", "Choose another output name.")
        if not target.is_file():
            raise InputError(f"'{target}' is not a plain file.", "Choose another output name.")
    return image


def enhance_file(
    source: Path | str,
    target: Path | str,
    engine: Engine,
    *,
    crf: int = 18,
    preset: str = "veryfast",
    audio: bool = True,
    keep_damaged: bool = False,
    deinterlace: str = OFF,
    segment_frames: int | None = None,
    engine_id: str = "",
    restart: bool = False,
    on_progress: Progress | None = None,
    cancel: threading.Event | None = None,
    say: Say | None = None,
) -> EnhanceSummary:
    """Enhance an image or a video file.

    Videos keep every frame and its timestamp, their audio (copied), metadata,
    chapters, colour tags and pixel aspect ratio; rotation is applied to the
    pixels. The output appears under its name when it is whole, not before.

    A long video is made in segments, which are kept beside the output in
    ``<output>.acf-work`` until all are there: a run that was stopped, killed or
    cut off goes on at the first one that is missing, and gives the same packets
    as one that was not.

    Args:
        source: PNG, JPEG, WebP, or a video in any format that FFmpeg reads.
        target: output; its suffix chooses the format.
        engine: not closed.
        crf: see :class:`EncoderOptions`.
        preset: see :class:`EncoderOptions`.
        audio: copy the audio streams.
        keep_damaged: enhance the readable part of a damaged video, not refuse it.
        deinterlace: ``"off"``, ``"on"`` or ``"auto"``: rebuild whole pictures from fields.
        segment_frames: frames per segment; a video of more than two segments,
            or of unknown length, is made in them. None = 250; 0 = never.
        engine_id: identifies the engine (:func:`acf_edge.stream.batch.manifest.identity`),
            lest segments of two be mixed; its name where empty.
        restart: begin anew, whatever an earlier run has left.
        on_progress: called in this thread with (frames done, frames expected
            or None), about ten times a second.
        cancel: once set, the frames under way are finished; then a short file
            is finished, too, and of a long one the whole segments are kept.
        say: called with what the user should read at once: what is gone on
            with, or why not.

    Returns:
        A summary; ``frames`` is 0 and nothing is written if it was cancelled
        before the first frame, or before the end of a long video.

    Raises:
        InputError: see :func:`check_paths`, :class:`FileSource`, :class:`FileSink`.
    """
    source, target = Path(source), Path(target)
    options = EncoderOptions(crf, preset, audio)
    length = check_segment_frames(segment_frames)
    if check_paths(source, target):
        return _enhance_image(source, target, engine)
    reading = Reading(keep_damaged, deinterlace)
    if length and _is_long(source, reading, length):
        job = LongJob(
            source=source,
            target=target,
            options=replace(options, reproducible=True),
            reading=reading,
            segment_frames=length,
            engine=engine_id or f"{engine.name} x{engine.scale}",
            restart=restart,
        )
        return enhance_long(job, engine, Hooks(on_progress, cancel, say))
    summary = _enhance_video(source, target, engine, options, reading, on_progress, cancel)
    if summary.frames:
        remove_stale(target)
    return summary


def check_segment_frames(frames: int | None) -> int:
    """The length of a segment in frames; 0 = none are made.

    Raises:
        InputError: negative.
    """
    if frames is None:
        return SEGMENT_FRAMES
    if frames < 0:
        raise InputError(f"--segment-frames {frames} is out of range.", "Choose 0 or more.")
    return frames


def _is_long(source: Path, reading: Reading, segment_frames: int) -> bool:
    """Whether a video is worth segments: more than two of them, or nobody knows."""
    with reading.open(source) as reader:
        expected = reader.expected_frames
    return expected is None or expected > DIRECT_SEGMENTS * segment_frames


def _enhance_image(source: Path, target: Path, engine: Engine) -> EnhanceSummary:
    start = time.perf_counter()
    still = read_still(source)
    height, width = still.rgb.shape[:2]
    check_image_size(target, width * engine.scale, height * engine.scale)
    ready = time.perf_counter()
    result = enhance_still(still, engine)
    done = time.perf_counter()
    notes = result.notes + write_still(target, result)
    seconds = time.perf_counter() - start
    return EnhanceSummary(
        input=str(source),
        output=str(target),
        kind="image",
        engine=engine.name,
        frames=1,
        frames_expected=1,
        seconds=seconds,
        fps=1 / seconds,
        width_in=width,
        height_in=height,
        width_out=result.rgb.shape[1],
        height_out=result.rgb.shape[0],
        stage_seconds={
            "decode": ready - start,
            "infer": done - ready,
            "encode": start + seconds - done,
        },
        notes=notes,
    )


def _enhance_video(
    source: Path,
    target: Path,
    engine: Engine,
    options: EncoderOptions,
    reading: Reading,
    on_progress: Progress | None,
    cancel: threading.Event | None,
) -> EnhanceSummary:
    start = time.perf_counter()
    busy = StageSeconds()
    with reading.open(source) as reader:
        height, width = reader.first.pixels.shape[:2]
        size = (width * engine.scale, height * engine.scale)
        colour = output_colour(reader.tags, reader.first.colour, *size)
        expected = reader.expected_frames
        frames, notes, audio_streams = 0, [], 0

        def infer(
            item: Frame | Packet[Stream],
        ) -> Frame | Packet[Stream] | ahead.Later[Frame]:
            if not isinstance(item, Frame):
                return item
            return ahead.start(engine, item.pixels, item.enhanced)

        def write(item: Frame | Packet[Stream] | ahead.Later[Frame]) -> None:
            sink.write(item.fetch() if isinstance(item, ahead.Later) else item)

        try:
            with atomic_path(target) as temporary:
                sink = FileSink(temporary, target, reader, size, colour, options)
                audio_streams = sink.audio_streams

                def tick() -> None:
                    if on_progress is not None:
                        on_progress(sink.frames, expected)

                try:
                    busy = run_pipeline(
                        reader.items(),
                        infer,
                        write,
                        weigh=lambda item: int(not isinstance(item, Packet)),
                        cancel=cancel,
                        tick=tick,
                    )
                except BaseException:
                    sink.abandon()
                    raise
                if not sink.frames:
                    sink.abandon()
                    raise _NothingWritten
                sink.finish()
                tick()
                frames, notes = sink.frames, sink.notes
        except _NothingWritten:
            pass
    interrupted = cancel is not None and cancel.is_set() and not reader.exhausted
    seconds = time.perf_counter() - start
    return EnhanceSummary(
        input=str(source),
        output=str(target),
        kind="video",
        engine=engine.name,
        frames=frames,
        frames_expected=expected,
        seconds=seconds,
        fps=frames / seconds,
        width_in=width,
        height_in=height,
        width_out=size[0],
        height_out=size[1],
        interrupted=interrupted,
        corrupt_frames=reader.report.corrupt,
        audio_streams=audio_streams,
        stage_seconds={
            "decode": busy.produce,
            "infer": busy.transform,
            "encode": busy.consume,
        },
        notes=reader.notes() + notes,
    )
