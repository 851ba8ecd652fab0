"""Clip -> camera stream -> INT8 bundle -> enhanced video -> report, with known ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.builder.chain import build_bundle
from acf_edge.builder.options import BuildOptions
from acf_edge.builder.votes import votes_sheet
from acf_edge.degrade import load_recipe
from acf_edge.degrade.video import degrade_clip
from acf_edge.demo.clip import crop_to, frames_of, sample_clip
from acf_edge.engine import Bundle, load_engine
from acf_edge.errors import InputError
from acf_edge.files import atomic_path, explain_os_error, write_text
from acf_edge.imaging.metrics import Quality, mean_quality, quality
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.profile.latency import profile_bundle
from acf_edge.report import Figure, Sheet, Slide, render_report
from acf_edge.stream.enhance import EnhanceSummary, enhance_file
from acf_edge.stream.frame import Frame
from acf_edge.stream.sink_file import EncoderOptions, FileSink
from acf_edge.stream.source_file import FileSource

Uint8Image = npt.NDArray[np.uint8]
CLIP = "bikes.mp4"
LEARN_CLIP = "bigbuckbunny.mp4"
"""Calibration and fine-tuning look at another clip than the one that is judged."""
RECIPE = "camera"
SEED = 11
SLIDES = 4

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and measured.

    Attributes:
        frames: of the clip.
        size_in: ``(width, height)`` of the camera stream. ``size_out``: of the result.
        enhanced: mean quality of ``enhanced.mp4``, decoded again, against the ground truth.
        bicubic: mean quality of bicubic up-sampling of the camera stream's frames.
        fps: frames per second, file to file.
        engine_ms: median latency of the engine alone on one frame of the clip's size.
        folder: where everything lies.
    """

    frames: int
    size_in: tuple[int, int]
    size_out: tuple[int, int]
    enhanced: Quality
    bicubic: Quality
    fps: float
    engine_ms: float
    folder: str


def run_demo(
    out: Path,
    *,
    checkpoint: Path | None = None,
    limit: int | None = None,
    finetune_steps: int = 300,
    say: Say = print,
    tell: Callable[[str, int, int], None] | None = None,
) -> DemoResult:
    """Run the whole chain on the sample clip.

    Args:
        out: folder of the results: ``camera.mp4``, ``acf.bundle``, ``enhanced.mp4``,
            ``side_by_side.mp4``, ``report.html``, ``result.json``.
        checkpoint: None = the shipped ``acf-t-x4``.
        limit: frames at most; None = all.
        finetune_steps: after pruning.
        say: told each step in a line.
        tell: the build's progress.

    Raises:
        MissingExtraError: the package with the clip is missing.
        InputError: ``out`` cannot be written.
    """
    clip, learn = sample_clip(CLIP), sample_clip(LEARN_CLIP)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, out) from error
    say(f"1/5 a low-resolution camera stream of {CLIP}, its ground truth known")
    scale = 4
    truth = [crop_to(frame.pixels, 2 * scale) for frame in frames_of(clip, limit)]
    if len(truth) < 2:
        raise InputError("The demo needs at least 2 frames.", "Raise --frames.")
    camera = out / "camera.mp4"
    degrade_clip(truth, load_recipe(RECIPE), scale, SEED, 25, camera)
    say("2/5 the INT8 bundle: prune, fine-tune, calibrate, export, compile")
    source = checkpoint or Path("acf-t-x4")
    bundle_path = out / "acf.bundle"
    options = BuildOptions(
        checkpoint=source,
        out=bundle_path,
        prune=0.1,
        source=str(learn),
        recipes=(RECIPE, "acf-std", "clean"),
        pictures=40,
        finetune_steps=finetune_steps,
        command=_rebuild(source, bundle_path, learn, finetune_steps),
    )
    bundle = build_bundle(options, tell).bundle
    say("3/5 enhance the stream")
    enhanced_path = out / "enhanced.mp4"
    engine = load_engine(bundle_path, spin=False)
    summary = enhance_file(camera, enhanced_path, engine)
    engine.close()
    say("4/5 measure against the ground truth, write the side-by-side video")
    measured = _measure(camera, enhanced_path, truth, scale)
    _side_by_side(camera, enhanced_path, out / "side_by_side.mp4", scale)
    say("5/5 latency per layer, report")
    frame = next(frames_of(camera)).pixels
    votes = votes_sheet(load_checkpoint(source).network, frame, f"{CLIP}, recipe {RECIPE}")
    return _report(out, bundle, summary, measured, votes)


def _rebuild(source: Path, bundle: Path, learn: Path, steps: int) -> tuple[str, ...]:
    words = ["acf-edge", "build", str(source), "-o", str(bundle), "--prune", "0.1"]
    words += ["--calibrate", str(learn), "--pictures", "40", "--finetune-steps", str(steps)]
    return (*words, "--recipe", RECIPE, "--recipe", "acf-std", "--recipe", "clean")


@dataclass(frozen=True)
class _Measured:
    """Quality per frame, and the frames that the report shows."""

    ours: list[Quality]
    bicubic: list[Quality]
    slides: list[Slide]


def _pairs(camera: Path, enhanced: Path) -> Iterator[tuple[Frame, Frame]]:
    return zip(frames_of(camera), frames_of(enhanced), strict=True)


def _measure(camera: Path, enhanced: Path, truth: list[Uint8Image], scale: int) -> _Measured:
    shown = {int((i + 0.5) * len(truth) / SLIDES) for i in range(SLIDES)}
    measured = _Measured([], [], [])
    for index, (low, high) in enumerate(_pairs(camera, enhanced)):
        before = upscale_bicubic(low.pixels, scale)
        measured.ours.append(quality(high.pixels, truth[index], scale))
        measured.bicubic.append(quality(before, truth[index], scale))
        if index in shown:
            height, width = before.shape[:2]
            measured.slides.append(
                Slide(
                    label=f"frame {index}",
                    before=_jpeg(before),
                    after=_jpeg(high.pixels),
                    width=width,
                    height=height,
                    truth=_jpeg(truth[index]),
                )
            )
    return measured


def _jpeg(image: Uint8Image) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), parameters)
    return data.tobytes()


def _side_by_side(camera: Path, enhanced: Path, target: Path, scale: int) -> None:
    """Bicubic left, enhanced right, a line between, each with its name."""
    with atomic_path(target) as temporary, FileSource(enhanced) as source:
        sink: FileSink | None = None
        for low, high in _pairs(camera, enhanced):
            left = _named(upscale_bicubic(low.pixels, scale), "bicubic")
            right = _named(high.pixels, "ACF")
            left[:, -2:] = 255
            both = np.ascontiguousarray(np.concatenate([left, right], axis=1))
            if sink is None:
                size = (both.shape[1], both.shape[0])
                sink = FileSink(temporary, target, source, size, high.colour, EncoderOptions())
            sink.write(high.enhanced(both))
        assert sink is not None  # the clip has frames
        sink.finish()


def _named(image: Uint8Image, name: str) -> Uint8Image:
    picture = image.copy()
    for colour, thickness in ((0, 4), (255, 1)):
        place, font = (10, 24), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, name, place, font, 0.7, (colour,) * 3, thickness, cv2.LINE_AA)
    return picture


def _report(
    out: Path, bundle: Bundle, summary: EnhanceSummary, measured: _Measured, votes: Sheet | None
) -> DemoResult:
    profile = profile_bundle(bundle, summary.width_in, summary.height_in, runs=20)
    ours, bicubic = mean_quality(measured.ours), mean_quality(measured.bicubic)
    result = DemoResult(
        frames=summary.frames,
        size_in=(summary.width_in, summary.height_in),
        size_out=(summary.width_out, summary.height_out),
        enhanced=ours,
        bicubic=bicubic,
        fps=summary.fps,
        engine_ms=profile.unprofiled_ms,
        folder=str(out),
    )
    figures = [
        Figure(
            f"{ours.psnr_y - bicubic.psnr_y:+.2f} dB",
            "PSNR-Y above bicubic",
            f"{result.frames} frames of {CLIP}, recipe {RECIPE}, after H.264 encoding",
        ),
        Figure(f"{result.fps:.0f}", "frames per second", "file to file, on this machine"),
    ]
    page = render_report(
        title=f"ACF Edge demo: {bundle.passport.name}",
        ledger=bundle.ledger.to_json(),
        passport=bundle.passport.to_json(),
        profile=profile.to_json(),
        slides=measured.slides,
        figures=figures,
        votes=votes,
    )
    write_text(out / "report.html", page)
    write_text(out / "result.json", json.dumps(asdict(result), indent=1) + "\n")
    return result
