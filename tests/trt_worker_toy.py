"""The worker's process with a made-up GPU: ``python trt_worker_toy.py FAULTS SOCKET PLAN FRAMES``.

FAULTS is a folder. A file ``die``, ``lose``, ``hang`` or ``refuse`` in it holds a number: so many
frames run before it happens; each happens once, and is counted in ``happened``. ``no_gpu`` lets the
start fail, ``no_pinning`` lets no shared memory be pinned.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from trt_rig import Rig, network, rig

from acf_edge.engine.trt.worker import main


def take(faults: Path, name: str) -> bool:
    """Whether a fault is due now; it is used up then."""
    file = faults / name
    if not file.exists():
        return False
    left = int(file.read_text())
    if left > 0:
        file.write_text(str(left - 1))
        return False
    file.unlink()
    with (faults / "happened").open("a") as happened:
        happened.write(f"{name}\n")
    return True


def meddle(found: Rig, faults: Path) -> None:
    """Let faults happen while the engine runs."""

    def run(picture: np.ndarray) -> np.ndarray:
        if take(faults, "die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if take(faults, "hang"):
            time.sleep(60)
        if take(faults, "lose"):
            found.machine.lose_context("CUDA_ERROR_ILLEGAL_ADDRESS")
        return network(picture)

    found.world.network = run
    queue = found.world.enqueue

    def enqueue(stream: int, work: object) -> None:
        queue(stream, work)
        if take(faults, "refuse"):
            raise ValueError("a mistake of ours")

    found.world.enqueue = enqueue


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    devices = 0 if (folder / "no_gpu").exists() else 1
    with rig("random", seed=7, devices=devices) as made:
        meddle(made, folder)
        if (folder / "no_pinning").exists():
            for slot in range(2):
                # The second part of a slot, too: the first one has to be let go then.
                made.machine.fail("cuMemHostRegister", "CUDA_ERROR_NOT_SUPPORTED", after=slot)
        sys.exit(main(sys.argv[2:]))
