"""Segments and the source's other streams into one film; nothing is coded again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.batch.encode import FilmShape
from acf_edge.stream.batch.reader import SeekableSource
from acf_edge.stream.batch.segment import decoding_times
from acf_edge.stream.batch.work import WorkFolder
from acf_edge.stream.sink_file import FileSink


class Stopped(Exception):
    """The join was interrupted; the segments are as they were."""


def rehearse(
    source: SeekableSource, path: Path, target: Path, shape: FilmShape
) -> tuple[list[str], int]:
    """Find out before any work whether ``target`` can hold what will be joined.

    Args:
        source: gives the streams.
        path: where a header may be written; removed afterwards.
        target: names the container, and the file in messages.
        shape: of the film.

    Returns:
        Notes on what it cannot hold, and how many audio streams it will.

    Raises:
        InputError: it cannot hold an audio stream, or frames of that size; the
            disk is full.
    """
    try:
        sink = FileSink(path, target, source, shape.size, shape.colour, shape.options)
        try:
            sink.begin()
        finally:
            sink.abandon()
    finally:
        source.pass_along([])
        path.unlink(missing_ok=True)
    return sink.notes, sink.audio_streams


def join(
    work: WorkFolder,
    source_path: Path,
    target: Path,
    shape: FilmShape,
    cancel: threading.Event | None = None,
) -> None:
    """Write the film into ``work.joined``.

    Args:
        work: with all segments and an ending.
        source_path: gives audio, subtitles, chapters and metadata.
        target: names the container, and the file in messages.
        shape: of the film.
        cancel: once set, the join is given up.

    Raises:
        InputError: the disk is full; a segment was damaged.
        Stopped: ``cancel`` was set.
    """
    # What is wrong with the source was judged when its frames were read.
    with SeekableSource(source_path, keep_damaged=True) as source:
        sink = FileSink(work.joined, target, source, shape.size, shape.colour, shape.options)
        try:
            extradata = bytes(sink.video.codec_context.extradata or b"")
            if any(kept.extradata != extradata for kept in work.kept.values()):
                raise InputError(
                    f"The segments in '{work.path}' were made by another encoder.",
                    "Run with --restart to begin anew.",
                )
            coded = _Coded(work, shape, cancel)
            for packet in source.copies():
                when = packet.dts if packet.dts is not None else packet.pts
                if when is not None:
                    coded.write_until(sink, when * packet.time_base)
                sink.write(packet)
            coded.write_until(sink, None)
            sink.finish()
        except BaseException:
            sink.abandon()
            raise


class _Coded:
    """The coded pictures of all segments in order, with their decoding times."""

    def __init__(self, work: WorkFolder, shape: FilmShape, cancel: threading.Event | None) -> None:
        self._cancel = cancel
        self._time_base = shape.time_base
        # MP4 ends when the last packet *coded* does, which need not be the one shown last.
        edits = shape.format_name in ("mp4", "mov")
        self._end = work.kept[max(work.kept)].end if edits else None
        shown = [pts for number in sorted(work.kept) for pts in work.kept[number].shown]
        self._count = len(shown)
        self._packets = self._all(work, decoding_times(shown))
        self._next: Packet[Stream] | None = next(self._packets, None)

    def _all(self, work: WorkFolder, times: list[int]) -> Iterator[Packet[Stream]]:
        number = 0
        for segment in work.segments():
            for picture in segment.pictures:
                packet = picture.packet(times[number], self._time_base)
                number += 1
                if number == self._count and self._end is not None:
                    packet.duration = max(picture.duration, self._end - picture.pts)
                yield packet

    def write_until(self, sink: FileSink, when: Fraction | None) -> None:
        """Write the pictures that are decoded up to ``when`` seconds; None: all."""
        while self._next is not None:
            packet = self._next
            assert packet.dts is not None
            if when is not None and packet.dts * self._time_base > when:
                return
            if self._cancel is not None and self._cancel.is_set():
                raise Stopped
            self._next = next(self._packets, None)
            sink.write_coded(packet)
