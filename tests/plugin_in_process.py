"""Walk a plugin written in Python through its life, on real bindings: run by test_trt_plugin_walk.

``python plugin_in_process.py REGISTRY WALKER plugin_host's arguments ...``: REGISTRY is
plugin_registry.cpp (loaded as libnvinfer by the bindings), WALKER is plugin_host.cpp as a library.
Kernels are told, one line each, and the last one of an operator computes the reference on the
memory that it was given.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.plugin import register
from acf_edge.ops.reference import channel_spatial_attention, junction_vote

Array = np.ndarray[Any, np.dtype[np.float32]]


class Told:
    """Stands in for the kernels; FP32 in NCHW alone is computed."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.words = [word.split("=", 1) for word in arguments]
        self.shapes = [
            tuple(int(size) for size in value.split(":")[2].split("x"))
            for key, value in self.words
            if key in ("in", "out")
        ]
        self.seen: dict[str, int] = {}

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        shared: int,
        stream: int,
    ) -> None:
        addresses = [value for value in arguments if type(value) is int]
        print("launch", name, *grid, *block, shared, len(addresses), stream, flush=True)
        if "votes" in name:
            self.votes = addresses
        if "weigh" in name or "attend" in name:
            self._compute(name, addresses)

    def _compute(self, name: str, addresses: list[int]) -> None:
        # The order of the kernels' parameters, see kernels/README.md.
        weights = self.votes[1 : 1 + len(self.shapes) - 3]
        places = [addresses[0], addresses[1], *weights, addresses[3]]
        *inputs, output = [
            self._view(place, shape) for place, shape in zip(places, self.shapes, strict=True)
        ]
        if "weigh" in name:
            fields = [value.split(":") for key, value in self.words if key == "field"]
            branches = next(int(found[2]) for found in fields if found[0] == "branches")
            output[...] = junction_vote(*inputs, branches)
        else:
            output[...] = channel_spatial_attention(*inputs)

    def _view(self, place: int, shape: tuple[int, ...]) -> Array:
        return np.ctypeslib.as_array(
            (ctypes.c_float * int(np.prod(shape))).from_address(place)
        ).reshape(shape)


def main() -> int:
    registry, walker, *arguments = sys.argv[1:]
    ctypes.CDLL(registry, mode=ctypes.RTLD_GLOBAL)
    api = load_api("tensorrt")
    print("bindings", *api.version, flush=True)
    launcher = Told(arguments)
    print("bodies", *register(api, kernels=lambda: launcher).values(), flush=True)
    words = [b"plugin_host", registry.encode(), *(word.encode() for word in arguments)]
    # Its main(int, char**) under another name, as C++ spells it.
    code: int = ctypes.CDLL(walker)._Z16plugin_host_mainiPPc(
        len(words), (ctypes.c_char_p * len(words))(*words)
    )
    print("last error", api.last_error(), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
