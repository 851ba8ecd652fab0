"""Who makes which segment, and what happens to those of a machine that went away."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from acf_edge.errors import InputError
from acf_edge.stream.batch.index import Cutter, FilmIndex
from acf_edge.stream.batch.long import Hooks, LongJob, whole
from acf_edge.stream.batch.segment import MARKS, Segment, SegmentError
from acf_edge.stream.batch.task import Outcome, Task
from acf_edge.stream.batch.work import Ending, WorkFolder

# A segment whose machine went away so often is what makes them go.
_MOST_LOSSES = 3
_WAIT = 0.3


@dataclass(frozen=True, slots=True)
class Member:
    """A machine that waits for a task.

    Attributes:
        name: of the machine, different for each.
        host: its name for people.
        has_film: it can read the film itself.
    """

    name: str
    host: str
    has_film: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a machine.

    Attributes:
        member: its name.
        outcome: None if the machine, or what it made, was lost.
    """

    member: str
    outcome: Outcome | None


class Pool(Protocol):
    """Machines that make segments, one at a time each."""

    def ready(self) -> Sequence[Member]:
        """Those that wait for a task; new ones may have come."""
        ...

    def give(self, member: Member, task: Task) -> None:
        """Let a waiting machine make a segment."""
        ...

    def collect(self, timeout: float) -> Sequence[Answer]:
        """What came back, after at most ``timeout`` seconds of waiting."""
        ...

    def trouble(self) -> str:
        """Why there is no machine left, once there is no hope of one; else empty."""
        ...


class Dispatcher:
    """Hands out the segments that are not there, front to back.

    Args:
        job: what is to be done.
        work: takes the segments.
        pool: the machines.
        hooks: for progress and for what the user should read.
        index: of the film; None if its packets do not tell what its frames will be.
        expected: frames of the film, for the progress.

    Attributes:
        rerun: tasks that were given out again because a machine was lost.
        busy: seconds of decoding, inference and encoding of all machines.
        members: names of those that made a segment.
    """

    def __init__(
        self,
        job: LongJob,
        work: WorkFolder,
        pool: Pool,
        hooks: Hooks,
        index: FilmIndex | None,
        expected: int | None,
    ) -> None:
        self._job, self._work, self._pool, self._hooks = job, work, pool, hooks
        self._index, self._expected = index, expected
        self._cutter = Cutter(job.source)
        self._given: dict[str, tuple[int, Member, FilmIndex | None]] = {}
        self._again: deque[int] = deque()
        self._next = 0
        self._losses: Counter[int] = Counter()
        self.rerun = 0
        self.busy = [0.0, 0.0, 0.0]
        self.members: set[str] = set()

    def run(self, notes: list[str]) -> None:
        """Until the film is whole, or somebody cancels.

        Args:
            notes: on the film, where its packets tell everything else.

        Raises:
            InputError: the film is damaged, the disk is full, no machine is left.
        """
        try:
            if self._index is not None and not self._fits(self._index):
                self._distrust(len(self._work.kept))
            if self._index is not None and self._work.ending is None:
                self._work.end(Ending(self._index.frames, 0, notes))
            while not whole(self._work) and not self._hooks.cancelled:
                self._hand_out()
                for answer in self._pool.collect(_WAIT):
                    self._receive(answer)
                self._hooks.progress(self._work.frames, self._expected)
                trouble = "" if self._given else self._pool.trouble()
                if trouble and not whole(self._work):
                    raise InputError(trouble, "Bring a machine back and run again.")
        finally:
            self._cutter.close()

    def _fits(self, index: FilmIndex) -> bool:
        """Whether the segments that are there have the frames that the packets promise."""
        length = self._job.segment_frames
        return all(
            kept.clean
            and tuple(sorted(kept.shown)) == index.shown(number * length, (number + 1) * length)
            for number, kept in self._work.kept.items()
        )

    def _hand_out(self) -> None:
        for member in self._pool.ready():
            number = self._choose()
            if number is None:
                return
            self._given[member.name] = (number, member, self._index)
            self._pool.give(member, self._task(number, member))

    def _choose(self) -> int | None:
        under_way = {number for number, _, _ in self._given.values()}
        while self._again:
            number = self._again.popleft()
            if number not in self._work.kept and number not in under_way:
                return number
        while self._next in self._work.kept or self._next in under_way:
            self._next += 1
        ending = self._work.ending
        if ending is not None and self._next * self._job.segment_frames >= ending.frames:
            return None
        self._next += 1
        return self._next - 1

    def _task(self, number: int, member: Member) -> Task:
        if self._index is None:
            return Task(number)
        length = self._job.segment_frames
        first = number * length
        head = min(MARKS, length, first)
        stretch = self._index.stretch(first - head, min(first + length, self._index.frames))
        task = Task(number, stretch.entry, stretch.shown, head, stretch.durations)
        if member.has_film:
            return task
        cut = self._cutter.cut(stretch)
        return Task(
            number,
            stretch.entry,
            stretch.shown,
            head,
            stretch.durations,
            cut.content,
            cut.shown,
        )

    def _receive(self, answer: Answer) -> None:
        number, member, index = self._given.pop(answer.member)
        outcome = answer.outcome
        if outcome is None:
            self._lost(number, member)
        elif index is not self._index:
            self._again.append(number)  # made by an index that proved wrong
        elif outcome.error[0]:
            raise InputError(*outcome.error)
        elif outcome.differs:
            self._distrust(number)
        else:
            self._accept(member, outcome)

    def _lost(self, number: int, member: Member) -> None:
        self.rerun += 1
        self._losses[number] += 1
        if self._losses[number] > _MOST_LOSSES:
            raise InputError(
                f"Segment {number} was lost with its machine {self._losses[number]} times.",
                "Look at the memory of the machines.",
            )
        self._hooks.tell(f"{member.host} was lost; segment {number} is made again")
        self._again.append(number)

    def _accept(self, member: Member, outcome: Outcome) -> None:
        work = self._work
        self.members.add(member.name)
        self.busy = [a + b for a, b in zip(self.busy, outcome.busy, strict=True)]
        if outcome.ended and work.ending is None:
            work.end(Ending(outcome.frames, outcome.corrupt, outcome.notes))
        if outcome.segment is None:
            return
        try:
            segment = Segment.loads(outcome.segment)
        except SegmentError:
            self._lost(outcome.number, member)
            return
        work.add(segment)
        torn = work.torn(segment.number)
        if torn is not None:
            self._distrust(torn)

    def _distrust(self, number: int) -> None:
        """What was made by the packets from segment ``number`` on is not to be relied on."""
        missing = next(n for n in range(len(self._work.kept) + 1) if n not in self._work.kept)
        self._hooks.tell(
            f"the packets of '{self._job.source}' do not tell its frames: every machine reads it "
            "from its start"
        )
        self._index = None
        self._work.drop(min(missing, number))
        self._next = 0
        self._again.clear()
