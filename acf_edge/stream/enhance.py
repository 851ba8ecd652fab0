"""A file in, a better file out: the three-line form of the runtime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.files import atomic_path
from acf_edge.stream.colour import output_colour
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
from acf_edge.stream.source_file import FileSource

Progress = Callable[[int, "int | None"], None]


@dataclass(slots=True)
class EnhanceSummary:
    """What :func:`enhance_file` did.

    Attributes:
        input: path read.
        output: path written; nothing lies there if ``frames`` is 0.
        kind: ``"video"`` or ``"image"``.
        engine: its name.
        frames: frames written.
        frames_expected: frames the input announced; None where it does not say.
        seconds: wall time.
        fps: ``frames / seconds``.
        width_in, height_in: pixels, as displayed (rotation applied).
        width_out, height_out: pixels.
        interrupted: stopped before the end on request; what was done is in ``output``.
        corrupt_frames: frames that the decoder marked as damaged.
        audio_streams: audio streams copied.
        stage_seconds: busy seconds of decoding, inference and encoding.
        notes: everything that is not as in the input, in words.
    """

    input: str
    output: str
    kind: str
    engine: str
    frames: int
    frames_expected: int | None
    seconds: float
    fps: float
    width_in: int
    height_in: int
    width_out: int
    height_out: int
    interrupted: bool = False
    corrupt_frames: int = 0
    audio_streams: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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
    on_progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> EnhanceSummary:
    """Enhance an image or a video file.

    Videos keep every frame and its timestamp, their audio (copied), metadata,
    chapters, colour tags and pixel aspect ratio; rotation is applied to the
    pixels. The output appears under its name when it is whole, not before.

    Args:
        source: PNG, JPEG, WebP, or a video in any format that FFmpeg reads.
        target: output; its suffix chooses the format.
        engine: not closed.
        crf: see :class:`EncoderOptions`.
        preset: see :class:`EncoderOptions`.
        audio: copy the audio streams.
        keep_damaged: enhance the readable part of a damaged video, not refuse it.
        on_progress: called in this thread with (frames written, frames expected
            or None), about ten times a second.
        cancel: once set, the frames under way are finished, then the file is.

    Returns:
        A summary; ``frames`` is 0 and nothing is written if it was cancelled
        before the first frame.

    Raises:
        InputError: see :func:`check_paths`, :class:`FileSource`, :class:`FileSink`.
    """
    source, target = Path(source), Path(target)
    options = EncoderOptions(crf, preset, audio)
    if check_paths(source, target):
        return _enhance_image(source, target, engine)
    return _enhance_video(source, target, engine, options, keep_damaged, on_progress, cancel)


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
    keep_damaged: bool,
    on_progress: Progress | None,
    cancel: threading.Event | None,
) -> EnhanceSummary:
    start = time.perf_counter()
    busy = StageSeconds()
    with FileSource(source, keep_damaged=keep_damaged) as reader:
        height, width = reader.first.pixels.shape[:2]
        size = (width * engine.scale, height * engine.scale)
        colour = output_colour(reader.tags, reader.first.colour, *size)
        expected = reader.expected_frames
        frames, notes, audio_streams = 0, [], 0

        def infer(item: Frame | Packet[Stream]) -> Frame | Packet[Stream]:
            return item.enhanced(engine.run(item.pixels)) if isinstance(item, Frame) else item

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
                        sink.write,
                        weigh=lambda item: int(isinstance(item, Frame)),
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
