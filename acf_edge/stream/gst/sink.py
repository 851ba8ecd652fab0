"""Frames into a GStreamer pipeline: the user's own, or one that ends in a window."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.gst.bus import BusError, read_error, take_error
from acf_edge.stream.gst.elements import explain_parse_error
from acf_edge.stream.gst.feeder import SOURCE, Feeder, appsrc, running_time
from acf_edge.stream.gst.load import Gstreamer, load
from acf_edge.stream.gst.stamps import Stamps
from acf_edge.stream.protocols import Moment, SinkFailed, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri_types import Uri

_FILES = re.compile(r"\b(filesink|multifilesink|splitmuxsink|hlssink[23]?|dashsink)\b")
# Pictures that wait in the pipeline's own queue.
_WAITING = 2
_POLL = 0.002
_STUCK = 10.0
_FINISH = 10.0
_NANO = 1_000_000_000


class Feed:
    """A running pipeline that begins with an appsrc.

    Args:
        gstreamer: loaded.
        text: of the pipeline, its appsrc included.
        feature: who needs it, for messages.
        feeder: makes its buffers.
        stamps: makes their times.
        patient: wait for room instead of dropping pictures of a live source.

    Attributes:
        dropped: pictures that found no room.

    Raises:
        InputError: it cannot be built, or does not start.
    """

    def __init__(
        self,
        gstreamer: Gstreamer,
        text: str,
        feature: str,
        feeder: Feeder,
        stamps: Stamps,
        patient: bool,
    ) -> None:
        self.dropped = 0
        self._gst = gst = gstreamer.Gst
        self._feeder, self._stamps, self._patient = feeder, stamps, patient
        self._closing = threading.Event()
        self._fed = self._failed = False
        try:
            self.pipeline = gst.parse_launch(text)
        except gstreamer.GLib.Error as error:
            raise explain_parse_error(error.message, feature) from error
        self._source = self.pipeline.get_by_name(SOURCE)
        feeder.attach(self._source)
        self._bus = self.pipeline.get_bus()
        # What begins in PAUSED waits for a picture: an error of opening comes at once.
        if self.pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            trouble = self.error()
            self.stop()
            raise InputError(f"{feature}: {trouble.text if trouble else 'it does not start'}.")

    def error(self) -> BusError | None:
        """What went wrong since this was asked last."""
        return take_error(self._gst, self._bus)

    def write(self, moment: Moment) -> None:
        """Hand over one picture.

        Raises:
            SinkFailed: the pipeline stopped, or takes nothing.
        """
        begin = time.monotonic()
        while not self._feeder.room(self._source, _WAITING):
            self._check()
            if not self._patient:
                self.dropped += 1
                return
            if self._closing.wait(_POLL):
                return
            if time.monotonic() - begin > _STUCK:
                self._failed = True
                raise SinkFailed(f"the pipeline took no picture for {_STUCK:g} s")
        self._check()
        stamp = self._stamps.due(moment.frame.seconds, running_time(self._source))
        flow = self._source.push_buffer(self._feeder.buffer(moment.frame, stamp))
        self._fed = True
        if flow != self._gst.FlowReturn.OK and not self._closing.is_set():
            self._check()
            self._failed = True
            raise SinkFailed(f"the pipeline takes nothing more ({flow.value_nick})")

    def _check(self) -> None:
        error = self.error()
        if error is not None:
            self._failed = True
            raise SinkFailed(error.text)

    def finish(self) -> str:
        """Let everything run through to the end, then stop.

        Returns:
            What went wrong meanwhile; empty if nothing did, or a write said so already.
        """
        self._closing.set()
        text = ""
        if self._fed and not self._failed:
            kinds = self._gst.MessageType
            self._source.end_of_stream()
            message = self._bus.timed_pop_filtered(round(_FINISH * _NANO), kinds.EOS | kinds.ERROR)
            if message is None:
                text = f"the pipeline did not finish within {_FINISH:g} s"
            elif message.type == kinds.ERROR:
                text = read_error(message).text
        self.stop()
        return text

    def stop(self) -> None:
        """Stop at once."""
        self._closing.set()
        self.pipeline.set_state(self._gst.State.NULL)
        self._bus.set_flushing(True)


class GstSink:
    """Hand frames to a GStreamer pipeline.

    It gets ``video/x-raw`` as I420 (odd sizes: Y444) whose caps name matrix, range
    and chroma site. Pictures of a file come as they are due; of a live source they
    carry their own times if the pipeline writes files, and the time of their
    arrival otherwise, so that no sink finds them late.

    Args:
        uri: ``gst:PIPELINE``; the pipeline begins with what takes raw video.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._feed: Feed | None = None
        self._notes: list[str] = []

    @property
    def uri(self) -> str:
        """As the user gave it."""
        return self._uri.shown

    @property
    def wants_original(self) -> bool:
        """Never."""
        return False

    @property
    def lossless(self) -> bool:
        """Of a file, every picture: the pipeline sets the pace."""
        return True

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Build and start the pipeline.

        Raises:
            InputError: GStreamer or an element is missing, the pipeline is wrong or
                does not start.
        """
        text = self._uri.rest.strip().lstrip("!").strip()
        files = bool(_FILES.search(text))
        gstreamer = load()
        self._feed = Feed(
            gstreamer,
            f"{appsrc(info.live)} ! {text}",
            "This pipeline",
            Feeder(gstreamer, info, size),
            Stamps(info.live, by_arrival=not files),
            patient=files or not info.live,
        )

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Hand over a picture; packets were not asked for.

        Raises:
            SinkFailed: the pipeline stopped, or takes nothing.
        """
        if self._feed is None:
            raise SinkFailed("the pipeline is not open")
        if isinstance(item, Moment):
            self._feed.write(item)

    def close(self) -> Sequence[str]:
        """Send the end through the pipeline, wait for it, stop."""
        feed, self._feed = self._feed, None
        if feed is not None:
            trouble = feed.finish()
            if feed.dropped:
                self._notes.append(f"{feed.dropped} pictures found the pipeline busy")
            if trouble:
                raise SinkFailed(trouble)
        return tuple(self._notes)
