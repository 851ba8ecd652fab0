"""One clock for all packets of a file, without leaps."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.stream import Stream

# Recordings that were joined start again at zero; a flipped bit puts a packet
# hours ahead. Real pauses (slide shows, surveillance) are shorter than this.
_BACK = Fraction(1)
_AHEAD = Fraction(3600)


class Timeline:
    """Watches packets in file order and takes leaps out of their times.

    Attributes:
        jumps: leaps taken out: more than a second back or an hour ahead.
        end: the latest end of any audio or video packet so far, in seconds.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self.end = Fraction(0)
        self._shift = Fraction(0)
        self._last: dict[int, tuple[Fraction, Fraction]] = {}

    def mend(self, packet: Packet[Stream]) -> None:
        """Shift the packet's times in place; a packet without any is left alone."""
        when = packet.dts if packet.dts is not None else packet.pts
        if when is None:
            return
        unit = packet.time_base
        # Subtitles are sparse: a leap in theirs means nothing.
        if packet.stream.type in ("video", "audio"):
            now = when * unit + self._shift
            length = max(packet.duration or 0, 1) * unit
            if packet.stream.index in self._last:
                last, last_length = self._last[packet.stream.index]
                if not last - _BACK <= now <= last + _AHEAD:
                    self.jumps += 1
                    self._shift += last + last_length - now
                    now = last + last_length
            self._last[packet.stream.index] = (now, length)
            shown = now if packet.pts is None else packet.pts * unit + self._shift
            self.end = max(self.end, shown + length)
        if self._shift:
            ticks = round(self._shift / unit)
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks
