"""A bundle that runs on this machine: the one that is given, or one compiled anew from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from acf_edge.cuda import kernel_hash, open_device
from acf_edge.engine.bundle import (
    PASSPORT_FILE,
    PLAN_FILE,
    REPORT_FILE,
    Bundle,
    open_bundle,
)
from acf_edge.engine.passport import cache_key
from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.plugin_fields import plugin_hash
from acf_edge.engine.trt.portability import Difference, Machine, describe_here, differences, refusal
from acf_edge.engine.trt.recompile import Changes, recompile
from acf_edge.engine.trt.targets import CLASSIC, RTX
from acf_edge.errors import InputError
from acf_edge.files import cache_folder

REBUILD: Final = ("never", "auto")
_BUNDLES: Final = "bundles"


def this_machine(backend: str) -> Machine:
    """What an engine's passport is compared with.

    Raises:
        InputError: no GPU, or no such library here; says the way out.
    """
    api = load_api(backend)
    return describe_here(
        backend,
        api.module.__version__,
        open_device(),
        plugin_hash=plugin_hash(),
        kernel_hash=kernel_hash(),
    )


def fitting_bundle(
    bundle: Path | str,
    rebuild: str = "auto",
    on_rebuild: Callable[[str], None] | None = None,
) -> Path:
    """The bundle itself where it runs here, else one compiled anew from its models.

    What is compiled anew is kept in the cache folder and found again, until the bundle, the GPU
    or TensorRT changes.

    Args:
        bundle: a folder; of any backend.
        rebuild: ``"auto"``, or ``"never"``: the bundle is returned as it is.
        on_rebuild: told why, before the compilation, which takes minutes.

    Raises:
        InputError: it cannot run here, and compiling it anew would not help or failed.
    """
    path = Path(bundle)
    if rebuild not in REBUILD:
        raise InputError(f"Unknown choice '{rebuild}'.", f"There are: {', '.join(REBUILD)}.")
    if rebuild == "never":
        return path
    opened = open_bundle(path, verify=False, without=(PLAN_FILE, REPORT_FILE))
    if opened.passport.backend not in (CLASSIC, RTX):
        return path
    machine = this_machine(opened.passport.backend)
    fatal = [one for one in differences(opened.passport, machine) if one.fatal]
    if not fatal and (harm := _harm(opened)):
        fatal = [Difference("engine file", "what the passport says", harm)]
    if not fatal:
        return path
    if any(one.remedy for one in fatal):
        raise refusal(opened.passport, fatal, str(path))
    kept = cache_folder() / _BUNDLES / _key(opened, machine)
    if (kept / PASSPORT_FILE).is_file():
        try:
            if not any(one.fatal for one in differences(open_bundle(kept).passport, machine)):
                return kept
        except InputError:
            pass  # damaged: made anew below
    if on_rebuild is not None:
        on_rebuild("; ".join(str(one) for one in fatal))
    made = recompile(opened, kept, Changes(target="auto"))
    left = [one for one in differences(made.passport, machine) if one.fatal]
    if left:
        raise refusal(made.passport, left, str(path))
    return kept


def _harm(bundle: Bundle) -> str:
    """What is wrong with the engine's file; empty = nothing."""
    try:
        bundle.read(PLAN_FILE)
    except InputError:
        return "damaged" if (bundle.path / PLAN_FILE).is_file() else "missing"
    return ""


def _key(bundle: Bundle, machine: Machine) -> str:
    return cache_key(
        passport=bundle.passport.to_json()["digest"],
        version=machine.version,
        device=machine.device,
        sm=machine.sm,
        plugin=machine.plugin_hash,
        kernels=machine.kernel_hash,
    )[:32]
