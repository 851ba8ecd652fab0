"""Our operators made known to TensorRT: by plugins in Python, or by the C++ library.

Never to TensorRT-RTX: its parser ends the process when it meets a node that a creator is
registered for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from acf_edge.engine.trt.api import MODULES, TrtApi, registered_operators
from acf_edge.engine.trt.plugin_class import DeviceKernels, Launcher, make_creator
from acf_edge.engine.trt.plugin_fields import NAMESPACE, OPERATORS, plugin_hash
from acf_edge.errors import InputError

__all__ = ["Body", "load_library", "plugin_hash", "register", "unregister"]

Body = Literal["python", "library"]


def register(api: TrtApi, kernels: Callable[[], Launcher] | None = None) -> dict[str, Body]:
    """Make our operators known to TensorRT, once per process.

    What is registered already, e.g. by the C++ library, stays. A registration cannot be undone
    while an engine lives that uses it.

    Args:
        api: classic TensorRT.
        kernels: what launches; None = the kernels of the GPU that is current.

    Returns:
        Operator -> whose body serves it.

    Raises:
        InputError: TensorRT-RTX, whose parser would end the process; or TensorRT refuses.
    """
    if not api.features.plugins:
        raise InputError(
            f"{api.text} knows no plugins.", "Give it the bundle's model.onnx (--no-plugins)."
        )
    registry = api.module.get_plugin_registry()
    before = registered_operators(api.module)
    bodies: dict[str, Body] = {}
    source = DeviceKernels() if kernels is None else kernels
    for operator in OPERATORS:
        if operator in before:
            bodies[operator] = "python" if operator in api.creators else "library"
            continue
        creator = make_creator(api, operator, source)
        if not registry.register_creator(creator, NAMESPACE):
            raise InputError(
                f"{api.text} does not take the plugin {operator}: {api.last_error()}.",
                "Build with --no-plugins.",
            )
        api.creators[operator] = creator
        bodies[operator] = "python"
    _keep_from_rtx(api)
    return bodies


def unregister(api: TrtApi) -> None:
    """Take back what :func:`register` registered. No engine with a plugin may be alive."""
    registry = api.module.get_plugin_registry()
    for operator in list(api.creators):
        registry.deregister_creator(api.creators.pop(operator))


def load_library(api: TrtApi, path: Path) -> None:
    """Load ``libacf_plugins.so``, the same plugins in C++, in place of :func:`register`.

    Raises:
        InputError: no such file, TensorRT cannot load it, or it brings other plugins.
    """
    remedy = "Build it with CMake (kernels/plugin), or leave it out: plugins in Python do the same."
    if not api.features.plugins:
        raise InputError(f"{api.text} knows no plugins.", "Load no plugin library.")
    if not path.is_file():
        raise InputError(f"There is no plugin library '{path}'.", remedy)
    if registered_operators(api.module):
        raise InputError(
            f"The plugins of '{path}' are registered in this process already.",
            "Load the library before anything else.",
        )
    try:
        handle = api.module.get_plugin_registry().load_library(str(path.resolve()))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{api.text} cannot load '{path}': {error}.", remedy) from error
    api.libraries.append(handle)
    missing = set(OPERATORS) - set(registered_operators(api.module))
    if handle is None or missing:
        reason = api.last_error() or f"it has no plugin {' and '.join(sorted(missing))}"
        raise InputError(f"{api.text} cannot load '{path}': {reason}.", remedy)
    _keep_from_rtx(api)


def _keep_from_rtx(api: TrtApi) -> None:
    """Where TensorRT-RTX sees the same registry, take everything back and refuse."""
    for name in MODULES["tensorrt_rtx"]:
        if registered_operators(sys.modules.get(name), OPERATORS):
            unregister(api)
            raise InputError(
                f"{api.text} and TensorRT-RTX share one list of plugins in this process, and the "
                "parser of TensorRT-RTX would end the process over ours.",
                "Use the two in different processes.",
            )
