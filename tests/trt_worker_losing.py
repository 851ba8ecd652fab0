"""A true worker whose GPU is lost once: ``python trt_worker_losing.py FLAG SOCKET PLAN FRAMES``.

At its third frame, if the file FLAG is there (it is removed), a kernel of ours writes to an
address that nobody has.
"""

from __future__ import annotations

import sys
from pathlib import Path

from acf_edge.cuda.border import plan_rgb_to_nv12
from acf_edge.cuda.kernels import load_kernels
from acf_edge.engine.trt.pipeline import Job, Pipeline
from acf_edge.engine.trt.worker import main

WILD = 1 << 46


def lose(flag: Path, after: int = 2) -> None:
    """Let the pipeline do it."""
    start, left = Pipeline.start, [after]

    def losing(self: Pipeline, index: int, job: Job) -> None:
        left[0] -= 1
        if left[0] < 0 and flag.exists():
            flag.unlink()
            kernels = load_kernels(self.device)
            for launch in plan_rgb_to_nv12(1, 64, 64).launches:
                wild = launch.resolve({"rgb": WILD, "luma": WILD, "chroma": WILD})
                kernels.launch(
                    launch.kernel, launch.grid, launch.block, wild, launch.shared, self.compute
                )
        start(self, index, job)

    Pipeline.start = losing  # type: ignore[method-assign]


if __name__ == "__main__":
    lose(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
