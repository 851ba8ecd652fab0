"""GStreamer as a way in and out: low-latency RTSP, Jetson cameras, pipelines of the user's own."""
