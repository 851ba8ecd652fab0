"""Checkpoint -> engine bundle; the same as ``acf-edge build``.

python build.py acf_edge/weights/acf-t-x4.safetensors -o my.bundle --calibrate photos/
"""

from __future__ import annotations

import sys

from acf_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["build", *sys.argv[1:]]))
