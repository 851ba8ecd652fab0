"""Frames out of a GStreamer pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.bus import BusError
from acf_edge.stream.gst.elements import have, works
from acf_edge.stream.gst.load import Gstreamer, load
from acf_edge.stream.gst.pipelines import HARDWARE, Have, source_plan
from acf_edge.stream.gst.samples import TIME_BASE, SampleReader
from acf_edge.stream.gst.session import Session
from acf_edge.stream.protocols import SourceLost, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri

_SLICE = 0.1  # how long one wait takes; so soon a close, an error or silence is seen
_CONNECT = 3.0
_FIRST_FRAME = 10.0  # cameras send a key frame every few seconds
_FIRST_OF_FILE = 20.0
_NETWORK = frozenset({"rtspsrc", "srtsrc", "tcpclientsrc", "souphttpsrc", "rtmpsrc", "rtmp2src"})


class GstSource:
    """Read a camera, an RTSP stream or a pipeline of the user's through GStreamer.

    Pictures come as YUV, as they were decoded, and become RGB by what their caps
    say of the colour; where they say nothing, the size decides as everywhere else.
    Times are in 1/90000 s, begin near 0 and go on by the wall clock when a lost
    source is opened again.

    Args:
        uri: ``gst:PIPELINE``, ``csi://N``, or ``v4l2`` and ``rtsp`` with ``backend=gst``.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._session: Session | None = None
        self._closing = threading.Event()
        self._first: Frame | None = None
        self._reader: SampleReader | None = None
        self._was_open = False
        self._failed_decoder = ""
        self._live = uri.scheme != "gst" or source_plan(uri, lambda element: True).live
        self._last: int | None = None  # the latest frame's time and when it came
        self._last_arrival = 0.0
        self._shift = 0
        self._silence = 0.0
        self._rebase = False

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """Whether frames come when they come.

        Of a user's pipeline this is a guess by its elements until it was opened.
        """
        return self._live

    def open(self) -> StreamInfo:
        """Build and start the pipeline and wait for its first frame.

        Raises:
            InputError: GStreamer or an element is missing, the pipeline is wrong, the
                camera is not there or wants another password.
            SourceLost: a network camera does not answer, or a source that was open
                before cannot be opened now.
        """
        self.close()
        self._closing.clear()
        gstreamer = load()
        if not self._failed_decoder:
            try:
                return self._open(gstreamer, _usable)
            except _HardwareFailed as failed:
                self._failed_decoder = f"'{failed.error.element}' failed: {failed.error.text}"
        info = self._open(gstreamer, _software)
        return replace(
            info, notes=(*info.notes, f"decoded in software, because {self._failed_decoder}")
        )

    def _open(self, gstreamer: Gstreamer, usable: Have) -> StreamInfo:
        deinterlace = str(self._uri.options.get("deinterlace", "off"))
        plan = source_plan(self._uri, usable)
        if self._was_open:  # what it turned out to be is no guess any more
            plan = replace(plan, live=self._live)
        self._silence = plan.silence
        self._reader = SampleReader(gstreamer)
        session = Session(gstreamer, plan, usable, deinterlace)
        self._session = session
        try:
            session.start(self._closing)
            self._live = session.live
            sample = self._wait_for_first(session)
            self._rebase = True
            self._first = self._frame(sample)
            info = self._reader.info(
                self.uri, self._first, session.sink_pad, session.live, session.notes
            )
        except BaseException:
            self._end_session()
            raise
        self._was_open = True
        return info

    def _wait_for_first(self, session: Session) -> Any:
        begin = time.monotonic()
        limit = max(self._silence, _CONNECT) if session.live else _FIRST_OF_FILE
        connected = False
        while True:
            sample = session.pull(_SLICE)
            if sample is not None:
                return sample
            if self._closing.is_set():
                raise SourceLost("it was closed")
            if session.connected and not connected and session.live:
                connected = True
                begin, limit = time.monotonic(), max(self._silence, _FIRST_FRAME)
            error = session.error()
            if error is not None:
                if self._replaceable(session, error):
                    raise _HardwareFailed(error)
                raise self._explain(error)
            if session.ended:
                raise self._gone("it ended before its first frame")
            if time.monotonic() - begin > limit:
                what = "no picture came" if connected else "there was no answer"
                raise self._gone(f"{what} for {limit:.0f} s")

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Every frame; of a live source the newest, where they are not taken in time.

        Ends where the pipeline does, or after :meth:`close`.

        Raises:
            SourceLost: a live source failed, ended, or was silent for too long.
            InputError: another one failed; the message is GStreamer's.
        """
        session, first = self._session, self._first
        self._first = None
        if session is None:
            return
        if first is not None:
            yield first
        while not self._closing.is_set():
            # Time spent with a frame elsewhere is not silence.
            begin = time.monotonic()
            sample = session.pull(_SLICE)
            while sample is None:
                if self._closing.is_set():
                    return
                error = session.error()
                if error is not None:
                    if self._replaceable(session, error):  # by software, when opened again
                        self._failed_decoder = f"'{error.element}' failed: {error.text}"
                    raise self._explain(error)
                if session.ended:
                    if session.live:
                        raise SourceLost("the stream ended")
                    return
                if session.live and time.monotonic() - begin > self._silence:
                    raise SourceLost(f"no frame for {self._silence:g} s")
                sample = session.pull(_SLICE)
            yield self._frame(sample)

    def _replaceable(self, session: Session, error: BusError) -> bool:
        """Whether software may do what an element of hardware could not."""
        chosen_here = self._uri.scheme != "gst" and session.have is not _software
        return chosen_here and error.element in HARDWARE

    def _frame(self, sample: Any) -> Frame:
        assert self._reader is not None
        try:
            frame = self._reader.read(sample)
        except ValueError as error:
            raise self._gone(str(error)) from error
        now = time.monotonic()
        frame.pts = self._time(frame.pts, now)
        self._last, self._last_arrival = frame.pts, now
        return frame

    def _time(self, ticks: int, now: float) -> int:
        """Keep time going on after a loss or a leap of the camera's clock."""
        last = self._last
        if last is None:
            self._rebase = False
            return ticks
        passed = round((now - self._last_arrival) / TIME_BASE)
        step = ticks + self._shift - last
        second = TIME_BASE.denominator
        leapt = self._live and (step < -second or step > passed + 10 * second)
        if self._rebase or leapt:
            self._shift = last + max(1, passed) - ticks
            self._rebase = False
        return max(ticks + self._shift, last + 1)

    def _explain(self, error: BusError) -> InputError | SourceLost:
        text = error.text
        if error.refused:
            return InputError(
                f"'{self.uri}': the camera refuses the user name or password.",
                "Write rtsp://USER:PASSWORD@HOST/PATH.",
            )
        network = self._uri.scheme.startswith("rtsp") or error.element in _NETWORK
        if self._live and (self._was_open or (network and error.of_resource)):
            return SourceLost(text)
        return InputError(f"'{self.uri}': {text}.")

    def _gone(self, reason: str) -> InputError | SourceLost:
        if self._live:
            return SourceLost(reason)
        return InputError(f"'{self.uri}': {reason}.")

    def copyable(self) -> Sequence[Stream]:
        """Nothing: what GStreamer reads beside the pictures is not passed along."""
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Nothing can be passed along."""

    def close(self) -> None:
        """Stop the pipeline. A waiting :meth:`items` ends within a tenth of a second."""
        self._closing.set()
        self._end_session()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.stop()


class _HardwareFailed(Exception):
    """A hardware decoder did not do it; software may."""

    def __init__(self, error: BusError) -> None:
        super().__init__(error.text)
        self.error = error


def _usable(element: str) -> bool:
    return works(element) if element in HARDWARE else have(element)


def _software(element: str) -> bool:
    return element not in HARDWARE and have(element)
