"""``acf-edge enhance`` from its words to its exit code: a file, a long one, a folder."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from acf_edge.engine.bundle import Bundle
from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.stream.batch.display import print_folder
from acf_edge.stream.batch.folder import enhance_folder, plan_folder
from acf_edge.stream.batch.long import Hooks, LongJob
from acf_edge.stream.batch.manifest import identity, versions
from acf_edge.stream.batch.reader import Reading
from acf_edge.stream.console import ProgressLine, print_summary
from acf_edge.stream.encoder import EncoderOptions
from acf_edge.stream.enhance import check_paths, check_segment_frames, enhance_file
from acf_edge.stream.signals import stop_on_signals
from acf_edge.stream.summary import EnhanceSummary


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for.

    Attributes:
        source: a file or a folder.
        target: a file or a folder.
        options: of the encoder.
        reading: how videos are read.
        segment_frames: see :func:`enhance_file`.
        restart: see :func:`enhance_file`.
        cluster: address of a Ray cluster; None = this machine alone.
        quiet: no progress.
        as_json: the summary as JSON.
    """

    source: Path
    target: Path
    options: EncoderOptions
    reading: Reading
    segment_frames: int | None = None
    restart: bool = False
    cluster: str | None = None
    quiet: bool = False
    as_json: bool = False


def run(wishes: Wishes, bundle: Bundle, engine: Engine) -> int:
    """Do it, and print what was done.

    Args:
        wishes: what.
        bundle: of the engine.
        engine: closed at the end.

    Returns:
        0; 1 if files of a folder failed; 130 if it was interrupted.

    Raises:
        InputError: see :func:`enhance_file` and :func:`plan_folder`.
    """
    shown = sys.stderr.isatty() and not (wishes.quiet or wishes.as_json)
    folder = wishes.source.is_dir()
    with (
        closing(engine),
        ProgressLine(shown) as line,
        stop_on_signals(line.stopping) as cancel,
    ):

        def enhance(source: Path, target: Path) -> EnhanceSummary:
            return _enhance(wishes, source, target, bundle, engine, line, cancel)

        if folder:
            whole = enhance_folder(
                wishes.source,
                wishes.target,
                enhance,
                _key(wishes, bundle),
                restart=wishes.restart,
                cancel=cancel,
                on_file=line.begin,
            )
        else:
            summary = enhance(wishes.source, wishes.target)
    if folder:
        print_folder(whole, as_json=wishes.as_json, quiet=wishes.quiet)
        return 130 if whole.interrupted else int(whole.failed > 0)
    print_summary(summary, as_json=wishes.as_json, quiet=wishes.quiet)
    return 130 if summary.interrupted else 0


def _enhance(
    wishes: Wishes,
    source: Path,
    target: Path,
    bundle: Bundle,
    engine: Engine,
    line: ProgressLine,
    cancel: threading.Event,
) -> EnhanceSummary:
    options, reading = wishes.options, wishes.reading
    if wishes.cluster is not None and not check_paths(source, target):
        from acf_edge.stream.batch.cluster import enhance_on_cluster

        job = LongJob(
            source=source,
            target=target,
            options=replace(options, reproducible=True),
            reading=reading,
            segment_frames=check_segment_frames(wishes.segment_frames),
            engine=identity(bundle),
            restart=wishes.restart,
        )
        hooks = Hooks(line.update, cancel, line.say)
        return enhance_on_cluster(job, bundle, hooks, address=wishes.cluster)
    return enhance_file(
        source,
        target,
        engine,
        crf=options.crf,
        preset=options.preset,
        audio=options.audio,
        keep_damaged=reading.keep_damaged,
        deinterlace=reading.deinterlace,
        segment_frames=wishes.segment_frames,
        engine_id=identity(bundle),
        restart=wishes.restart,
        on_progress=line.update,
        cancel=cancel,
        say=line.say,
    )


def check(wishes: Wishes) -> None:
    """Check the names before the engine is loaded.

    Raises:
        InputError: see :func:`check_paths` and :func:`plan_folder`; an option is
            out of range, or asks of a cluster what it cannot do.
    """
    length = check_segment_frames(wishes.segment_frames)
    if wishes.cluster is not None and not length:
        raise InputError("--cluster shares segments.", "Leave --segment-frames 0 out.")
    if wishes.source.is_dir():
        plan_folder(wishes.source, wishes.target)
    elif check_paths(wishes.source, wishes.target) and wishes.cluster is not None:
        raise InputError(
            f"'{wishes.source}' is an image; --cluster shares the segments of videos.",
            "Leave --cluster out.",
        )


def _key(wishes: Wishes, bundle: Bundle) -> str:
    """What would change a file of a folder."""
    parts = [identity(bundle), repr(wishes.options), repr(wishes.reading), versions()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
