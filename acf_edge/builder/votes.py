"""The picture of the votes that a report carries."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.explain import BRANCHES, listen, votes_picture
from acf_edge.model.config import VOTELESS
from acf_edge.model.network import AcfNetwork
from acf_edge.report import Sheet

_QUALITY = 80
"""Of the WebP: lines and letters stay crisp, and a report stays below a megabyte."""


def votes_sheet(
    network: AcfNetwork | None, image: npt.NDArray[np.uint8], title: str
) -> Sheet | None:
    """Draw which branch was heard where.

    Args:
        network: in evaluation mode; None for those of others.
        image: ``(H, W, 3)`` uint8 RGB: a degraded picture.
        title: what it is, in a few words.

    Returns:
        None for networks of others and for those that cast no votes.
    """
    if network is None or network.config.voting in VOTELESS:
        return None
    heard = listen(network, image)
    sheet = votes_picture(image, heard, title)
    pixels = np.ascontiguousarray(sheet[:, :, ::-1])
    _, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    shares = ", ".join(
        f"{name} {float(heard.voice[b].mean()):.0%}" for b, name in enumerate(BRANCHES)
    )
    words = f"What reached the reconstruction, by branch: {shares} ({title})."
    return Sheet(data.tobytes(), words, sheet.shape[1], sheet.shape[0])
