"""The picture of the votes that a report carries."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.explain import BRANCHES, LARGEST, listen, votes_picture
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
        image: ``(H, W, 3)`` uint8 RGB: a degraded picture; of one that is too large to be
            explained, the middle is taken and the words say so.
        title: what it is, in a few words.

    Returns:
        None for networks of others and for those that cast no votes.
    """
    if network is None or network.config.voting in VOTELESS:
        return None
    height, width = image.shape[:2]
    if height * width > LARGEST:
        image, title = _middle(image), f"the middle of {title}"
    heard = listen(network, image)
    sheet = votes_picture(image, heard, title)
    pixels = np.ascontiguousarray(sheet[:, :, ::-1])
    _, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    shares = ", ".join(
        f"{name} {float(heard.voice[b].mean()):.0%}" for b, name in enumerate(BRANCHES)
    )
    words = f"What reached the reconstruction, by branch: {shares} ({title})."
    return Sheet(data.tobytes(), words, sheet.shape[1], sheet.shape[0])


def _middle(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """As much of the picture as can be explained, of its own proportions."""
    height, width = image.shape[:2]
    share = math.sqrt(LARGEST / (height * width))
    h, w = int(height * share), int(width * share)
    y, x = (height - h) // 2, (width - w) // 2
    return np.ascontiguousarray(image[y : y + h, x : x + w])
