"""From a bundle to a running engine, whatever its backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from acf_edge.engine.bundle import Bundle, open_bundle
from acf_edge.engine.protocol import Engine
from acf_edge.errors import InputError
from acf_edge.resources import default_bundle

Loader = Callable[[Bundle, "int | None", bool, bool], Engine]
"""``(bundle, threads, profile, spin) -> Engine``."""


def _onnxruntime(bundle: Bundle, threads: int | None, profile: bool, spin: bool) -> Engine:
    from acf_edge.engine.ort import load_ort

    return load_ort(bundle, threads, profile, spin)


def _tensorrt(bundle: Bundle, threads: int | None, profile: bool, spin: bool) -> Engine:
    from acf_edge.engine.trt.runtime import load_trt

    return load_trt(bundle, threads, profile, spin)


BACKENDS: Final[Mapping[str, Loader]] = {
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _tensorrt,
}
"""The passport's ``backend`` -> what loads it."""


def load_engine(
    bundle: Bundle | Path | str | None = None,
    *,
    threads: int | None = None,
    profile: bool = False,
    spin: bool = True,
) -> Engine:
    """Check a bundle and load its engine.

    Example:
        >>> engine = load_engine()                      # doctest: +SKIP
        >>> large = engine.run(small)                   # doctest: +SKIP

    Args:
        bundle: the folder, or one already opened; None = the bundle that is shipped.
        threads: CPU threads for one operator; None = all physical cores.
        profile: record every kernel (``OrtEngine.end_profiling``).
        spin: let idle threads wait busily; see :class:`acf_edge.engine.ort.OrtEngine`.

    Raises:
        InputError: not a bundle, a damaged one, or one that cannot run here.
    """
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(default_bundle() if bundle is None else bundle)
    backend = bundle.passport.backend
    if backend not in BACKENDS:
        raise InputError(
            f"'{bundle.path}' is built for the backend '{backend}', which this acf-edge does not "
            f"have (it has: {', '.join(BACKENDS)}).",
            "Update acf-edge, or build the bundle for the target 'cpu'.",
        )
    return BACKENDS[backend](bundle, threads, profile, spin)
