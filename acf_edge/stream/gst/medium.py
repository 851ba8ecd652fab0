"""What all viewers of a served stream share."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import Any

from acf_edge.stream.gst.encoders import ENCODER, Encoding
from acf_edge.stream.gst.feeder import SOURCE, Feeder, running_time
from acf_edge.stream.gst.load import Gstreamer
from acf_edge.stream.gst.stamps import Stamps
from acf_edge.stream.protocols import Moment

# Pictures that wait for the encoder; when it falls behind, later ones are left out.
_WAITING = 2
# A pause in a file's times that is longer than this is not sat through.
_LONGEST_WAIT = 1.0


class Medium:
    """The pipeline between the stream and its viewers: it is there while somebody watches.

    Args:
        gstreamer: loaded.
        feeder: makes its buffers.
        live: of the source; pictures of a file are held back until they are due.
    """

    def __init__(self, gstreamer: Gstreamer, feeder: Feeder, live: bool) -> None:
        self._gstreamer = gstreamer
        self._feeder = feeder
        self._live = live
        self._lock = threading.Lock()
        self._media: Any = None
        self._source: Any = None
        self._encoder: Any = None
        self._stamps = Stamps(True)
        self._latest: Moment | None = None
        self._closing = threading.Event()
        self._zero: tuple[float, Fraction] | None = None
        self._dropped = 0

    @property
    def watched(self) -> bool:
        """Whether somebody watches."""
        return self._source is not None

    def factory(self, rtsp: Any, encoding: Encoding) -> Any:
        """Make what ``GstRtspServer`` asks for a medium when somebody comes."""
        factory = rtsp.RTSPMediaFactory.new()
        factory.set_launch(encoding.pipeline(True))
        factory.set_shared(True)
        factory.set_suspend_mode(rtsp.RTSPSuspendMode.NONE)
        factory.connect("media-configure", self._begin)
        return factory

    # These are called in the server's threads.

    def _begin(self, factory: Any, media: Any) -> None:
        element = media.get_element()
        source = element.get_by_name(SOURCE)
        self._feeder.attach(source)
        media.connect("unprepared", self._end)
        with self._lock:
            self._media, self._source = media, source
            self._encoder = element.get_by_name(ENCODER)
            self._stamps = Stamps(True)
            # The medium is ready once a picture went through it; a source that
            # stands still would keep the viewer waiting.
            if self._latest is not None:
                self._push(self._latest)

    def _end(self, media: Any) -> None:
        with self._lock:
            if media is self._media:
                self._media = self._source = self._encoder = None

    def refresh(self) -> None:
        """Somebody began to play: the next picture shall stand on its own."""
        with self._lock:
            encoder = self._encoder
        if encoder is not None:
            make = self._gstreamer.Video.video_event_new_upstream_force_key_unit
            event = make(self._gstreamer.Gst.CLOCK_TIME_NONE, True, 0)
            encoder.get_static_pad("src").send_event(event)

    def write(self, moment: Moment) -> None:
        """Code a picture if somebody watches; never waits for one who does."""
        if not self._live:
            self._wait_until_due(moment)
        with self._lock:
            self._latest = moment
            if self._source is not None:
                self._push(moment)

    def _push(self, moment: Moment) -> None:
        if not self._feeder.room(self._source, _WAITING):
            self._dropped += 1
            return
        stamp = self._stamps.due(moment.frame.seconds, running_time(self._source))
        self._source.push_buffer(self._feeder.buffer(moment.frame, stamp))

    def _wait_until_due(self, moment: Moment) -> None:
        when, now = moment.frame.seconds, time.monotonic()
        if self._zero is None:
            self._zero = now, when
        ahead = float(when - self._zero[1]) - (now - self._zero[0])
        if not -_LONGEST_WAIT <= ahead <= _LONGEST_WAIT:
            self._zero = now, when
        elif ahead > 0:
            self._closing.wait(ahead)

    def close(self) -> None:
        """Let go of the pipeline; it belongs to the server."""
        self._closing.set()
        with self._lock:
            self._media = self._source = self._encoder = None

    def notes(self) -> list[str]:
        """What was left out, in words."""
        if not self._dropped:
            return []
        return [f"{self._dropped} pictures were left out because the encoder was busy"]
