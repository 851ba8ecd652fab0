"""ACF Edge: from a trained super-resolution network to a camera in real time."""

from __future__ import annotations

__version__ = "0.1.0"
