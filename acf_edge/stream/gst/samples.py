"""From a sample of an appsink to a frame: size, colour and time as its caps say."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from acf_edge.stream.colour import UPRIGHT, Orientation, resolve
from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.caps import FORMATS, PixelFormat, read_colorimetry
from acf_edge.stream.gst.load import Gstreamer
from acf_edge.stream.gst.pixels import Layout, Unpacker
from acf_edge.stream.protocols import StreamInfo

# RTP's clock: the rates of film and television are whole numbers of ticks.
TIME_BASE: Final = Fraction(1, 90000)
_NANO = 1_000_000_000

# GstVideoOrientationMethod -> how the pixels are laid.
_ORIENTATIONS = {
    1: Orientation(True, True, False),
    2: Orientation(False, True, True),
    3: Orientation(True, False, True),
    4: Orientation(False, True, False),
    5: Orientation(False, False, True),
    6: Orientation(True, False, False),
    7: Orientation(True, True, True),
}


class _Picture:
    """What the caps say; made anew when they change."""

    def __init__(self, gstreamer: Gstreamer, caps: Any) -> None:
        fields = caps.get_structure(0)
        name = fields.get_string("format")
        self.caps = caps
        self.format: PixelFormat = FORMATS[name]
        self.width = int(fields.get_int("width")[1])
        self.height = int(fields.get_int("height")[1])
        self.tags = read_colorimetry(fields.get_string("colorimetry"))
        self.interlaced = fields.get_string("interlace-mode") not in (None, "progressive")
        self.rate = _fraction(fields, "framerate") or _fraction(fields, "max-framerate")
        self.aspect = _fraction(fields, "pixel-aspect-ratio")
        self.colour = resolve(self.tags, self.width, self.height, rgb=self.format.rgb)
        centred = fields.get_string("chroma-site") == "jpeg"
        self.unpacker = Unpacker(self.format, (self.width, self.height), centred)
        info = video_info(gstreamer, caps)
        self.layout = Layout.of(info, int(info.size))

    def notes(self) -> list[str]:
        notes = []
        if self.format.bits > 8:
            notes.append(f"{self.format.bits}-bit pixels were brought to 8 bits")
        if self.tags.hdr:
            notes.append("the HDR transfer curve was kept as it is, in 8 bits")
        if self.interlaced:
            notes.append("the video is interlaced; its fields were not separated")
        return notes


def video_info(gstreamer: Gstreamer, caps: Any) -> Any:
    """``GstVideoInfo`` of fixed raw caps, by GStreamer 1.16 (JetPack 5) and later."""
    make = getattr(gstreamer.Video.VideoInfo, "new_from_caps", None)
    if make is not None:
        return make(caps)
    info = gstreamer.Video.VideoInfo()
    info.from_caps(caps)
    return info


def _fraction(fields: Any, name: str) -> Fraction | None:
    found, numerator, denominator = fields.get_fraction(name)
    return Fraction(numerator, denominator) if found and numerator and denominator else None


class SampleReader:
    """Turns the samples of one session into frames.

    Args:
        gstreamer: loaded.
    """

    def __init__(self, gstreamer: Gstreamer) -> None:
        self._gstreamer = gstreamer
        self._picture: _Picture | None = None
        self._orientation: Orientation | None = None
        self._ticks: int | None = None

    def read(self, sample: Any) -> Frame:
        """Decode one sample.

        Returns:
            A frame; its time is the pipeline's running time in :data:`TIME_BASE`.

        Raises:
            ValueError: its buffer does not hold what the caps say.
        """
        caps, buffer = sample.get_caps(), sample.get_buffer()
        picture = self._picture
        if picture is None or not caps.is_equal(picture.caps):
            picture = self._picture = _Picture(self._gstreamer, caps)
        meta = self._gstreamer.Video.buffer_get_video_meta(buffer)
        size = int(buffer.get_size())
        layout = Layout.of(meta, size) if meta is not None else picture.layout
        pixels = picture.unpacker.rgb(buffer.extract_dup(0, size), layout, picture.colour)
        if self._orientation is not None:
            pixels = self._orientation.apply(pixels)
        return Frame(
            pixels=pixels,
            pts=self._time(sample.get_segment(), buffer.pts, picture),
            time_base=TIME_BASE,
            duration=_ticks(self._known(buffer.duration) or 0),
            colour=picture.colour,
        )

    def _known(self, nanoseconds: int) -> int | None:
        return None if nanoseconds == self._gstreamer.Gst.CLOCK_TIME_NONE else nanoseconds

    def _time(self, segment: Any, pts: int, picture: _Picture) -> int:
        running = None
        if self._known(pts) is not None:
            running = self._known(segment.to_running_time(self._gstreamer.Gst.Format.TIME, pts))
        if running is not None:
            self._ticks = _ticks(running)
        elif self._ticks is None:
            self._ticks = 0
        else:
            self._ticks += max(1, round(1 / ((picture.rate or 25) * TIME_BASE)))
        return self._ticks

    def _find_orientation(self, pad: Any) -> Orientation:
        """How the tags that passed a pad want the picture turned."""
        read = getattr(self._gstreamer.Video, "video_orientation_from_tag", None)
        number = 0
        while read is not None:
            event = pad.get_sticky_event(self._gstreamer.Gst.EventType.TAG, number)
            if event is None:
                break
            found, method = read(event.parse_tag())
            if found and int(method) in _ORIENTATIONS:
                return _ORIENTATIONS[int(method)]
            number += 1
        return UPRIGHT

    def info(
        self, title: str, first: Frame, pad: Any, live: bool, notes: Sequence[str]
    ) -> StreamInfo:
        """What is known of the stream; turns ``first`` upright, and all frames after it.

        Args:
            title: of the source.
            first: the frame that was read.
            pad: of the appsink, to be asked for tags.
            live: frames come when they come.
            notes: of the session.
        """
        picture = self._picture
        assert picture is not None
        turn = self._orientation = self._find_orientation(pad)
        first.pixels = turn.apply(first.pixels)
        height, width = first.pixels.shape[:2]
        aspect = picture.aspect if picture.aspect != 1 else None
        return StreamInfo(
            title=title,
            width=width,
            height=height,
            rate=picture.rate or Fraction(25),
            time_base=TIME_BASE,
            tags=picture.tags,
            colour=picture.colour,
            aspect=1 / aspect if aspect and turn.transpose else aspect,
            live=live,
            notes=(*notes, *picture.notes()),
        )


def _ticks(nanoseconds: int) -> int:
    return round(Fraction(nanoseconds, _NANO) / TIME_BASE)
