"""A network camera on localhost; a program of its own, so that it can be killed or hung.

    python3 rtsp_camera.py PORT WIDTH HEIGHT FPS

Needs an interpreter with GStreamer's bindings (Debian: gstreamer1.0-plugins-ugly,
gir1.2-gst-rtsp-server-1.0, python3-gi). Serves ``rtsp://127.0.0.1:PORT/live``, H.264 and
Opus, and prints "ready" once it does.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def launch_line(width: str, height: str, rate: str) -> str:
    """The pipeline that is served: a moving ball, a ticking clock."""
    return (
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},"
        f"framerate={rate}/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 "
        "bitrate=800 ! rtph264pay name=pay0 pt=96 config-interval=1 "
        "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=1 "
        "! opusenc ! rtpopuspay name=pay1 pt=97 )"
    )


def main() -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch_line(*sys.argv[2:5]))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
