"""Import spandrel, and say in one line why it cannot be.

spandrel imports torchvision for two architectures that are not taken here (LaMa and
RestoreFormer). The torchvision of PyPI does not import beside a torch that was built for CPUs
alone, which is what small machines have; then a stand-in takes its place during the import.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

from acf_edge.errors import InputError, MissingExtraError

FEATURE = "A network that acf-edge did not train"
_STAND_INS = {
    "torchvision": (),
    "torchvision.transforms": (),
    "torchvision.transforms.functional": ("InterpolationMode", "rotate", "normalize"),
}


def spandrel() -> Any:
    """The module ``spandrel``.

    Raises:
        MissingExtraError: it, or something that it needs, is not installed.
        InputError: it is installed and does not import.
    """
    if sys.modules.get("spandrel") is not None:
        return sys.modules["spandrel"]
    try:
        with warnings.catch_warnings(), _torchvision():
            warnings.simplefilter("ignore")
            return importlib.import_module("spandrel")
    except ModuleNotFoundError as error:
        package = (error.name or "spandrel").partition(".")[0]
        raise MissingExtraError(FEATURE, package, "spandrel") from None
    except Exception as error:  # whatever a broken installation raises
        words = " ".join(str(error).split())[:160].rstrip(".")
        raise InputError(
            f"The package 'spandrel' is installed and does not import: {words}.",
            "Run: pip install --force-reinstall 'acf-edge[spandrel]'",
        ) from None


@contextlib.contextmanager
def _torchvision() -> Iterator[None]:
    try:
        importlib.import_module("torchvision.transforms.functional")
    except Exception:  # absent, or built for another torch: RuntimeError, OSError, ImportError
        pass
    else:
        yield
        return
    _forget()
    for name, members in _STAND_INS.items():
        module = types.ModuleType(name)
        for member in members:
            setattr(module, member, None)
        sys.modules[name] = module
    try:
        yield
    finally:
        # Whoever asks for the real one later gets its own answer.
        _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
