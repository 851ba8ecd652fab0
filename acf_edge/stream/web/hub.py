"""Between the stream's thread, which codes, and the server's thread, which sends."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.protocols import Moment
from acf_edge.stream.web.encoders import H264Encoder, encode_jpeg
from acf_edge.stream.web.settings import Settings
from acf_edge.stream.web.wire import AFTER, BEFORE, H264, JPEG, Encoded, Picture, Times, pack

# A viewer that skipped gets its key frame no sooner than this after the last one:
# key frames are large, and one slow viewer must not make every frame a key frame.
KEY_SECONDS = 0.3
# Moments that stay at hand for a snapshot of what is on the viewer's screen.
_RECENT_BYTES = 48 << 20
_MOST_RECENT = 12


@dataclass(slots=True)
class Counters:
    """What the coding side has done; written by one thread, read by any."""

    moments: int = 0
    pictures: dict[tuple[str, str], int] = field(
        default_factory=lambda: {(c, k): 0 for c in (H264, JPEG) for k in ("before", "after")}
    )
    keys: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {H264: 0.0, JPEG: 0.0})
    bytes: dict[str, int] = field(default_factory=lambda: {H264: 0, JPEG: 0})


@dataclass(frozen=True, slots=True)
class Numbered:
    """A moment with the number of its message."""

    number: int
    moment: Moment


class Hub:
    """Takes moments, codes what is wanted, hands it on.

    Args:
        settings: quality.
        deliver: called in the stream's thread with what was coded.
    """

    def __init__(self, settings: Settings, deliver: Callable[[Encoded], None]) -> None:
        self.counters = Counters()
        self.rate = 25.0
        self._settings = settings
        self._deliver = deliver
        self._lock = threading.Lock()
        self._recent: deque[Numbered] = deque()
        self._seen: float | None = None
        self._wanted: frozenset[str] = frozenset()
        self._key_at_once = False
        self._key_soon = False
        self._key_last = -1e9
        self._encoders: dict[int, H264Encoder] = {}

    def want(self, codecs: frozenset[str]) -> None:
        """Say which codecs somebody is watching; nothing else is coded."""
        self._wanted = codecs

    def ask_key(self, *, at_once: bool) -> None:
        """Ask for a key frame: at once for a viewer that joins, soon for one that skipped."""
        with self._lock:
            self._key_at_once |= at_once
            self._key_soon = True

    def publish(self, moment: Moment) -> None:
        """Take the next moment. Costs next to nothing while nobody watches.

        Raises:
            SinkFailed: the pictures cannot be coded.
        """
        self.counters.moments += 1
        kept = Numbered(self.counters.moments, moment)
        with self._lock:
            self._seen = time.monotonic() if not moment.held else self._seen
            self._recent.append(kept)
            while len(self._recent) > 1 and (
                len(self._recent) > _MOST_RECENT or self._recent_bytes() > _RECENT_BYTES
            ):
                self._recent.popleft()
        wanted = self._wanted
        if H264 not in wanted:
            self._encoders.clear()
        for codec in sorted(wanted):
            self._deliver(self._encode(codec, kept))

    def _recent_bytes(self) -> int:
        return sum(
            kept.moment.frame.pixels.nbytes
            + (0 if kept.moment.original is None else kept.moment.original.nbytes)
            for kept in self._recent
        )

    def _encode(self, codec: str, kept: Numbered) -> Encoded:
        began = time.perf_counter()
        moment = kept.moment
        views = [(AFTER, moment.frame.pixels)]
        if moment.original is not None:
            views.insert(0, (BEFORE, moment.original))
        key = codec == JPEG or self._key_now(views)
        pictures = []
        for kind, pixels in views:
            data = (
                self._h264(kind, pixels, key)
                if codec == H264
                else encode_jpeg(pixels, 92 if kind == BEFORE else 85)
            )
            pictures.append(Picture(kind, pixels.shape[1], pixels.shape[0], data))
            self.counters.pictures[codec, "before" if kind == BEFORE else "after"] += 1
            self.counters.bytes[codec] += len(data)
        self.counters.seconds[codec] += time.perf_counter() - began
        self.counters.keys += codec == H264 and key
        return pack(
            codec,
            kept.number,
            tuple(pictures),
            Times(float(moment.frame.seconds), moment.captured, moment.inferred, time.monotonic()),
            key=key,
            held=moment.held,
            sequence=moment.sequence,
            rung=moment.rung,
        )

    def _key_now(self, views: list[tuple[int, Uint8Image]]) -> bool:
        """Whether the next H.264 pictures must be key frames; forgets what was asked for."""
        # Both pictures are key frames at once, or a viewer that joins could show one only.
        fresh = any(
            kind not in self._encoders or self._encoders[kind].size != pixels.shape[1::-1]
            for kind, pixels in views
        )
        now = time.monotonic()
        with self._lock:
            soon = self._key_soon and now - self._key_last >= KEY_SECONDS
            key = fresh or self._key_at_once or soon
            if key:
                self._key_at_once = self._key_soon = False
                self._key_last = now
        return key

    def _h264(self, kind: int, pixels: Uint8Image, key: bool) -> bytes:
        height, width = pixels.shape[:2]
        encoder = self._encoders.get(kind)
        if encoder is None or encoder.size != (width, height):
            settings = self._settings
            encoder = H264Encoder(width, height, self.rate, settings.crf, settings.preset)
            self._encoders[kind] = encoder
        return encoder.encode(pixels, key)

    def find(self, number: int | None = None) -> Numbered | None:
        """The moment of that number if it is still at hand, else the newest; None at the start."""
        with self._lock:
            for kept in self._recent:
                if kept.number == number:
                    return kept
            return self._recent[-1] if self._recent else None

    @property
    def age(self) -> float | None:
        """Seconds since the last fresh frame (not a held one); None before the first."""
        with self._lock:
            return None if self._seen is None else time.monotonic() - self._seen
