"""An engine that takes frames of any size: whole where they fit, in tiles where not."""

from __future__ import annotations

from pathlib import Path

from acf_edge.engine import Bundle, Engine, load_engine, open_bundle
from acf_edge.engine.protocol import Pending, Uint8Image, begin
from acf_edge.resources import default_bundle
from acf_edge.stream.live.padded import PaddedEngine
from acf_edge.stream.live.tiles import TiledEngine, tile_test


class FittingEngine:
    """Loads the engine for whole frames at once, the one for tiles when a frame needs it.

    Whether it does is decided once for each size of frame, by the engine's profile and the
    memory that is free then.

    Args:
        bundle: the folder, or one already opened; None = the bundle that is shipped.
        threads: CPU threads for one operator; None = all physical cores.
        spin: let idle threads wait busily.
        video: see :class:`TiledEngine`.

    Raises:
        InputError: the bundle cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle | Path | str | None = None,
        *,
        threads: int | None = None,
        spin: bool = True,
        video: bool = False,
    ) -> None:
        if not isinstance(bundle, Bundle):
            bundle = open_bundle(default_bundle() if bundle is None else bundle)
        self._bundle, self._threads, self._spin, self._video = bundle, threads, spin, video
        self._whole: Engine = load_engine(bundle, threads=threads, spin=spin)
        if bundle.passport.input_profiles:
            self._whole = PaddedEngine(self._whole, bundle.passport.input_profiles)
        self._needs_tiles = tile_test(bundle)
        self._tiled: TiledEngine | None = None
        self._in_tiles: dict[tuple[int, int], bool] = {}

    @property
    def name(self) -> str:
        """Network, scale and precision."""
        return self._whole.name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._whole.scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one ``(H, W, 3)`` uint8 RGB picture by :attr:`scale`."""
        return self._for(frame).run(frame)

    def submit(self, frame: Uint8Image) -> Pending:
        """Begin one picture: on a GPU without waiting for it, else it is done on return."""
        return begin(self._for(frame), frame)

    def _for(self, frame: Uint8Image) -> Engine:
        height, width = frame.shape[:2]
        in_tiles = self._in_tiles.get((width, height))
        if in_tiles is None:
            in_tiles = self._needs_tiles(width, height)
            self._in_tiles[width, height] = in_tiles
        return self._for_tiles() if in_tiles else self._whole

    def _for_tiles(self) -> TiledEngine:
        if self._tiled is None:
            # A GPU's memory has room for one engine; a CPU's tiles need a model of their own.
            on_gpu = self._bundle.passport.backend != "onnxruntime"
            self._tiled = TiledEngine(
                self._bundle,
                threads=self._threads,
                spin=self._spin,
                video=self._video,
                engine=self._whole if on_gpu else None,
            )
        return self._tiled

    def close(self) -> None:
        """Release threads and memory."""
        self._whole.close()
        if self._tiled is not None:
            self._tiled.close()
