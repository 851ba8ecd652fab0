"""One question about CUDA or TensorRT, answered in a process of its own.

A broken driver or library may print, hang or end the process that loads it; and TensorRT and
TensorRT-RTX do not get on in one process. So this module's :func:`main` is asked
``WHAT``, and the doctor reads the last line that it prints: JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from acf_edge.errors import AcfError, InputError

Facts = dict[str, Any]


def probe_cuda() -> Facts:
    """The GPUs: name, SM, memory in bytes (free, too), and the CUDA that the driver serves."""
    from acf_edge.cuda.driver import device_count, open_device

    devices = []
    for ordinal in range(device_count()):
        device = open_device(ordinal)
        devices.append(
            {
                "ordinal": ordinal,
                "name": device.name,
                "sm": device.sm,
                "integrated": device.integrated,
                "memory": device.memory,
                "free": device.free_memory(),
                "driver": device.driver,
            }
        )
    return {"devices": devices}


def probe_nvrtc() -> Facts:
    """NVRTC: version, the SMs that it makes code for, where CUDA's headers are (None: nowhere)."""
    from acf_edge.cuda import nvrtc

    number = nvrtc.version()
    try:
        headers = str(nvrtc.header_folder(number))
    except InputError:  # the kernels do without
        headers = None
    return {
        "version": f"{number[0]}.{number[1]}",
        "sms": list(nvrtc.supported()),
        "headers": headers,
    }


def _probe_tensorrt(kind: str) -> Facts:
    from acf_edge.engine.trt.api import load_api

    api = load_api(kind)
    facts: Facts = {"version": api.module.__version__, "text": api.text, "plugins": None}
    if api.features.plugins:
        from acf_edge.engine.trt.plugin import register

        try:
            facts["plugins"] = register(api)
        except Exception as error:  # TensorRT itself is there all the same
            facts["plugins"] = {}
            facts["plugin_problem"] = _one_line(error)
    return facts


PROBES: Final[Mapping[str, Callable[[], Facts]]] = {
    "cuda": probe_cuda,
    "nvrtc": probe_nvrtc,
    "tensorrt": lambda: _probe_tensorrt("tensorrt"),
    "tensorrt_rtx": lambda: _probe_tensorrt("tensorrt_rtx"),
}


def answer(what: str) -> Facts:
    """The facts, or ``problem`` and ``remedy``; whatever goes wrong, it does not raise."""
    try:
        return PROBES[what]()
    except AcfError as error:
        return {"problem": error.problem, "remedy": error.remedy}
    except Exception as error:  # broken bindings raise anything
        return {"problem": f"{type(error).__name__}: {_one_line(error)}", "remedy": ""}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def main() -> int:
    """Answer the question that is the first argument; returns the exit code."""
    print(f"\n{json.dumps(answer(sys.argv[1]))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
