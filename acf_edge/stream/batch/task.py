"""What a machine of a cluster is told, and what it answers. All of it travels as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from acf_edge.stream.batch.encode import FilmShape
from acf_edge.stream.batch.manifest import Fingerprint
from acf_edge.stream.batch.reader import Reading
from acf_edge.stream.colour import Colour, Orientation

Look = tuple[tuple[int, ...], Colour, Orientation]


@dataclass(frozen=True, slots=True)
class Setup:
    """What all tasks of a film have in common.

    Attributes:
        path: of the source, where the machine shares storage with this one.
        print_: by which it is known to be the same file there.
        reading: how the film is read from its start.
        job: digest of the manifest.
        shape: of the film.
        look: by what a copy must be read the same.
        segment_frames: frames of every segment but the last.
        versions: of this package and its libraries; others would give other bits.
        bundle: the engine's files, by name.
        share: use the path where it can be read.
    """

    path: str
    print_: Fingerprint
    reading: Reading
    job: str
    shape: FilmShape
    look: Look
    segment_frames: int
    versions: dict[str, str]
    bundle: dict[str, bytes]
    share: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One segment to be made.

    Attributes:
        number: of the segment.
        entry: time of the key picture to start at.
        shown: times of the frames in display order, those of the head included;
            None = the packets do not tell: count them from the start of the film.
        head: how many of ``shown`` come before the segment.
        durations: of the frames in ``shown``.
        cut: a file with the packets; None for a machine that has the film.
        cut_shown: ``shown`` in the units of ``cut``.
    """

    number: int
    entry: int = 0
    shown: tuple[int, ...] | None = None
    head: int = 0
    durations: tuple[int, ...] = ()
    cut: bytes | None = None
    cut_shown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        number: of the segment.
        segment: its bytes; None if there is none (the film ended before it).
        differs: the frames are not those that the packets promised.
        error: problem and remedy of an :class:`InputError`; empty if all went well.
        busy: seconds of decoding, inference and encoding.
        ended: the film ended with or before this segment.
        frames: of the film, if it ended.
        corrupt: frames of the film that the decoder marked, if it ended.
        notes: on the film, if it ended.
    """

    number: int
    segment: bytes | None = None
    differs: bool = False
    error: tuple[str, str] = ("", "")
    busy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ended: bool = False
    frames: int = 0
    corrupt: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Hello:
    """How a machine introduces itself.

    Attributes:
        host: its name.
        has_film: it can read the film by its path.
        refusal: why it cannot take part; empty if it can.
    """

    host: str
    has_film: bool
    refusal: str = ""
