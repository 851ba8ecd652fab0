"""What the parts of the streaming runtime agree on: sources, sinks, moments, controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame


class SourceLost(Exception):
    """A live source went away (unplugged, server gone or hung); opening it again may help.

    Args:
        reason: one clause, e.g. ``"no frame for 3 s"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SinkFailed(Exception):
    """A sink cannot go on; the others do.

    Args:
        reason: one clause, e.g. ``"the disk is full"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream before its first frame is used.

    Attributes:
        title: the URI as the user gave it, without user name and password.
        width, height: pixels, as displayed (rotation applied).
        rate: nominal frames per second; 25 where nothing is known.
        time_base: seconds per unit of the frames' timestamps.
        tags: colour tags as delivered (:attr:`Frame.colour` is resolved).
        colour: how the first frame was read.
        aspect: pixel aspect ratio; None where square or unknown.
        live: frames come when they come; what is late is dropped, not waited for.
        notes: what is special about it, in words (interlaced, 10 bit, ...).
    """

    title: str
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    tags: Colour
    colour: Colour
    aspect: Fraction | None = None
    live: bool = False
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Where frames come from. Opened, read to its end, closed; a live one again and again."""

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        ...

    @property
    def live(self) -> bool:
        """A camera or a network stream: the newest frame is the one that matters."""
        ...

    def open(self) -> StreamInfo:
        """Connect and learn what comes.

        Raises:
            InputError: it cannot work (no such file, no such device, a wrong option).
            SourceLost: it may work later (live sources only).
        """
        ...

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames in order, and packets of the streams named by :meth:`pass_along`.

        Ends at the end of a file. Timestamps of frames are strictly increasing.

        Raises:
            SourceLost: a live source stopped delivering.
            InputError: a file turned out to be damaged.
        """
        ...

    def copyable(self) -> Sequence[Stream]:
        """Audio (and other) streams whose packets a sink may copy."""
        ...

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        ...

    def close(self) -> None:
        """Let go. From another thread it makes a waiting :meth:`items` end within 3 s."""
        ...


@dataclass(slots=True)
class Moment:
    """One frame on its way through the runtime.

    Attributes:
        frame: what a sink shows: enhanced pixels, the source's times and colour.
        original: ``(H, W, 3)`` uint8 RGB as captured; None if nobody asked for it.
        source: number of the source, 0-based.
        sequence: counts the source's captured frames; gaps are dropped frames.
        captured: ``time.monotonic()`` when its pixels were there.
        inferred: the same when the engine had done with it.
        rung: name of the engine that made it.
        held: the last picture shown again, because the source is away.
    """

    frame: Frame
    original: Uint8Image | None
    source: int
    sequence: int
    captured: float
    inferred: float
    rung: str
    held: bool = False


class Sink(Protocol):
    """Where enhanced frames go. Each runs in a thread of its own.

    Two more attributes are looked for. ``bind(controls)``, a method, is called with the
    :class:`Controls` of the stream before :meth:`open`. ``newest``, true for what shows
    pictures and keeps none: of a live source it gets the newest picture, though of a
    file (``lossless``) every one; a recording gets a queue that bridges hiccups.
    Moments and packets are shared between sinks: change a copy.
    """

    @property
    def uri(self) -> str:
        """As the user gave it."""
        ...

    @property
    def wants_original(self) -> bool:
        """Whether moments must carry the captured pixels, too."""
        ...

    @property
    def lossless(self) -> bool:
        """A recording: with a file as source, nothing may be dropped on the way here."""
        ...

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin a stream.

        Args:
            info: of the source.
            size: ``(width, height)`` of the enhanced frames.
            source: for the streams to copy.

        Raises:
            InputError: the sink cannot take this stream.
        """
        ...

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Take the next frame, or a packet of a stream that it asked to be passed along.

        Frames of another size than announced are the sink's to scale.

        Raises:
            SinkFailed: it cannot go on.
        """
        ...

    def close(self) -> Sequence[str]:
        """Finish (a file becomes whole). Returns notes, in words. Safe to call twice."""
        ...


class Controls(Protocol):
    """What a sink with buttons may ask of the running stream; thread-safe."""

    def stats(self) -> Mapping[str, Any]:
        """Counters and latencies as plain JSON types; see ``docs/streaming.md``."""
        ...

    def rungs(self) -> Sequence[str]:
        """Names of the engines on the ladder, best first."""
        ...

    def hold_rung(self, name: str | None) -> None:
        """Use this engine from now on; None = let the governor choose again."""
        ...

    def attach(self, uri: str) -> int:
        """Add a sink to the running stream and return its number.

        Raises:
            InputError: the URI, or the place, cannot be used.
        """
        ...

    def detach(self, number: int) -> Sequence[str]:
        """Finish a sink that was attached; returns its notes."""
        ...
