"""Python processes of our own."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
# ``python -m`` would look into the current folder first: a queue.py that lies there, or a folder
# named tensorrt, would be imported in place of what is meant. (-P is not in Python 3.10.)
_START = (
    "import sys; sys.path[:1] = [path for path in sys.path[:1] if path]; sys.path += [{root!r}]; "
    "from {module} import main; sys.exit(main())"
)


def python_command(module: str) -> list[str]:
    """The command that runs a module's ``main()`` in this Python; arguments go behind it.

    What lies in the current folder is not imported, unless PYTHONPATH says so; this package is
    found wherever it came from.
    """
    return [sys.executable, "-c", _START.format(root=_ROOT, module=module)]
