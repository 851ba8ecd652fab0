"""What an enhancement did, in plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, "int | None"], None]
"""Called with (frames done, frames expected or None)."""

Say = Callable[[str], None]
"""Called with one sentence that the user should read while the work goes on."""


@dataclass(slots=True)
class EnhanceSummary:
    """What :func:`acf_edge.stream.enhance_file` did.

    Attributes:
        input: path read.
        output: path written; nothing was written there if ``frames`` is 0.
        kind: ``"video"`` or ``"image"``.
        engine: its name.
        frames: frames in the output.
        frames_expected: frames the input announced; None where it does not say.
        seconds: wall time of this run.
        fps: frames that this run enhanced, per second.
        width_in, height_in: pixels, as displayed (rotation applied).
        width_out, height_out: pixels.
        interrupted: stopped before the end on request. A short video's ``output``
            then holds what was done; of a long one it is kept in ``work_folder``.
        corrupt_frames: frames that the decoder marked as damaged.
        audio_streams: audio streams copied.
        stage_seconds: busy seconds of decoding, inference and encoding.
        notes: everything that is not as in the input, in words.
        segments: whole segments of a long video; 0 if it was done in one go.
        resumed_frames: frames that earlier runs had enhanced.
        kept_frames: frames in whole segments that wait in ``work_folder``.
        work_folder: where the segments of an interrupted run lie; else empty.
        workers: machines that took part; 0 without a cluster.
        segments_rerun: segments that were given out again because a worker was lost.
        events: what was resumed, started anew or lost on the way, in words.
    """

    input: str
    output: str
    kind: str
    engine: str
    frames: int
    frames_expected: int | None
    seconds: float
    fps: float
    width_in: int
    height_in: int
    width_out: int
    height_out: int
    interrupted: bool = False
    corrupt_frames: int = 0
    audio_streams: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    segments: int = 0
    resumed_frames: int = 0
    kept_frames: int = 0
    work_folder: str = ""
    workers: int = 0
    segments_rerun: int = 0
    events: list[str] = field(default_factory=list)
