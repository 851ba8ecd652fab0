"""Find GStreamer's Python bindings, wherever the distribution put them.

Debian, Ubuntu and JetPack install ``gi`` for the system's Python, outside of any
virtual environment. It is taken from there if it was built for this very Python
version; nothing else of the system's packages is let in.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import re
import sys
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from acf_edge.errors import InputError

_LOCK = threading.RLock()
_APT = "sudo apt install"
# namespace -> (version, the Debian package that describes it to Python)
_NAMESPACES = {
    "GLib": ("2.0", "gir1.2-glib-2.0"),
    "Gst": ("1.0", "gir1.2-gstreamer-1.0"),
    "GstApp": ("1.0", "gir1.2-gst-plugins-base-1.0"),
    "GstVideo": ("1.0", "gir1.2-gst-plugins-base-1.0"),
    "GstRtsp": ("1.0", "gir1.2-gst-plugins-base-1.0"),
    "GstRtspServer": ("1.0", "gir1.2-gst-rtsp-server-1.0"),
}


@dataclass(frozen=True)
class Gstreamer:
    """GStreamer's namespaces, initialised. They are untyped: ``gi`` makes them at run time."""

    GLib: Any
    Gst: Any
    App: Any
    Video: Any

    @property
    def version(self) -> str:
        """For example ``"1.22.0"``."""
        return ".".join(str(part) for part in self.Gst.version()[:3])


def system_folders() -> list[Path]:
    """Where distributions put packages for this Python's version."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path("/usr/lib")
    return [
        library / "python3" / "dist-packages",
        library / version / "dist-packages",
        library / version / "site-packages",
        Path("/usr/lib64") / version / "site-packages",
    ]


def find_gi(folders: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """Look for a ``gi`` that this Python can load.

    Args:
        folders: to look into, in order.

    Returns:
        The folder that holds it, or None; and the Python versions (``"3.12"``) for
        which one was found instead.
    """
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    others = set()
    for folder in folders:
        package = folder / "gi"
        if (package / "__init__.py").is_file() and (package / f"_gi{suffix}").is_file():
            return folder, []
        for path in package.glob("_gi.cpython-*.so"):
            found = re.match(r"_gi\.cpython-(\d)(\d+)-", path.name)
            if found:
                others.add(f"{found[1]}.{found[2]}")
    return None, sorted(others)


def _import_gi() -> Any:
    try:
        return importlib.import_module("gi")
    except ImportError as error:
        inside = error
    folder, others = find_gi(system_folders())
    if folder is None:
        raise _no_gi(others)
    # Loaded by hand from that one folder; its parts are then found through it, and
    # nothing beside it becomes importable.
    spec = importlib.machinery.PathFinder.find_spec("gi", [str(folder)])
    if spec is None or spec.loader is None:
        raise _no_gi([]) from inside
    module = importlib.util.module_from_spec(spec)
    sys.modules["gi"] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == "gi"]:
            del sys.modules[name]
        raise InputError(
            f"GStreamer's Python bindings in '{folder}' cannot be loaded: {error}.",
            f"Run: {_APT} --reinstall python3-gi",
        ) from error
    return module


def _no_gi(others: Sequence[str]) -> InputError:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if others:
        return InputError(
            f"GStreamer's Python bindings are here for Python {' and '.join(others)}; "
            f"this is Python {here}.",
            f"Make the environment with python{others[0]}, or build them for this one: "
            f"{_APT} libgirepository1.0-dev libcairo2-dev && pip install 'PyGObject<3.51'",
        )
    return InputError(
        "GStreamer needs its Python bindings ('gi'), which are not installed.",
        f"Run: {_APT} python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 "
        "gstreamer1.0-plugins-base gstreamer1.0-plugins-good",
    )


def namespace(name: str) -> Any:
    """Import one GObject namespace, e.g. ``GstRtspServer``.

    Raises:
        InputError: it, or ``gi``, is not installed; the remedy names the package.
    """
    version, package = _NAMESPACES[name]
    with _LOCK:
        gi = _import_gi()
        try:
            gi.require_version(name, version)
            return importlib.import_module(f"gi.repository.{name}")
        except (ValueError, ImportError) as error:
            raise InputError(
                f"GStreamer's part '{name}' is not installed.", f"Run: {_APT} {package}"
            ) from error


@lru_cache(maxsize=1)
def load() -> Gstreamer:
    """Load and initialise GStreamer, once.

    Raises:
        InputError: something is missing; the remedy names the package.
    """
    with _LOCK:
        found = Gstreamer(
            namespace("GLib"), namespace("Gst"), namespace("GstApp"), namespace("GstVideo")
        )
        ok, _ = found.Gst.init_check(None)
        if not ok:
            raise InputError("GStreamer does not start.", "Try: gst-inspect-1.0 --version")
        return found


def load_rtsp_server() -> Any:
    """Load the ``GstRtspServer`` namespace.

    Raises:
        InputError: it is missing; the remedy names the package.
    """
    load()
    return namespace("GstRtspServer")
