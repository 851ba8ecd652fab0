"""Frames larger than the engine's profile or the memory, piece by piece.

Tiles overlap by what one pixel of the result sees of the input, which is read from the
network's graph; what is taken from a tile is then what the whole frame would have given.
The votes and the attention of an ACF network look at averages over the whole picture;
those are given to every tile (:mod:`acf_edge.engine.tile_model`):

* of a still they are measured first. Every average needs one pass over all tiles, since
  the second depends on the first; with the pass for the picture a still takes three times
  as long as its tiles.
* of a video the averages of the frame before are used, and this frame's are collected on
  the way: no extra pass. The first frame, and the first after a cut, is treated as a still.

An engine for a GPU, or a network with operations that are not understood, takes its
averages from each tile alone; :attr:`TiledEngine.notes` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from acf_edge.engine import Bundle, Engine, load_engine, open_bundle
from acf_edge.engine.bundle import MODEL_FILE
from acf_edge.engine.cores import usable_cores
from acf_edge.engine.frames import checked_frame
from acf_edge.engine.ort import MAX_THREADS
from acf_edge.engine.protocol import Uint8Image
from acf_edge.engine.reach import SAFE_ALIGNMENT, SAFE_REACH
from acf_edge.engine.tile_model import TileModel, make_tile_model
from acf_edge.engine.tile_session import Average, Part, TileSession
from acf_edge.errors import InputError
from acf_edge.resources import default_bundle
from acf_edge.stream.live.padded import PaddedEngine
from acf_edge.stream.live.scene_cut import Thumbnail, same_scene, thumbnail
from acf_edge.stream.live.tile_plan import Tile, free_memory, plan_tiles, tile_for_memory

_CPU: Final = "onnxruntime"
_SCENES: Final = 8
"""Scenes whose averages are remembered: several sources may share one engine."""
_TYPICAL: Final = 1000
"""Bytes per input pixel of an engine that does not tell."""


@dataclass
class _Scene:
    picture: Thumbnail
    averages: list[Average]


class TiledEngine:
    """An engine that enhances a frame in overlapping tiles, without seams.

    Frames that fit into one tile are enhanced whole. Not to be called from several
    threads at once.

    Args:
        bundle: the folder, or one already opened; None = the bundle that is shipped.
        tile: ``(width, height)`` in pixels that a tile may have at most; None = what the
            bundle's profile allows or, without one, what the free memory has room for.
        threads: CPU threads for one operator; None = all physical cores.
        spin: let idle threads wait busily.
        engine: for a GPU: one that is loaded already and stays the caller's.
        video: frames follow each other: take the averages of the frame before. Several
            sources may share the engine; each scene's averages are kept apart.

    Raises:
        InputError: the bundle cannot be loaded, or no tile of this size can be used.
    """

    def __init__(
        self,
        bundle: Bundle | Path | str | None = None,
        *,
        tile: tuple[int, int] | None = None,
        threads: int | None = None,
        spin: bool = True,
        video: bool = False,
        engine: Engine | None = None,
    ) -> None:
        if not isinstance(bundle, Bundle):
            bundle = open_bundle(default_bundle() if bundle is None else bundle)
        passport = bundle.passport
        self._name, self._scale, self._video = passport.name, passport.scale, video
        self._session: TileSession | None = None
        self._engine: Engine | None = None
        model = _tile_model(bundle)
        self._ours = engine is None
        self._known = model is not None and model.reach.known
        if model is not None and model.exact and passport.backend == _CPU:
            if threads is not None and not 1 <= threads <= MAX_THREADS:
                raise InputError(
                    f"{threads} threads are out of range.", f"Give 1 to {MAX_THREADS}."
                )
            self._session = TileSession(model, self._name, threads or usable_cores(), spin)
        else:
            self._engine = engine or load_engine(bundle, threads=threads, spin=spin)
            if engine is None and passport.input_profiles:
                self._engine = PaddedEngine(self._engine, passport.input_profiles)
        self._exact = self._session is not None
        self._overlap = model.reach.pixels if model else SAFE_REACH
        self._alignment = model.reach.alignment if model else SAFE_ALIGNMENT
        self._tile = _tile_size(bundle, tile, model)
        # A tile of no use is an error now, not at the first large frame.
        plan_tiles(
            (self._tile[0] + 1, self._tile[1] + 1), self._tile, self._overlap, self._alignment
        )
        self._scenes: list[_Scene] = []

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        return self._name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._scale

    @property
    def tile(self) -> tuple[int, int]:
        """``(width, height)`` in pixels that a tile has at most."""
        return self._tile

    @property
    def overlap(self) -> int:
        """Pixels of the input by which tiles overlap on each side."""
        return self._overlap

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as with whole frames, in words."""
        if self._exact:
            return ()
        if self._known:
            return (
                f"the tiles of {self._name} vote each alone and may differ slightly where they "
                f"meet",
            )
        return (
            f"{self._name} does not tell how far it looks and what it averages: its tiles overlap "
            f"by {self._overlap} pixels, vote each alone, and may differ slightly where they meet",
        )

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one picture.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB, owned by the caller.

        Raises:
            TypeError: not an array of uint8.
            InputError: another shape; too little memory.
            ValueError: the engine is closed.
        """
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        plan = plan_tiles((width, height), self._tile, self._overlap, self._alignment)
        if len(plan) == 1:
            return self._one(frame, Part(), None)[0]
        try:
            result = np.empty((height * self._scale, width * self._scale, 3), np.uint8)
        except MemoryError as error:
            raise InputError(
                f"There is not enough memory for the result of a {width}x{height} picture.",
                "Give a smaller picture or close other programs.",
            ) from error
        if not self._exact:
            self._pass(frame, plan, None, result)
        elif self._video:
            scene = self._scene(frame, plan)
            scene.averages = self._pass(frame, plan, scene.averages, result)
        else:
            self._pass(frame, plan, self._measure(frame, plan), result)
        return result

    def close(self) -> None:
        """Release threads and memory; once or more often."""
        if self._session is not None:
            self._session.close()
        if self._engine is not None and self._ours:
            self._engine.close()
        self._scenes.clear()

    def _one(
        self, tile: Uint8Image, part: Part, averages: list[Average] | None, wanted: bool = True
    ) -> tuple[Uint8Image, list[Average]]:
        """Run one tile; its pixels count only if they are ``wanted``."""
        if self._session is not None:
            return self._session.run(tile, part, averages, wanted)
        assert self._engine is not None
        return self._engine.run(np.ascontiguousarray(tile)), []

    def _scene(self, frame: Uint8Image, plan: Sequence[Tile]) -> _Scene:
        """The scene that the frame continues; a new one, measured, if it begins one."""
        now = thumbnail(frame)
        for scene in reversed(self._scenes):
            if same_scene(scene.picture, now):
                self._scenes.remove(scene)
                break
        else:
            scene = _Scene(now, self._measure(frame, plan))
        scene.picture = now
        self._scenes = [*self._scenes[1 - _SCENES :], scene]
        return scene

    def _measure(self, frame: Uint8Image, plan: Sequence[Tile]) -> list[Average]:
        """The averages of the whole frame, exactly.

        The first average depends on the picture alone, each of the others on those before
        it: every pass makes one more of them right.
        """
        assert self._session is not None
        averages: list[Average] | None = None
        for _ in self._session.model.pools:
            averages = self._pass(frame, plan, averages, None)
        return averages or []

    def _pass(
        self,
        frame: Uint8Image,
        plan: Sequence[Tile],
        averages: list[Average] | None,
        result: Uint8Image | None,
    ) -> list[Average]:
        """Run all tiles; the result's pixels are written where they belong.

        Returns:
            The averages over the whole frame, as the network saw it with ``averages``.
        """
        scale = self._scale
        sums: list[npt.NDArray[np.float64]] = []
        for tile in plan:
            rows, columns = tile.rows, tile.columns
            pixels, found = self._one(
                frame[rows.start : rows.end, columns.start : columns.end],
                tile.part,
                averages,
                result is not None,
            )
            weighted = [tile.weight * average.astype(np.float64) for average in found]
            sums = [a + b for a, b in zip(sums, weighted, strict=True)] if sums else weighted
            if result is not None:
                top, left = rows.start, columns.start
                result[
                    rows.first * scale : rows.last * scale,
                    columns.first * scale : columns.last * scale,
                ] = pixels[
                    (rows.first - top) * scale : (rows.last - top) * scale,
                    (columns.first - left) * scale : (columns.last - left) * scale,
                ]
        whole = sum(tile.weight for tile in plan)
        return [(total / whole).astype(np.float32) for total in sums]


def needs_tiles(bundle: Bundle, width: int, height: int) -> bool:
    """Whether frames of this size are too large for the engine's profile or the free memory.

    Args:
        bundle: of the engine.
        width, height: of the frames in pixels.
    """
    return tile_test(bundle)(width, height)


def tile_test(bundle: Bundle) -> Callable[[int, int], bool]:
    """:func:`needs_tiles` of one bundle, whose model is read once for all sizes."""
    sizes = [profile.maximum for profile in bundle.passport.input_profiles]
    if sizes:
        # A GPU's memory was asked for when the engine was loaded.
        return lambda width, height: not any(width <= w and height <= h for w, h in sizes)
    model = _tile_model(bundle)
    each = model.bytes_per_pixel if model else _TYPICAL

    def needs(width: int, height: int) -> bool:
        return width * height * each > free_memory() // 2

    return needs


def _tile_model(bundle: Bundle) -> TileModel | None:
    """The model for tiles, which tells how far the network sees."""
    if MODEL_FILE not in bundle.passport.files:
        return None
    return make_tile_model(bundle.read(MODEL_FILE))


def _largest(bundle: Bundle) -> tuple[int, int] | None:
    sizes = [profile.maximum for profile in bundle.passport.input_profiles]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _tile_size(
    bundle: Bundle, asked: tuple[int, int] | None, model: TileModel | None
) -> tuple[int, int]:
    largest = _largest(bundle)
    if asked is not None:
        if largest is not None and (asked[0] > largest[0] or asked[1] > largest[1]):
            raise InputError(
                f"Tiles of {asked[0]}x{asked[1]} are larger than the {largest[0]}x{largest[1]} "
                f"that '{bundle.path}' is built for.",
                "Give smaller tiles, or none to use the largest.",
            )
        return asked
    if largest is not None:
        return largest
    overlap = model.reach.pixels if model else SAFE_REACH
    alignment = model.reach.alignment if model else SAFE_ALIGNMENT
    each = model.bytes_per_pixel if model else _TYPICAL
    return tile_for_memory(each, overlap, alignment, free_memory())
