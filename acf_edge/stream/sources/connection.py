"""What belongs to one opening of a stream."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from acf_edge.stream.fields import OFF, REBUILT, Deinterlacer
from acf_edge.stream.pictures import PictureReader, SourceReport
from acf_edge.stream.sources.door import Door
from acf_edge.stream.timeline import Timeline

_FASTEST = 480


@dataclass(repr=False)
class Connection:
    """What belongs to one opening of the stream.

    It has no ``repr``: that of a container is its address with the password.
    """

    container: InputContainer
    video: VideoStream
    streams: list[Stream]
    time_base: Fraction
    rate: Fraction
    pictures: PictureReader
    report: SourceReport
    deinterlacer: Deinterlacer
    live: bool
    clockless: bool
    door: Door
    timeline: Timeline = field(default_factory=Timeline)
    begun: float = field(default_factory=time.monotonic)
    packets: Generator[Packet[Stream], None, None] | None = None

    def next_packet(self) -> Packet[Stream] | None:
        """The next packet of a stream that is used; one without data at each stream's end."""
        if self.packets is None:
            demuxed = self.container.demux(*self.streams)
            self.packets = cast("Generator[Packet[Stream], None, None]", demuxed)
        return next(self.packets, None)

    def hang_up(self) -> None:
        """Close the container, and before it all that may hold a packet or a picture.

        A camera's lie in memory of its driver, which goes with the container: letting
        one go afterwards crashes the process.
        """
        self.deinterlacer = Deinterlacer(OFF)
        if self.packets is not None:
            self.packets.close()
        self.container.close()

    def notes(self) -> list[str]:
        """What is special about it, in words."""
        report, notes = self.report, list(self.report.notes)
        if self.deinterlacer.used:
            notes.append(REBUILT)
        if self.timeline.jumps:
            notes.append(f"its clock leapt ({self.timeline.jumps}x); the leaps were taken out")
        for count, what in (
            (report.corrupt, "marked as damaged by the decoder"),
            (report.skipped, "not decodable"),
            (report.resized, "of another size than the first"),
        ):
            if count:
                notes.append(f"{count} {'frame' if count == 1 else 'frames'} {what}")
        return notes


def rate_of(video: VideoStream) -> Fraction:
    """Nominal frames per second; 25 where nothing is known."""
    for rate in (video.average_rate, video.guessed_rate, video.codec_context.framerate):
        # Unread streams report the ticks of their clock.
        if rate and 0 < rate <= _FASTEST:
            return Fraction(rate)
    return Fraction(25)
