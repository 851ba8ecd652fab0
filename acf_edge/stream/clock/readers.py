"""Readers at the other end of a sink: in the sink, of a growing file, of a network stream."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import AcfError, InputError
from acf_edge.stream.clock.code import now, read
from acf_edge.stream.clock.sightings import Sightings
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment, Sink, Source, SourceLost, StreamInfo
from acf_edge.stream.uri import open_sink, open_source

_RETRY = 0.1


class Reader(Protocol):
    """A sink, and somebody who looks at what comes out of it."""

    sightings: Sightings
    how: str
    """In words: what lies between the painting and the reading."""

    def sink(self) -> Sink:
        """A sink to run; called once."""
        ...

    def start(self) -> None:
        """Begin to look, in a thread; the sink need not be open yet."""
        ...

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        ...

    @property
    def failure(self) -> str:
        """Why nothing more can be seen; empty if nothing is wrong."""
        ...


class NullReader:
    """Reads in the sink itself: capture, engine and hand-over, nothing else."""

    how = "read as the frame is handed to the sink"
    failure = ""

    def __init__(self) -> None:
        self.sightings = Sightings()

    def sink(self) -> Sink:
        """One that reads what it gets."""
        return _ReadingSink(self.sightings)

    def start(self) -> None:
        """The sink does it."""

    def stop(self) -> None:
        """The sink does it."""


class _ReadingSink:
    uri = "null://"
    wants_original = False
    lossless = False

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        pass

    def write(self, item: Moment | Packet[Stream]) -> None:
        if isinstance(item, Moment):
            seen = now()
            self._sightings.add(read(item.frame.pixels), seen)

    def close(self) -> Sequence[str]:
        return ()


class _ThreadReader:
    """What the readers of files and network streams share: a thread, and why it ended."""

    def __init__(self) -> None:
        self.sightings = Sightings()
        self.failure = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="acf-clock", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _guard(self) -> None:
        try:
            self._look()
        except AcfError as error:
            self.failure = str(error)
        except (FFmpegError, OSError, SourceLost) as error:
            if not self._over.is_set():
                self.failure = str(error)

    def _look(self) -> None:
        raise AssertionError


class FileReader(_ThreadReader):
    """Decodes a recording while it grows.

    Args:
        folder: where to record.
    """

    how = "a .ts recording, decoded while it grew: the encoder's look-ahead is in it"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "clock.ts"

    def sink(self) -> Sink:
        """A recording."""
        return open_sink(str(self._path))

    def _look(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                if self._path.stat().st_size > 0:
                    break
            time.sleep(_RETRY)
        while not self._over.is_set():
            # At the end of the file FFmpeg waits for more; the time limit lets us look up.
            # If it could seek it would look for the end first, to learn the duration.
            follow = {"follow": "1", "seekable": "0", "fflags": "nobuffer"}
            with av.open(
                f"file:{self._path}",
                format="mpegts",
                options={**follow, "probesize": "32768", "analyzeduration": "200000"},
                timeout=(10.0, 0.5),
            ) as container:
                self._decode(container)

    def _decode(self, container: av.container.InputContainer) -> None:
        video = container.streams.video[0]
        video.thread_type = "SLICE"  # frame threads hold frames back
        video.codec_context.flags |= av.codec.context.Flags.low_delay
        for packet in container.demux(video):
            for picture in packet.decode():
                seen = now()
                grey = picture.reformat(format="gray").to_ndarray()
                self.sightings.add(read(np.asarray(grey, np.uint8)), seen)
            if self._over.is_set():
                return


class NetworkReader(_ThreadReader):
    """Reads an RTSP stream as ``acf-edge stream`` would.

    Args:
        port: on this machine; must be free.
        backend: ``"av"`` or ``"gst"``: who reads.
    """

    def __init__(self, port: int, backend: str = "av") -> None:
        super().__init__()
        self._address = f"rtsp://127.0.0.1:{port}/latency"
        self._backend = backend
        name = "GStreamer" if backend == "gst" else "PyAV"
        self.how = f"served over RTSP, read by this program through {name}"
        self._source: Source | None = None

    def sink(self) -> Sink:
        """A server."""
        return open_sink(self._address)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._source is not None:
            self._source.close()
        super().stop()

    def _look(self) -> None:
        while not self._over.is_set():
            self._source = source = open_source(f"{self._address}?backend={self._backend}")
            try:
                source.open()
                for item in source.items():
                    if isinstance(item, Frame):
                        seen = now()
                        self.sightings.add(read(item.pixels), seen)
            except (SourceLost, InputError):
                # The server is not up yet, or no longer.
                self._over.wait(_RETRY)
            finally:
                source.close()
