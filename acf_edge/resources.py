"""Where the data that travels with the package lies.

``kernels/`` and ``calibration/`` stand at the top of the repository; a wheel
carries them inside the package (``acf_edge/_data``). Both places are looked at,
the wheel's first.
"""

from __future__ import annotations

from pathlib import Path

from acf_edge.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """Return the folder ``name`` (``"calibration"`` or ``"kernels"``).

    Raises:
        InputError: the installation lacks it.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(f"This installation lacks its folder '{name}'.", "Reinstall acf-edge.")


def weights_folder() -> Path:
    """The shipped checkpoints (``*.safetensors``)."""
    return _PACKAGE / "weights"


def bundles_folder() -> Path:
    """The shipped engine bundles."""
    return _PACKAGE / "bundles"


def default_bundle() -> Path:
    """The engine bundle that is used where none is named: ACF-T x4, INT8, for any CPU."""
    return bundles_folder() / "acf-t-x4-int8-cpu"
