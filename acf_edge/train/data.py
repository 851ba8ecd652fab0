"""Patches to train on: sharp pictures in memory, degraded anew every so often.

A *chunk* is the whole training set degraded once, with seeds that follow from
(run's seed, chunk's number, picture's number). While the optimizer works on one
chunk, another process prepares the next. Which patch a step sees follows from
(run's seed, step) alone, so a run that was killed goes on with the very same
patches, however many processes there are.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.degrade import Recipe, degrade_stages, load_recipe, mod_crop
from acf_edge.errors import AcfError, InputError
from acf_edge.imaging.files import list_images, read_image
from acf_edge.train.recipe import TrainRecipe

Uint8Image = npt.NDArray[np.uint8]
BUSY_SHARE = 0.35
"""How often the busier of two places is taken. Photographs have smooth backgrounds that teach
little; but a network that never sees them sharpens what the lens left soft."""
SOFTNESS = (0.15, 0.7)
"""Of soft pictures: standard deviation of their blur in low-resolution pixels."""
VALIDATION_PREFIX = "cid22v_"
"""Pictures whose names begin so are held out of training."""
HELD_OUT = 10
"""Where no name begins so, one picture of so many is held out, whichever their names choose."""


@dataclass(frozen=True)
class Batch:
    """One step's patches, uint8 RGB, ``(N, 3, side, side)``.

    Attributes:
        degraded: the network's input; side = patch.
        blurred: target of the artefact branch; side = patch.
        sharp: target of the deblur branch; side = patch.
        truth: target of the network; side = patch * scale.
        clean: ``(N,)`` bool: down-sampled and nothing else.
    """

    degraded: Uint8Image
    blurred: Uint8Image
    sharp: Uint8Image
    truth: Uint8Image
    clean: npt.NDArray[np.bool_]

    def share(self, rank: int, size: int) -> Batch:
        """Every ``size``-th patch from ``rank`` on."""
        return Batch(*(getattr(self, field.name)[rank::size] for field in fields(self)))


def load_pictures(folder: Path, scale: int, patch: int, held_out: bool) -> list[Uint8Image]:
    """Decode a folder's pictures, cut to multiples of ``scale``.

    Args:
        folder: of picture files.
        scale: the down-sampling factor to come.
        patch: pictures that cannot hold one patch of this many low-resolution pixels a side
            are left out.
        held_out: give the validation split instead of the training split.

    Returns:
        ``(H, W, 3)`` uint8 RGB each, in the order of their names.

    Raises:
        InputError: no such folder, an unreadable picture, or none that is large enough.
    """
    pictures = []
    paths = list_images(folder)
    kept_apart = validation_names([path.name for path in paths])
    for path in paths:
        if (path.name in kept_apart) == held_out:
            picture = read_image(path)
            if min(picture.shape[:2]) >= patch * scale:
                pictures.append(mod_crop(picture, scale))
    if not pictures:
        split = "validation" if held_out else "training"
        raise InputError(
            f"'{folder}' has no {split} picture of at least {patch * scale} pixels a side.",
            f"Validation pictures are those named {VALIDATION_PREFIX}*, or one of {HELD_OUT} where "
            "none is; all others train.",
        )
    return pictures


def validation_names(names: Sequence[str]) -> set[str]:
    """Which pictures are held out: those with :data:`VALIDATION_PREFIX`, else a tenth.

    The tenth are the names with the smallest hashes: a folder that grows keeps most of its
    split, and neighbours in a series are not all on one side.
    """
    named = {name for name in names if name.startswith(VALIDATION_PREFIX)}
    if named or len(names) < 2:
        return named
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ranked[: max(len(names) // HELD_OUT, 1)])


def data_digest(folder: Path) -> str:
    """SHA-256 over the names and sizes of a folder's pictures: is it still the same data?"""
    rows = [f"{path.name} {path.stat().st_size}" for path in list_images(folder)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True)
class LowPicture:
    """One picture as a camera would have delivered it; ``(H / scale, W / scale, 3)`` uint8 RGB.

    Attributes:
        degraded, blurred, sharp: see :class:`Batch`.
        clean: nothing was done but down-sampling.
        softness: standard deviation in full-resolution pixels of the blur that the sharp
            picture itself went through first; 0 for none.
    """

    degraded: Uint8Image
    blurred: Uint8Image
    sharp: Uint8Image
    clean: bool = False
    softness: float = 0.0


Chunk = list[LowPicture]

_pictures: list[Uint8Image] = []  # of the degrading process only: a pool can keep them nowhere else


def _start_worker(folder: str, scale: int, patch: int) -> None:
    # Ctrl-C reaches the whole group of processes; what it means, the trainer decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _pictures.extend(load_pictures(Path(folder), scale, patch, held_out=False))


def _end_with_parent() -> None:
    # A pool's process waits on a pipe whose other end it holds, too: without this it would
    # outlive a trainer that was killed, with all pictures in memory.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worker_chunk(recipe: TrainRecipe, number: int, part: int, parts: int) -> Chunk:
    return degrade_chunk(_pictures, recipe, number, part, parts)


def degrade_chunk(
    pictures: list[Uint8Image], recipe: TrainRecipe, number: int, part: int = 0, parts: int = 1
) -> Chunk:
    """Degrade every picture once, as the curriculum stands when the chunk begins.

    Args:
        pictures: ``(H, W, 3)`` uint8 RGB, sides multiples of the recipe's scale.
        recipe: gives seed, curriculum and scale.
        number: of the chunk, see :meth:`TrainRecipe.chunk`.
        part: degrade the picture of this index, and every ``parts``-th after it.
        parts: how many processes share the work; the result does not depend on it.
    """
    stage, done = recipe.at(recipe.chunk_begin(number))
    difficulty = stage.difficulty[0] + (stage.difficulty[1] - stage.difficulty[0]) * done
    names = [name for name, _ in stage.mix]
    shares = np.array([share for _, share in stage.mix])
    degradations = [load_recipe(name).scaled(difficulty) for name in names]
    chunk = []
    for index in range(part, len(pictures), parts):
        picture = pictures[index]
        rng = np.random.default_rng([recipe.seed, number, index])
        chosen = degradations[int(rng.choice(len(names), p=shares / shares.sum()))]
        seed, clean, softness = int(rng.integers(2**32)), _leaves_clean(chosen), 0.0
        if clean and rng.random() < recipe.soft:
            softness = float(rng.uniform(*SOFTNESS)) * recipe.scale
            picture = soften(picture, softness)
        stages = degrade_stages(picture, chosen, recipe.scale, seed)
        chunk.append(LowPicture(stages.degraded, stages.blurred, stages.sharp, clean, softness))
    return chunk


def _leaves_clean(recipe: Recipe) -> bool:
    most = (recipe.blur_length[1], recipe.noise_shot[1], recipe.noise_read[1])
    return recipe.codec == "none" and not any(most)


def soften(picture: Uint8Image, sigma: float) -> Uint8Image:
    """Blur as a lens out of focus would (Gaussian, ``sigma`` in pixels); 0 returns the picture."""
    if sigma <= 0:
        return picture
    side = 2 * _reach(sigma) + 1
    return cv2.GaussianBlur(picture, (side, side), sigma).astype(np.uint8, copy=False)


def _reach(sigma: float) -> int:
    return math.ceil(3 * sigma)


class Patches:
    """The training set of one run; use as a context manager.

    Args:
        folder: of sharp pictures, see :func:`load_pictures`.
        recipe: what is drawn from them.
        workers: processes that degrade, each with all pictures in memory; >= 1.

    Raises:
        InputError: no usable pictures.
    """

    def __init__(self, folder: Path, recipe: TrainRecipe, workers: int = 1) -> None:
        self.recipe, self.workers = recipe, workers
        self.pictures = load_pictures(folder, recipe.scale, recipe.patch, held_out=False)
        self._count, self._number = len(self.pictures), -1
        self._chunk: Chunk = []
        self._next: tuple[int, list[Future[Chunk]]] | None = None
        self._pool = ProcessPoolExecutor(
            max_workers=workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(str(folder), recipe.scale, recipe.patch),
        )

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *_: object) -> None:
        # Python has a public way to end a pool's processes from 3.14 on; without one, leaving
        # would wait until a chunk is done that nobody wants any more.
        workers = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()

    def _turn_to(self, number: int) -> None:
        if self._next is None or self._next[0] != number:
            self._next = (number, self._submit(number))
        parts = [future.result() for future in self._next[1]]
        self._chunk = [parts[i % self.workers][i // self.workers] for i in range(self._count)]
        self._number = number
        following = number + 1
        if self.recipe.chunk_begin(following) < self.recipe.steps:
            self._next = (following, self._submit(following))

    def _submit(self, number: int) -> list[Future[Chunk]]:
        # The first one starts the process. It inherits the blocked signal, or a Ctrl-C while
        # it still imports would end in its traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return [
                self._pool.submit(_worker_chunk, self.recipe, number, part, self.workers)
                for part in range(self.workers)
            ]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def batch(self, step: int) -> Batch:
        """The patches of ``step`` (0-based); waits for the degraded pictures if it must.

        Raises:
            AcfError: the process that degrades the pictures died.
        """
        number = self.recipe.chunk(step)
        if number != self._number:
            try:
                self._turn_to(number)
            except BrokenProcessPool:
                raise AcfError(
                    "The process that degrades the pictures ended before its time.",
                    "If memory ran out, give fewer or smaller pictures; then run again.",
                ) from None
        return draw_batch(self.pictures, self._chunk, self.recipe, step)


def draw_batch(pictures: list[Uint8Image], chunk: Chunk, recipe: TrainRecipe, step: int) -> Batch:
    """The patches of ``step``, from pictures and their degraded versions.

    Args:
        pictures: ``(H, W, 3)`` uint8 RGB, sides multiples of the scale and at least
            ``patch * scale``.
        chunk: of the same pictures in the same order.
        recipe: gives seed, batch, patch and scale.
        step: 0-based.
    """
    rng = np.random.default_rng([recipe.seed, step])
    # Large pictures more often, but not in proportion: they repeat themselves.
    weights = np.sqrt([float(p.shape[0] * p.shape[1]) for p in pictures])
    weights /= weights.sum()
    rows = []
    for _ in range(recipe.batch):
        index = int(rng.choice(len(pictures), p=weights))
        rows.append((*_patch(rng, pictures[index], chunk[index], recipe), chunk[index].clean))
    return Batch(*(np.stack(column) for column in zip(*rows, strict=True)))


def _patch(
    rng: np.random.Generator, picture: Uint8Image, low: LowPicture, recipe: TrainRecipe
) -> tuple[Uint8Image, ...]:
    side, scale = recipe.patch, recipe.scale
    sharp = low.sharp
    places = [_place(rng, sharp.shape[0], sharp.shape[1], side) for _ in range(2)]
    y, x = places[0]
    if rng.random() < BUSY_SHARE:
        y, x = max(places, key=lambda p: _activity(sharp[p[0] : p[0] + side, p[1] : p[1] + side]))
    truth = _truth(picture, y * scale, x * scale, side * scale, low.softness)
    views = (low.degraded, low.blurred, low.sharp)
    cuts = [image[y : y + side, x : x + side] for image in views]
    flip_x, flip_y, turn = rng.random(3) < 0.5
    result = []
    for cut in (*cuts, truth):
        cut = cut[:, ::-1] if flip_x else cut
        cut = cut[::-1] if flip_y else cut
        result.append(cut.transpose(2, 1, 0) if turn else cut.transpose(2, 0, 1))
    return tuple(result)


def _truth(picture: Uint8Image, y: int, x: int, side: int, softness: float) -> Uint8Image:
    """The patch at ``y, x`` of the picture as it was before it was degraded."""
    if softness <= 0:
        return picture[y : y + side, x : x + side]
    # Only what the blur reaches: the whole picture would cost a hundred times as much.
    reach = _reach(softness)
    top, left = max(y - reach, 0), max(x - reach, 0)
    around = np.ascontiguousarray(picture[top : y + side + reach, left : x + side + reach])
    return soften(around, softness)[y - top : y - top + side, x - left : x - left + side]


def _place(rng: np.random.Generator, height: int, width: int, side: int) -> tuple[int, int]:
    y = int(rng.integers(0, height - side + 1))
    x = int(rng.integers(0, width - side + 1))
    if rng.random() < 0.75:
        # Codec blocks start at the corner of a picture; mostly keep that alignment.
        y, x = y // 8 * 8, x // 8 * 8
    return y, x


def _activity(patch: Uint8Image) -> float:
    green = patch[:, :, 1].astype(np.float32)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())
