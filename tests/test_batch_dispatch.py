"""Segments shared among machines: any order, any loss, the same film. The machines are objects."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from long_films import LENGTH, film, packets
from toy_bundles import write_toy

from acf_edge.engine import Bundle, load_engine
from acf_edge.errors import InputError
from acf_edge.stream import EnhanceSummary, enhance_file
from acf_edge.stream.batch.cluster import setup_for
from acf_edge.stream.batch.dispatch import Answer, Dispatcher, Member
from acf_edge.stream.batch.index import index_of
from acf_edge.stream.batch.long import Effort, Hooks, LongJob, Site, make_film
from acf_edge.stream.batch.manifest import identity
from acf_edge.stream.batch.reader import Reading
from acf_edge.stream.batch.segment import Mark, Segment
from acf_edge.stream.batch.task import Setup, Task
from acf_edge.stream.batch.work import WorkFolder, work_path
from acf_edge.stream.batch.worker import Worker
from acf_edge.stream.encoder import EncoderOptions

_FRAME = Fraction(1, 25)
_OPEN = {"preset": "fast", "bf": "3", "g": "13", "x264-params": "open-gop=1:scenecut=0"}


class Room:
    """Three machines that answer in any order and now and then go away."""

    def __init__(self, setup: Setup, film_path: Path, lost: Sequence[int] = ()) -> None:
        self._film = film_path
        self._lost = set(lost)
        self._dice = random.Random(1)
        self._count = 0
        self._given: list[tuple[str, Task]] = []
        self._sent: set[str] = set()
        self.workers = {name: Worker(_travel(setup), 1) for name in "abc"}
        self._has = {name: worker.hello().has_film for name, worker in self.workers.items()}

    def ready(self) -> Sequence[Member]:
        away = [name for name, _ in self._given]
        return [Member(n, f"host {n}", self._has[n]) for n in self.workers if n not in away]

    def give(self, member: Member, task: Task) -> None:
        assert (task.cut is None) == (member.has_film or task.shown is None)
        if task.shown is None and not member.has_film and member.name not in self._sent:
            content = self._film.read_bytes()
            self.workers[member.name].fetch(content[:1000], True)
            self.workers[member.name].fetch(content[1000:], False)
            self._sent.add(member.name)
        self._given.append((member.name, _travel(task)))

    def collect(self, timeout: float) -> Sequence[Answer]:
        name, task = self._given.pop(self._dice.randrange(len(self._given)))
        self._count += 1
        if self._count in self._lost:
            return [Answer(name, None)]
        return [Answer(name, _travel(self.workers[name].run(task)))]

    def trouble(self) -> str:
        return ""


def _travel(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy(tmp_path / "toy.bundle")


def _job(source: Path, target: Path, bundle: Bundle, reading: Reading) -> LongJob:
    options = EncoderOptions(reproducible=True)
    return LongJob(source, target, options, reading, LENGTH, identity(bundle), False)


def _share(
    source: Path,
    target: Path,
    bundle: Bundle,
    *,
    share: bool = True,
    lost: Sequence[int] = (),
    reading: Reading | None = None,
    hooks: Hooks | None = None,
) -> tuple[EnhanceSummary, Dispatcher]:
    job = _job(source, target, bundle, reading or Reading())
    made: list[Dispatcher] = []

    def fill(site: Site) -> Effort:
        setup = setup_for(job, site, bundle, share)
        room = Room(setup, source, lost)
        made.append(Dispatcher(job, site.work, room, site.hooks, index_of(source), site.expected))
        made[0].run(site.reader.source.notes())
        return Effort(workers=len(made[0].members), rerun=made[0].rerun)

    summary = make_film(job, bundle.passport.name, 2, hooks or Hooks(), fill)
    return summary, made[0]


def _alone(source: Path, target: Path, bundle: Bundle, **options: Any) -> EnhanceSummary:
    with closing(load_engine(bundle, threads=1)) as engine:
        return enhance_file(
            source,
            target,
            engine,
            segment_frames=LENGTH,
            engine_id=identity(bundle),
            **options,
        )


@pytest.mark.parametrize("share", [True, False], ids=["by path", "by packets"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.mp4", {"options": _OPEN, "audio": ["aac"]}),
        ("in.ts", {"options": _OPEN, "time_base": _FRAME, "audio": ["aac"]}),
        ("in.mp4", {"options": {"preset": "fast", "bf": "2", "g": "1000"}}),
        ("in.mkv", {"pts": range(5000, 7640, 40), "time_base": Fraction(1, 1000)}),
        ("in.mp4", {"options": {"bf": "0", "g": "20", "x264-params": "intra-refresh=1"}}),
        ("in.avi", {"codec": "mpeg4", "options": {"bf": "2", "g": "9"}, "time_base": _FRAME}),
    ],
    ids=["open GOPs", "open GOPs, ts", "one key picture", "late", "rolling keys", "MPEG-4"],
)
def test_shared_work_is_that_of_one_machine(
    tmp_path: Path, bundle: Bundle, name: str, options: dict[str, Any], share: bool
) -> None:
    source = film(tmp_path / name, **options)
    whole = _alone(source, tmp_path / "whole.mp4", bundle)
    summary, dispatcher = _share(source, tmp_path / "out.mp4", bundle, share=share, lost=(2, 5))
    assert packets(tmp_path / "out.mp4") == packets(tmp_path / "whole.mp4")
    assert (summary.frames, summary.notes) == (66, whole.notes)
    assert (summary.workers, summary.segments_rerun) == (3, 2)
    assert sum("was lost; segment" in event for event in summary.events) == 2
    assert len(summary.events) == 2 and dispatcher.members == {"a", "b", "c"}
    assert not work_path(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("share", [True, False], ids=["by path", "by bytes"])
def test_a_film_without_times_is_read_from_its_start_by_all(
    tmp_path: Path, bundle: Bundle, share: bool
) -> None:
    source = film(tmp_path / "in.h264", options={"bf": "0", "g": "12"}, time_base=_FRAME)
    assert index_of(source) is None
    whole = _alone(source, tmp_path / "whole.mp4", bundle)
    summary, _ = _share(source, tmp_path / "out.mp4", bundle, share=share, lost=(3,))
    assert packets(tmp_path / "out.mp4") == packets(tmp_path / "whole.mp4")
    assert summary.notes == whole.notes != []


@pytest.mark.parametrize("share", [True, False], ids=["by path", "by packets"])
def test_packets_that_promise_too_much_are_found_out(
    tmp_path: Path, bundle: Bundle, share: bool
) -> None:
    """One picture cannot be decoded, which nobody sees before: all frames after it move up."""
    source = film(tmp_path / "in.avi", codec="mpeg4", options={"g": "1"}, time_base=_FRAME)
    data = bytearray(source.read_bytes())
    at = [i for i in range(len(data)) if data.startswith(b"00dc", i)][33]
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = b"\xff" * size
    source.write_bytes(bytes(data))
    index = index_of(source)
    assert index is not None and index.frames == 66
    whole = _alone(source, tmp_path / "whole.mp4", bundle, keep_damaged=True)
    target = tmp_path / "out.mp4"
    summary, _ = _share(source, target, bundle, share=share, reading=Reading(keep_damaged=True))
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert (summary.frames, summary.notes) == (65, whole.notes)
    assert any("do not tell its frames" in event for event in summary.events)
    with pytest.raises(InputError, match=r"is damaged: .*--keep-damaged"):
        _share(source, tmp_path / "no.mp4", bundle, share=share)


def test_machines_and_one_alone_take_turns(tmp_path: Path, bundle: Bundle) -> None:
    source, target = film(tmp_path / "in.mp4", audio=["aac"]), tmp_path / "out.mp4"
    _alone(source, tmp_path / "whole.mp4", bundle)
    cancel = threading.Event()
    hooks = Hooks(lambda done, of: cancel.set() if done >= 30 else None, cancel)
    summary, _ = _share(source, target, bundle, hooks=hooks)
    assert summary.interrupted and summary.kept_frames >= 30
    cancel.clear()
    hooks = Hooks(lambda done, of: cancel.set() if done > summary.kept_frames else None, cancel)
    alone = _alone(source, target, bundle, cancel=cancel, on_progress=hooks.on_progress)
    assert alone.interrupted and alone.resumed_frames == summary.kept_frames
    # A gap before what is there is filled in, whoever does it.
    (work_path(target) / "segment-000001.acfseg").unlink()
    last, _ = _share(source, target, bundle)
    assert last.frames == 66 and last.resumed_frames >= 20
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_one_alone_fills_gaps_that_machines_left(tmp_path: Path, bundle: Bundle) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    _alone(source, tmp_path / "whole.mp4", bundle)
    cancel = threading.Event()
    hooks = Hooks(lambda done, of: cancel.set() if done >= 46 else None, cancel)
    _share(source, target, bundle, hooks=hooks)
    kept = work_path(target)
    for number in (0, 3):
        (kept / f"segment-{number:06d}.acfseg").unlink(missing_ok=True)
    summary = _alone(source, target, bundle)
    assert summary.frames == 66 and summary.resumed_frames > 0
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_a_segment_that_kills_its_machines_ends_the_run(tmp_path: Path, bundle: Bundle) -> None:
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(InputError, match=r"was lost with its machine 4 times"):
        _share(source, target, bundle, lost=range(2, 40))


def test_a_machine_with_other_versions_is_left_out(tmp_path: Path, bundle: Bundle) -> None:
    source = film(tmp_path / "in.mp4")
    job = _job(source, tmp_path / "out.mp4", bundle, Reading())
    setups: list[Setup] = []

    def fill(site: Site) -> Effort:
        setups.append(setup_for(job, site, bundle, True))
        return Effort()

    make_film(job, "toy", 2, Hooks(), fill)
    assert Worker(setups[0]).hello().refusal == ""
    other = replace(setups[0], versions={**setups[0].versions, "av": "1.0"})
    assert "not 1.0" in Worker(other).hello().refusal
    elsewhere = replace(setups[0], path=str(tmp_path / "gone.mp4"))
    assert not Worker(elsewhere).hello().has_film and Worker(setups[0]).hello().has_film
    source.write_bytes(source.read_bytes()[:-1] + b"x")
    assert not Worker(setups[0]).hello().has_film


def test_segments_that_do_not_fit_together_are_told_apart(tmp_path: Path) -> None:
    def segment(number: int, head: Sequence[int], tail: Sequence[int]) -> Segment:
        marks = [tuple(Mark(crc, crc) for crc in crcs) for crcs in (tail, head)]
        return Segment("job", number, number, (), b"", 0, marks[0], True, marks[1])

    with WorkFolder(tmp_path / "out.mp4") as work:
        work.add(segment(0, [], [1, 2]))
        work.add(segment(1, [1, 2], [3, 4]))
        work.add(segment(3, [5, 6], [7]))
        assert [work.torn(number) for number in range(5)] == [None] * 5
        work.add(segment(2, [3, 4], [5, 5]))
        assert work.torn(2) == 3
        work.drop(3)
        assert work.torn(2) is None and sorted(work.kept) == [0, 1, 2]
        assert Segment.loads(segment(2, [3], [5]).dumps()) == segment(2, [3], [5])
