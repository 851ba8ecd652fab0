"""What FFmpeg is told for each scheme, and what its errors mean to a user."""

from __future__ import annotations

import errno
from fractions import Fraction

from av.codec.hwaccel import HWAccel
from av.error import (
    EOFError as EndOfStream,
)
from av.error import (
    ExitError,
    HTTPClientError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
    InvalidDataError,
    OptionNotFoundError,
    ProtocolNotFoundError,
)

from acf_edge.errors import InputError
from acf_edge.stream.protocols import SourceLost
from acf_edge.stream.uri_types import Uri

# The description that a server sends says enough: FFmpeg need not study the stream for a
# second before it hands out the first picture.
_PROMPT = {"probesize": "32", "analyzeduration": "1", "fpsprobesize": "0"}
# AVFMT_FLAG_NONBLOCK: a camera that hangs must not take the thread with it.
_NONBLOCK = "4"


def open_timeout(timeout: float) -> float:
    """Seconds for each step of connecting, where ``timeout`` is what reading gets.

    Connecting takes several round trips, so it gets half as much again.
    """
    return 1.5 * timeout


def address_of(uri: Uri) -> str:
    """What FFmpeg opens."""
    if uri.scheme != "v4l2":
        return uri.address
    name = uri.rest
    if name.isdigit():
        return f"/dev/video{name}"
    return name if name.startswith("/") else f"/dev/{name}"


def format_of(uri: Uri) -> str | None:
    """FFmpeg's name of the demuxer; None = it finds out."""
    return "v4l2" if uri.scheme == "v4l2" else None


def accelerator_of(uri: Uri) -> HWAccel | None:
    """The hardware that decodes; None = software does.

    Which codec will come nobody knows yet. Hardware that was seen to decode H.264 is
    asked for every stream; what it does not take, software does.
    """
    if uri.options.get("decoder") != "auto":
        return None
    from acf_edge.stream.hardware import best_decoder

    return best_decoder("h264").hwaccel()


def options_of(uri: Uri) -> dict[str, str]:
    """FFmpeg's options for a URI.

    Raises:
        InputError: options that do not go together.
    """
    given = uri.options
    if uri.scheme == "v4l2":
        return _camera_options(uri)
    if uri.scheme in ("rtsp", "rtsps"):
        return {
            **_PROMPT,
            "rtsp_transport": given["transport"],
            # Of its own accord FFmpeg waits half a second for packets out of order.
            "max_delay": "100000",
            "allowed_media_types": "video+audio" if given["audio"] else "video",
        }
    if given["live"] == "on":
        return {"analyzeduration": "500000", "fpsprobesize": "0"}
    # Something with an end goes on where the connection broke.
    return {"reconnect": "1", "reconnect_delay_max": "2"}


def _camera_options(uri: Uri) -> dict[str, str]:
    width, height = uri.options["width"], uri.options["height"]
    if (width is None) != (height is None):
        raise InputError("A camera needs both width and height, or neither.", "Add the other one.")
    options = {"fflags": f"nobuffer+{_NONBLOCK}"}
    if width is not None:
        options["video_size"] = f"{width}x{height}"
    if uri.options["fps"] is not None:
        options["framerate"] = str(uri.options["fps"])
    if uri.options["format"] != "auto":
        options["input_format"] = uri.options["format"]
    return options


def camera_notes(uri: Uri, width: int, height: int, rate: Fraction) -> list[str]:
    """What a camera does not do as it was told: it takes the nearest that it can."""
    if uri.scheme != "v4l2":
        return []
    notes = []
    wanted = uri.options["width"], uri.options["height"]
    if wanted[0] is not None and wanted != (width, height):
        notes.append(f"the camera gives {width}x{height}, not {wanted[0]}x{wanted[1]}")
    fps = uri.options["fps"]
    if fps is not None and abs(fps - rate) > fps / 100:
        notes.append(f"the camera gives {float(rate):.4g} frames per second, not {float(fps):.4g}")
    return notes


def explain(
    error: Exception, uri: Uri, silence: str, *, reading: bool = False, late: bool = False
) -> InputError | SourceLost:
    """Say what an error of FFmpeg means. Its own text holds the address, password and all.

    Args:
        error: as raised by PyAV.
        uri: where it happened.
        silence: what a time-out means, e.g. ``"no answer"``.
        reading: the stream was open before.
        late: the error came when the time to connect was over.
    """
    timeout = float(uri.options["timeout"])
    rtsp = uri.scheme in ("rtsp", "rtsps")
    broken_rtsp = rtsp and not reading and isinstance(error, InvalidDataError)
    # FFmpeg's RTSP calls it invalid data when it is interrupted in the middle of a reply.
    if isinstance(error, ExitError) or (broken_rtsp and late):
        seconds = timeout if reading else open_timeout(timeout)
        return SourceLost(f"{silence} for {seconds:g} s")
    if uri.scheme == "v4l2":
        return _explain_camera(error, uri, reading)
    if isinstance(error, (HTTPUnauthorizedError, HTTPForbiddenError)):
        return InputError(
            f"'{uri.shown}' refuses access.",
            f"Write {uri.scheme}://USER:PASSWORD@…, or check the two.",
        )
    if isinstance(error, HTTPNotFoundError):
        return InputError(f"There is nothing at '{uri.shown}'.", "Check the path.")
    if isinstance(error, (HTTPClientError, OptionNotFoundError, ProtocolNotFoundError)):
        return InputError(f"'{uri.shown}' cannot be opened ({error.strerror}).")
    if isinstance(error, EndOfStream):
        return SourceLost("the connection was closed")
    if broken_rtsp:
        # A camera that starts up accepts connections before it speaks; it is waited for.
        return SourceLost("it hung up, or answered something else than RTSP")
    if isinstance(error, InvalidDataError) and not reading:
        return InputError(f"'{uri.shown}' is not a video that can be read.", "Check the address.")
    number = getattr(error, "errno", None)
    if number == errno.EIO and not reading:
        return SourceLost("it cannot be reached; is the host's name right?")
    if reading and number in (errno.EIO, errno.EPIPE, errno.ECONNRESET):
        return SourceLost("the connection broke")
    return SourceLost(_said(error))


def _explain_camera(error: Exception, uri: Uri, reading: bool) -> InputError | SourceLost:
    device = address_of(uri)
    number = getattr(error, "errno", None)
    if reading:
        unplugged = number in (errno.ENODEV, errno.EIO, errno.ENXIO)
        return SourceLost("it was unplugged" if unplugged else _said(error))
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return InputError(f"There is no camera '{device}'.", "See: ls /dev/video*")
    if number in (errno.EACCES, errno.EPERM):
        return InputError(
            f"The camera '{device}' may not be read.", "Join its group: usermod -aG video $USER"
        )
    if number == errno.EBUSY:
        return InputError(
            f"The camera '{device}' is in use.", "End the program that uses it (fuser tells)."
        )
    return InputError(
        f"The camera '{device}' cannot be opened that way ({_said(error)}).",
        "See what it can do: v4l2-ctl --list-formats-ext",
    )


def _said(error: Exception) -> str:
    said = getattr(error, "strerror", None) or "unknown error"
    return str(said[:1].lower() + said[1:])
