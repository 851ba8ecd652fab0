"""CUDA sources -> cubin, by NVRTC: no nvcc, no GPU."""

from __future__ import annotations

from acf_edge.cuda.cubin import Cubin

# The SMs that the project serves, as in the table of ``python -m acf_edge.cuda``.
SMS = ("75", "80", "86", "87", "89", "90", "100", "110", "120")


def compile_source(source: bytes, name: str, sm: str, includes: tuple[str, ...] = ()) -> Cubin:
    """Compile one source.

    Args:
        source: CUDA C++; include lines are looked up in ``includes`` and in
            the folder of CUDA's own headers.
        name: what the compiler's messages call it.
        sm: compute capability without its dot, ``"87"``.
        includes: folders.

    Raises:
        MissingExtraError: no NVRTC.
        InputError: this NVRTC cannot make code for ``sm``; CUDA's headers are missing.
        CompileError: the source is wrong; the compiler's log is in the message.
    """
    raise NotImplementedError


def compile_cubin(sm: str) -> Cubin:
    """Compile all of ``kernels/*.cu`` as one module for ``sm`` (as :func:`compile_source`)."""
    raise NotImplementedError
