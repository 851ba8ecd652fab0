"""Walk a plugin written in Python through its life, on real bindings: see trt_bindings.py.

``python plugin_in_process.py REGISTRY WALKER plugin_host's arguments ...``: REGISTRY is
plugin_registry.cpp (loaded as libnvinfer by the bindings), WALKER is plugin_host.cpp as a library.
ACF_STAND_IN_HOST names the kernels, built to run on the host.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.plugin import register


class OnTheHost:
    """Kernels that run at once, in this process."""

    def __init__(self, library: str) -> None:
        self.library = ctypes.CDLL(library)

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        shared: int,
        stream: int,
    ) -> None:
        values = [np.array(one, np.uint64 if type(one) is int else one.dtype) for one in arguments]
        text = ctypes.create_string_buffer(600)
        failed = self.library.acf_host_launch(
            name.encode(),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values]),
            (ctypes.c_int * len(values))(*[value.itemsize for value in values]),
            len(values),
            shared,
            0,
            text,
            len(text),
        )
        if failed:
            raise AssertionError(text.value.decode())


def main() -> int:
    registry, walker, *arguments = sys.argv[1:]
    ctypes.CDLL(registry, mode=ctypes.RTLD_GLOBAL)
    api = load_api("tensorrt")
    print("bindings", *api.version, flush=True)
    kernels = OnTheHost(os.environ["ACF_STAND_IN_HOST"])
    print("bodies", *register(api, kernels=lambda: kernels).values(), flush=True)
    words = [b"plugin_host", registry.encode(), *(word.encode() for word in arguments)]
    # Its main(int, char**) under another name, as C++ spells it.
    code: int = ctypes.CDLL(walker)._Z16plugin_host_mainiPPc(
        len(words), (ctypes.c_char_p * len(words))(*words)
    )
    print("error", api.last_error(), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
