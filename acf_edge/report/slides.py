"""Before and after: pictures that are laid over each other, with an edge to drag."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from acf_edge.report.words import text

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)


@dataclass(frozen=True)
class Slide:
    """One frame, before and after.

    Attributes:
        label: what the frame is, e.g. ``"frame 12"``.
        before: encoded picture (PNG, JPEG or WebP).
        after: encoded picture; shown in the same rectangle.
        width: of the rectangle in pixels, that of ``after``. ``height``: likewise.
        truth: encoded ground truth, if there is one.
        before_label, after_label, truth_label: what the pictures are.
    """

    label: str
    before: bytes
    after: bytes
    width: int
    height: int
    truth: bytes | None = None
    before_label: str = "bicubic"
    after_label: str = "enhanced"
    truth_label: str = "ground truth"


def slides_html(slides: Sequence[Slide]) -> str:
    """The slider over all ``slides``; empty without any.

    Raises:
        ValueError: a picture that is no PNG, JPEG or WebP (a mistake of the caller).
    """
    if not slides:
        return ""
    frames = "".join(
        f'<button type="button" data-slide="{index}" aria-pressed="{_flag(index == 0)}">'
        f"{text(slide.label)}</button>"
        for index, slide in enumerate(slides)
    )
    parts = ['<div class="compare"><div class="controls" hidden>']
    if len(slides) > 1:
        parts.append(f'<div class="choice" role="group" aria-label="Frame">{frames}</div>')
    first = slides[0]
    if any(slide.truth is not None for slide in slides):
        pairs = (
            ("before", f"{first.before_label} | {first.after_label}"),
            ("truth", f"{first.after_label} | {first.truth_label}"),
        )
        parts.append('<div class="choice" role="group" aria-label="Compare">')
        parts.extend(
            f'<button type="button" data-pair="{name}" aria-pressed="{_flag(name == "before")}">'
            f"{text(words)}</button>"
            for name, words in pairs
        )
        parts.append("</div>")
    parts.append(
        '<div class="choice" role="group" aria-label="Size">'
        '<button type="button" data-zoom="0" aria-pressed="true">fit</button>'
        '<button type="button" data-zoom="1" aria-pressed="false">1:1</button>'
        '<button type="button" data-zoom="2" aria-pressed="false">2:1</button></div></div>'
    )
    parts.extend(_slide_html(slide) for slide in slides)
    parts.append(
        '<p class="hint" hidden>Drag the edge, or focus it and use the arrow keys.</p></div>'
    )
    return "".join(parts)


@dataclass(frozen=True)
class Sheet:
    """One picture by itself.

    Attributes:
        picture: encoded (PNG, JPEG or WebP).
        words: what it shows; under the picture, and for those who do not see it.
        width: in pixels. ``height``: likewise.
    """

    picture: bytes
    words: str
    width: int
    height: int


def sheet_html(sheet: Sheet | None) -> str:
    """The picture over its words; empty without one.

    Raises:
        ValueError: it is no PNG, JPEG or WebP (a mistake of the caller).
    """
    if sheet is None:
        return ""
    return (
        f'<figure class="sheet"><img width="{sheet.width}" height="{sheet.height}" '
        f'alt="{text(sheet.words)}" src="{_data_uri(sheet.picture)}">'
        f"<figcaption>{text(sheet.words)}</figcaption></figure>"
    )


def _slide_html(slide: Slide) -> str:
    size = f'width="{slide.width}" height="{slide.height}"'
    layers = [
        ("before", slide.before, slide.before_label),
        ("after", slide.after, slide.after_label),
    ]
    if slide.truth is not None:
        layers.append(("truth", slide.truth, slide.truth_label))
    pictures = "".join(
        f'<div class="layer {name}"><img {size} alt="{text(slide.label)}, {text(label)}" '
        f'draggable="false" src="{_data_uri(picture)}">'
        f'<span class="pill">{text(label)}</span></div>'
        for name, picture, label in layers
    )
    return (
        '<figure class="slide" data-pair="before"><div class="view"><div class="stage">'
        f'{pictures}<div class="rule" aria-hidden="true"><i></i></div>'
        '<input class="edge" type="range" min="0" max="100" step="1" value="50" '
        f'aria-label="{text(slide.label)}: where the two pictures meet, in percent from the left">'
        f"</div></div><figcaption>{text(slide.label)}, {slide.width}×{slide.height}"
        "</figcaption></figure>"
    )


def _data_uri(picture: bytes) -> str:
    kind = next((kind for mark, kind in _SIGNATURES if picture.startswith(mark)), None)
    if kind is None and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        raise ValueError("a picture is no PNG, JPEG or WebP")
    return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _flag(value: bool) -> str:
    return "true" if value else "false"
