"""Run an engine over pairs and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import InputError
from acf_edge.evaluate.pairs import Pair, Pairs
from acf_edge.evaluate.result import Evaluation, ImageResult
from acf_edge.imaging.files import write_image
from acf_edge.imaging.metrics import quality
from acf_edge.imaging.resize import upscale_bicubic


def evaluate_pairs(
    engine: Engine,
    pairs: Iterable[Pair],
    border: int | None = None,
    *,
    save: Path | str | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
) -> Evaluation:
    """PSNR and SSIM of an engine, bicubic up-sampling beside it.

    One pair is held at a time.

    Example:
        >>> pairs = pairs_from_recipe("photos", "acf-std", 4)    # doctest: +SKIP
        >>> evaluate_pairs(load_engine(), pairs).gain_psnr_y     # doctest: +SKIP

    Args:
        engine: whose scale is that of the pairs.
        pairs: at least one.
        border: pixels shaved off each side; ``None`` = the engine's scale.
        save: folder for the enhanced pictures, as PNG under the names of the truth.
        on_image: called after each picture.

    Raises:
        InputError: no pairs, a picture that cannot be read or is too small, a scale
            that does not fit, a folder that cannot be written or holds the truth.
    """
    shaved = engine.scale if border is None else border
    recipe = pairs.recipe if isinstance(pairs, Pairs) else None
    if save is not None and isinstance(pairs, Pairs):
        _refuse_sources(Path(save), pairs)
    results: list[ImageResult] = []
    written: set[str] = set()
    for pair in pairs:
        result, enhanced = _compare(engine, pair, shaved)
        if save is not None:
            stem = Path(pair.name).stem
            # a.png and a.jpg may lie in one folder.
            name = f"{pair.name}.png" if stem in written else f"{stem}.png"
            written.add(stem)
            write_image(Path(save) / name, enhanced)
        results.append(result)
        if on_image is not None:
            on_image(result)
    if not results:
        raise InputError("There are no pairs of pictures to compare.", "Give at least one.")
    return Evaluation(engine.name, recipe, engine.scale, shaved, tuple(results))


def _refuse_sources(folder: Path, pairs: Pairs) -> None:
    if folder.resolve() in {source.resolve() for source in pairs.folders}:
        raise InputError(
            f"'{folder}' holds the pictures to compare with; saving would overwrite them.",
            "Choose another folder.",
        )


def _compare(engine: Engine, pair: Pair, border: int) -> tuple[ImageResult, Uint8Image]:
    height, width = pair.high.shape[:2]
    if (height, width) != (pair.low.shape[0] * engine.scale, pair.low.shape[1] * engine.scale):
        raise InputError(
            f"{pair.name}: {width}x{height} is not {engine.scale} times "
            f"{pair.low.shape[1]}x{pair.low.shape[0]}, as '{engine.name}' would make it.",
            f"Give pairs for x{engine.scale}.",
        )
    enhanced = engine.run(pair.low)
    try:
        ours = quality(enhanced, pair.high, border)
        theirs = quality(upscale_bicubic(pair.low, engine.scale), pair.high, border)
    except InputError as error:
        raise InputError(f"{pair.name}: {error.problem}", error.remedy) from error
    return ImageResult(pair.name, width, height, ours, theirs), enhanced
