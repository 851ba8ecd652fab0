"""Cubins as C++ source, for a plugin that is built without nvcc.

``python -m acf_edge.cuda embed FILE [--sm 75,80,...]`` writes a C++ source that
defines, in ``namespace acf::cubins``::

    struct Image { int sm; unsigned char const* data; unsigned long long size; };
    extern Image const kImages[];          // ascending in sm
    extern int const kImageCount;
    extern char const kKernelHash[];       // the 64 hex digits of kernel_hash()
    extern char const kCompiler[];         // "NVRTC 13.5"

Each image holds every kernel of ``kernels/*.cu`` (``extern "C"`` names). Code for
SM x.y runs on x.z with z >= y; pick the largest sm of the same major that is <= the device's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acf_edge.cuda.nvrtc import SMS


def write_embedded(path: Path | str, sms: Sequence[str] = SMS) -> None:
    """Compile for every SM and write the C++ source to ``path``, whole or not at all.

    Raises:
        InputError: as :func:`acf_edge.cuda.nvrtc.compile_cubin`.
    """
    raise NotImplementedError
