"""ONNX Runtime on a model that takes the averages of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from acf_edge.engine.graph import read_graph
from acf_edge.engine.ort import INPUT, OUTPUT, PROVIDERS, check_graph, one_line, session_options
from acf_edge.engine.protocol import Uint8Image
from acf_edge.engine.tile_model import GIVEN, TileModel
from acf_edge.errors import InputError

_BEYOND: Final = 2**40

Average = npt.NDArray[np.float32]
"""Of one global average, ``(1, C, 1, 1)``."""


@dataclass(frozen=True)
class Part:
    """The part of a tile that belongs to it alone, in pixels of the tile.

    Attributes:
        top, left: multiples of the model's alignment.
        bottom, right: exclusive, multiples of the alignment; None = to the tile's end,
            with what the network pads there.
    """

    top: int = 0
    left: int = 0
    bottom: int | None = None
    right: int | None = None


class TileSession:
    """Runs tiles.

    Args:
        model: the edited model.
        name: of the network, for messages.
        threads: for one operator.
        spin: let idle threads wait busily.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """

    def __init__(self, model: TileModel, name: str, threads: int, spin: bool) -> None:
        self.model = model
        self.name = name
        check_graph(read_graph(model.model), name)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model.model, session_options(threads, spin), providers=list(PROVIDERS)
            )
        except Exception as error:  # its classes derive from Exception alone
            raise InputError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {name} for tiles: "
                f"{one_line(error)}",
                "Update onnxruntime, or build the bundle again.",
            ) from error

    def run(
        self,
        tile: Uint8Image,
        part: Part,
        averages: Sequence[Average] | None,
        wanted: bool = True,
    ) -> tuple[Uint8Image, list[Average]]:
        """Enhance a tile.

        Args:
            tile: ``(H, W, 3)`` uint8 RGB.
            part: what is averaged.
            averages: of the whole picture, one for each pool of the model, in its order;
                None = those of the part.
            wanted: hand out the picture; without it only the averages.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB (empty if not wanted), and the
            averages of the part.

        Raises:
            InputError: too little memory.
            ValueError: the session is closed.
        """
        if self._session is None:
            raise ValueError(f"the engine {self.name} is closed")
        pools = self.model.pools
        feed: dict[str, Any] = {INPUT: np.ascontiguousarray(tile)[None]}
        if pools:
            feed[GIVEN] = np.array(averages is not None)
        given = averages or [np.zeros((1, 1, 1, 1), np.float32)] * len(pools)
        for pool, average in zip(pools, given, strict=True):
            feed[pool.statistic] = average
            feed[pool.start] = np.array([part.top, part.left]) // pool.stride
            ends = [
                _BEYOND if end is None else end // pool.stride for end in (part.bottom, part.right)
            ]
            feed[pool.end] = np.array(ends)
        names = [pool.pooled for pool in pools]
        try:
            found = self._session.run([OUTPUT, *names] if wanted else names, feed)
        except Exception as error:
            height, width = tile.shape[:2]
            raise InputError(
                f"{self.name} cannot enhance a tile of {width}x{height}: {one_line(error)}",
                "Give smaller tiles.",
            ) from error
        if not wanted:
            return np.empty((0, 0, 3), np.uint8), found
        return found[0][0], found[1:]

    def close(self) -> None:
        """Release threads and memory; once or more often."""
        self._session = None
