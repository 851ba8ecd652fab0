"""``python -m acf_edge`` is ``acf-edge``."""

from __future__ import annotations

import sys

from acf_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
