"""One run of a source's pipeline, from built to stopped."""

from __future__ import annotations

import threading
import time
from typing import Any

from acf_edge.errors import AcfError
from acf_edge.stream.gst.bus import BusError, take_error
from acf_edge.stream.gst.elements import explain_parse_error
from acf_edge.stream.gst.load import Gstreamer
from acf_edge.stream.gst.pipelines import (
    FILE_FRAMES,
    LIVE_FRAMES,
    RTSP,
    SINK,
    Have,
    SourcePlan,
    rtsp_branch,
)

_NANO = 1_000_000_000
_PREROLL = 20.0


class Session:
    """Build a pipeline and pull its samples.

    Args:
        gstreamer: loaded.
        plan: what to build.
        have: whether an element may be used.
        deinterlace: for a branch that is made later.

    Attributes:
        have: as given.
        live: what the plan says; once :meth:`start` was called, what GStreamer says.
        notes: what is special, in words.

    Raises:
        InputError: the pipeline cannot be built.
    """

    def __init__(
        self, gstreamer: Gstreamer, plan: SourcePlan, have: Have, deinterlace: str
    ) -> None:
        self._gst = gst = gstreamer.Gst
        self.have = have
        self._deinterlace = deinterlace
        self.live = plan.live
        self._guessed = plan.guessed
        self.notes: list[str] = []
        self._failure: AcfError | None = None
        self._chosen = False
        self._handlers: list[tuple[Any, int]] = []
        self._lock = threading.Lock()
        try:
            self._pipeline = gst.parse_launch(plan.text)
        except gstreamer.GLib.Error as error:
            raise explain_parse_error(error.message, plan.feature) from error
        if not isinstance(self._pipeline, gst.Pipeline):  # a lone element
            element, self._pipeline = self._pipeline, gst.Pipeline.new()
            self._pipeline.add(element)
        for name, values in plan.settings.items():
            element = self._pipeline.get_by_name(name)
            for key, value in values.items():
                element.set_property(key, value)
        self._bus = self._pipeline.get_bus()
        self._sink = self._find_sink()
        if plan.branches:
            camera = self._pipeline.get_by_name(RTSP)
            self._connect(camera, "select-stream", self._select)
            self._connect(camera, "pad-added", self._branch)

    def _connect(self, element: Any, signal: str, handler: Any) -> None:
        self._handlers.append((element, element.connect(signal, handler)))

    def _find_sink(self) -> Any:
        named = self._pipeline.get_by_name(SINK)
        if named is not None:
            return named
        found = self._pipeline.iterate_sinks()
        while True:
            result, element = found.next()
            if result != self._gst.IteratorResult.OK:
                return None
            if element.get_factory().get_name() == "appsink":
                return element

    # The next two are called in GStreamer's threads; what they raise would be lost.

    def _select(self, camera: Any, number: int, caps: Any) -> bool:
        media = caps.get_structure(0).get_string("media")
        if media == "audio":
            self.notes.append("the audio is left out with backend=gst")
        first = media == "video" and not self._chosen
        self._chosen = self._chosen or first
        return first

    def _branch(self, camera: Any, pad: Any) -> None:
        structure = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0)
        if structure.get_string("media") != "video" or self._sink is not None:
            return
        encoding = structure.get_string("encoding-name") or "unknown"
        try:
            text = rtsp_branch(encoding, self.have, self._deinterlace)
            made = self._gst.parse_bin_from_description(text, True)
        except AcfError as error:
            self._failure = error
            return
        self._pipeline.add(made)
        made.sync_state_with_parent()
        pad.link(made.get_static_pad("sink"))
        self._sink = made.get_by_name(SINK)

    def start(self, closing: threading.Event) -> None:
        """Begin to play; errors come later, through :meth:`error`.

        Args:
            closing: whoever sets it wants this to end.
        """
        gst = self._gst
        result = self._pipeline.set_state(gst.State.PAUSED)
        if self._guessed:
            end = time.monotonic() + _PREROLL
            waiting = gst.StateChangeReturn.ASYNC
            while result == waiting and not closing.is_set() and time.monotonic() < end:
                result = self._pipeline.get_state(_NANO // 10)[0]
            # Only a pipeline that is live has nothing to show while it is paused. One
            # that failed says neither.
            if result in (gst.StateChangeReturn.NO_PREROLL, gst.StateChangeReturn.SUCCESS):
                self.live = result == gst.StateChangeReturn.NO_PREROLL
            if self._pipeline.get_by_name(SINK) is not None:
                self._sink.set_property("drop", self.live)
                self._sink.set_property("max-buffers", LIVE_FRAMES if self.live else FILE_FRAMES)
        self._pipeline.set_state(gst.State.PLAYING)

    @property
    def connected(self) -> bool:
        """There is something to pull from."""
        return self._sink is not None

    @property
    def ended(self) -> bool:
        """Everything was pulled and no more will come."""
        return self._sink is not None and bool(self._sink.get_property("eos"))

    @property
    def sink_pad(self) -> Any:
        """Where caps and tags can be asked for, once connected."""
        return self._sink.get_static_pad("sink")

    def pull(self, seconds: float) -> Any:
        """The next ``GstSample``; None if none came in that time, or none will.

        Raises:
            InputError: the stream cannot be decoded here.
        """
        if self._failure is not None:
            raise self._failure
        if self._sink is None:
            threading.Event().wait(min(seconds, 0.02))
            return None
        return self._sink.try_pull_sample(round(seconds * _NANO))

    def error(self) -> BusError | None:
        """What went wrong since this was asked last.

        Raises:
            InputError: the stream cannot be decoded here.
        """
        # What cannot be linked fails in other ways, too, a moment later.
        if self._failure is not None:
            raise self._failure
        return take_error(self._gst, self._bus)

    def stop(self) -> None:
        """Stop and let go. Safe from any thread, more than once; a pull then ends."""
        with self._lock:
            handlers, self._handlers = self._handlers, []
            for element, handler in handlers:
                element.disconnect(handler)
            self._pipeline.set_state(self._gst.State.NULL)
            self._bus.set_flushing(True)
