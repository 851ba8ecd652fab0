"""The streaming runtime: live sources through one engine to many sinks, never late."""
