"""The true bindings take our calls as we mean them, and the stand-in speaks as they do."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fake_cuda
import fake_cuda_words as words
import pytest

from acf_edge.cuda.driver import STICKY

HERE = Path(__file__).resolve().parent

# Runs in a process of its own, with the library of fake_libcuda.c in libcuda's place.
SCRIPT = """
import numpy as np
from acf_edge.cuda import *
from acf_edge.cuda.driver import DeviceMemoryError

device = open_device()
assert (device.name, device.sm, device.integrated, device.driver) == ("No GPU", "87", True, "12.6")
assert (device.memory, device.free_memory()) == (1 << 30, 7)
device.make_current()
device.synchronize()
stream, event, timed = Stream(), Event(), Event(timing=True, spin=True)
assert stream.handle == 0x5000
first, second = DeviceBuffer(100), DeviceBuffer(100)
host, back = HostBuffer(100), HostBuffer(100, mapped=True)
assert back.device_pointer == back.pointer
host.array[:] = np.arange(100)
copy_in(first.pointer, host, 100, stream)
add = Resources(1, 0, 0, 0, 0, (8, 8, 4, 4))
kernels = Kernels(device, Cubin("87", b"image" + bytes(100), {"add": add}, "nobody"))
arguments = (first.pointer, second.pointer, np.int32(100), np.int32(5))
kernels.launch("add", (2, 3, 4), (5, 6, 7), arguments, 65536, stream)
event.record(stream)
stream.wait(event)
assert not event.query()
event.synchronize()
assert timed.elapsed_ms(event) == 1.5
copy_out(back, second.pointer, 100, stream)
assert (back.array == np.arange(100) + 5).all()
copy_device(first.pointer, second.pointer, 100, stream)
fill(second.pointer, 200, 50, stream)
copy_out(back, second.pointer, 100, stream)
assert (back.array[:50] == 200).all() and back.array[50] == 55
assert stream.idle() and not Stream(-2).idle()
with Graph.capture(stream) as graph:
    pass
assert graph.nodes == 3
graph.launch(stream)
graph.close()
try:
    Stream(-1).synchronize()
except CudaError as error:
    assert error.name == "CUDA_ERROR_ILLEGAL_ADDRESS" and error.sticky, error
try:
    DeviceBuffer(1 << 40)
except DeviceMemoryError as error:
    assert not error.sticky
for thing in (first, second, host, back, kernels, event, timed, stream):
    thing.close()
print("well")
"""


def bindings() -> object:
    return pytest.importorskip("cuda.bindings.driver")


def test_the_true_bindings_take_every_call(tmp_path: Path) -> None:
    bindings()
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library)]
    subprocess.run([compiler, *flags, str(HERE / "fake_libcuda.c"), "-ldl"], check=True)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    }
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert run.stdout == "well\n", run.stderr


def test_the_stand_in_has_the_true_names_and_numbers() -> None:
    true = bindings()
    for kind in ("CUresult", "CUstreamCaptureMode", "CUfunction_attribute", "CUdevice_attribute"):
        for member in getattr(words, kind):
            assert int(getattr(getattr(true, kind), member.name)) == member.value
    assert all(hasattr(true.CUresult, name) for name in STICKY)  # type: ignore[attr-defined]


def test_the_stand_in_takes_as_many_arguments_as_the_true_bindings() -> None:
    true = bindings()
    calls = [name for name in dir(fake_cuda.Machine) if name.startswith("cu") and name[2].isupper()]
    assert len(calls) > 30
    for name in calls:
        ours = inspect.signature(getattr(fake_cuda.Machine, name)).parameters
        text = (getattr(true, name).__doc__ or "").split("(", 1)[1].split(")", 1)[0]
        theirs = [part for part in text.split(",") if part.strip()]
        if name != "cuLaunchKernel":  # written with a star
            assert len(ours) - 1 == len(theirs), name
