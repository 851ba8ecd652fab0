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


def shipped_weights() -> list[str]:
    """Names of the shipped checkpoints, e.g. ``"acf-t-x4"``."""
    return sorted(path.stem for path in weights_folder().glob("*.safetensors"))


def named_weights(path: Path | str) -> Path:
    """A shipped checkpoint by its name (``"acf-s-x2"``); whatever else is given stays as it is.

    A file or folder of that name in the working folder goes first.
    """
    return _named(Path(path), weights_folder(), "{}.safetensors")


def named_bundle(path: Path | str) -> Path:
    """A shipped bundle by its network's name (``"acf-t-x2"``), as :func:`named_weights`."""
    return _named(Path(path), bundles_folder(), "{}-int8-cpu")


def _named(path: Path, folder: Path, pattern: str) -> Path:
    shipped = folder / pattern.format(path.name)
    bare = len(path.parts) == 1 and path.name not in ("", "..")
    return shipped if bare and not path.exists() and shipped.exists() else path
