"""Cubins as C++ source, for a plugin that is built without nvcc.

``python -m acf_edge.cuda embed FILE [--sm 75,80,...]`` writes a C++ source that
defines, in ``namespace acf::cubins``::

    struct Image { int sm; unsigned char const* data; unsigned long long size; };
    extern Image const kImages[];          // ascending in sm
    extern int const kImageCount;
    extern char const kKernelHash[];       // the 64 hex digits of kernel_hash()
    extern char const kCompiler[];         // "NVRTC 13.5"

Each image holds every kernel of ``kernels/*.cu`` (``extern "C"`` names). A GPU
takes the image of its own SM; a desktop GPU without one takes the largest sm of
the same major version below its own, but never 87 or 110: NVIDIA promises
compatibility within a major version for desktop GPUs alone, not from or to Tegra.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from acf_edge.cuda.cubin import Cubin
from acf_edge.cuda.nvrtc import SMS, compile_all
from acf_edge.cuda.sources import kernel_hash
from acf_edge.errors import InputError
from acf_edge.files import write_text

_BYTES_PER_LINE = 32


def write_embedded(path: Path | str, sms: Sequence[str] = SMS) -> None:
    """Compile for every SM and write the C++ source to ``path``, whole or not at all.

    The same sources, SMs and compiler give the same bytes.

    Raises:
        InputError: no SM is named; as :func:`acf_edge.cuda.nvrtc.compile_cubin`.
    """
    if not sms:
        raise InputError("No SM is named.", "Give --sm 87, for example.")
    images = compile_all(sorted(set(sms), key=int))
    write_text(path, "".join(_source(images, kernel_hash())))


def _source(images: Sequence[Cubin], sources: str) -> Iterator[str]:
    yield "// Written by: python -m acf_edge.cuda embed. Not edited by hand.\n"
    yield "namespace acf {\nnamespace cubins {\n"
    yield "struct Image { int sm; unsigned char const* data; unsigned long long size; };\n"
    # Constants have internal linkage in C++ unless they were declared extern before.
    yield "extern Image const kImages[];\nextern int const kImageCount;\n"
    yield "extern char const kKernelHash[];\nextern char const kCompiler[];\n"
    for cubin in images:
        yield f"alignas(16) static unsigned char const kSm{cubin.sm}[] = {{\n"
        for start in range(0, len(cubin.image), _BYTES_PER_LINE):
            row = cubin.image[start : start + _BYTES_PER_LINE]
            yield ",".join(map(str, row)) + ",\n"
        yield "};\n"
    yield "Image const kImages[] = {\n"
    for cubin in images:
        yield f"    {{{cubin.sm}, kSm{cubin.sm}, sizeof(kSm{cubin.sm})}},\n"
    yield f"}};\nint const kImageCount = {len(images)};\n"
    yield f'char const kKernelHash[] = "{sources}";\n'
    yield f'char const kCompiler[] = "{images[0].compiler}";\n'
    yield "}  // namespace cubins\n}  // namespace acf\n"
