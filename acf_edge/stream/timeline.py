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

    Where the clock leaps, a new epoch begins. Each audio and video stream enters
    it when its own packets leap (demuxers hand them out a little before or after
    each other), and all of them are shifted by the amount that the first one set.

    Attributes:
        jumps: leaps taken out: more than a second back or an hour ahead.
        end: the latest end of any audio or video packet so far, in seconds.
    """

    def __init__(self) -> None:
        self.end = Fraction(0)
        self._shifts = [Fraction(0)]
        self._epoch: dict[int, int] = {}
        self._next: dict[int, tuple[Fraction, Fraction]] = {}

    @property
    def jumps(self) -> int:
        """How many epochs there are but the first."""
        return len(self._shifts) - 1

    def mend(self, packet: Packet[Stream]) -> None:
        """Shift the packet's times in place; a packet without any is left alone."""
        when = packet.dts if packet.dts is not None else packet.pts
        if when is None:
            return
        unit, index = packet.time_base, packet.stream.index
        # Subtitles are sparse: a leap in theirs means nothing, so they follow the others.
        watched = packet.stream.type in ("video", "audio")
        shift = self._follow(index, when * unit) if watched else self._shifts[-1]
        if watched:
            length = max(packet.duration or 0, 1) * unit
            now = when * unit + shift
            self._next[index] = (now, now + length)
            shown = now if packet.pts is None else packet.pts * unit + shift
            self.end = max(self.end, shown + length)
        if shift:
            ticks = round(shift / unit)
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks

    def _follow(self, index: int, raw: Fraction) -> Fraction:
        """The shift of the epoch that a packet at ``raw`` seconds belongs to."""
        epoch = self._epoch.setdefault(index, 0)
        if index not in self._next:
            return self._shifts[epoch]
        last, following = self._next[index]
        while not last - _BACK <= raw + self._shifts[epoch] <= last + _AHEAD:
            epoch += 1
            if epoch == len(self._shifts):
                self._shifts.append(following - raw)
        self._epoch[index] = epoch
        return self._shifts[epoch]
