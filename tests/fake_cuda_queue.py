"""Streams, events, captures and graphs of the stand-in GPU, and who runs when.

What was queued is a graph of steps: each waits for the one before it on its
stream and for the events that its stream was told to wait for, and for nothing
else. Whatever order that graph allows may be taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from fake_cuda_memory import Memory

Work = Callable[[Memory], None]


@dataclass(eq=False)
class Step:
    """One piece of queued work; ``work`` None only marks a place."""

    label: str
    work: Work | None
    after: list[Step]
    number: int
    done: bool = False
    finished_at: float = 0.0


@dataclass(eq=False)
class Node:
    """One piece of captured work."""

    label: str
    work: Work | None
    after: tuple[Node, ...]


@dataclass(eq=False)
class Capture:
    """What is being captured: begun on one stream, joined by others through events."""

    origin: FakeStream
    mode: int
    thread: int
    nodes: list[Node] = field(default_factory=list)
    tips: dict[FakeStream, tuple[Node, ...]] = field(default_factory=dict)
    invalid: bool = False


@dataclass(eq=False)
class FakeStream:
    """A stream: its last step orders what comes next."""

    blocking: bool
    last: Step | None = None
    capture: Capture | None = None


@dataclass(eq=False)
class FakeEvent:
    """A mark: of a step, or inside a capture."""

    timing: bool
    mark: Step | None = None
    captured: tuple[Capture, tuple[Node, ...]] | None = None


@dataclass(eq=False)
class FakeGraph:
    """Captured work; as it can be launched, with its last launch."""

    nodes: list[Node]
    ready: bool = False
    last: Step | None = None


class Queue:
    """All steps that were queued and did not run.

    Args:
        memory: what the steps work on.
        order: ``"lazy"``: nothing runs before somebody waits for it, and then only
            what that needs, the youngest first; ``"eager"``: everything runs at
            once; ``"random"``: something runs now and then.
        rng: chooses where CUDA leaves the choice.
    """

    def __init__(self, memory: Memory, order: str, rng: np.random.Generator) -> None:
        if order not in ("lazy", "eager", "random"):
            raise ValueError(order)
        self.memory = memory
        self.order = order
        self.rng = rng
        self.pending: list[Step] = []
        self.clock = 0.0
        self.ran: list[str] = []
        self._number = 0

    def add(self, label: str, work: Work | None, after: Iterable[Step | None]) -> Step:
        """Queue a step."""
        waits = [step for step in after if step is not None and not step.done]
        self._number += 1
        step = Step(label, work, waits, self._number)
        self.pending.append(step)
        return step

    def breathe(self) -> None:
        """What the GPU does meanwhile, on its own: called at every call of the driver."""
        if self.order == "eager":
            self.finish(self.pending)
        elif self.order == "random":
            for _ in range(int(self.rng.integers(0, 4))):
                self.progress()

    def progress(self) -> None:
        """Run one step that may run, if there is one."""
        ready = [step for step in self.pending if all(one.done for one in step.after)]
        if ready:
            self._run(ready[int(self.rng.integers(len(ready)))])

    def step_towards(self, wanted: Iterable[Step | None]) -> None:
        """Run one step that ``wanted`` needs: who asks again and again gets there."""
        ready = [one for one in _ancestors(wanted) if all(before.done for before in one.after)]
        if ready:
            self._run(max(ready, key=lambda step: step.number))

    def finish(self, wanted: Iterable[Step | None]) -> None:
        """Run what ``wanted`` needs, and no more than it must (in random order: perhaps more)."""
        needed = _ancestors(wanted)
        while needed:
            ready = [step for step in needed if all(one.done for one in step.after)]
            if self.order == "random":
                if self.rng.random() < 0.3:
                    self.progress()
                    needed = {step for step in needed if not step.done}
                    continue
                ready.sort(key=lambda step: step.number)
                chosen = ready[int(self.rng.integers(len(ready)))]
            elif self.order == "lazy":
                chosen = max(ready, key=lambda step: step.number)
            else:
                chosen = min(ready, key=lambda step: step.number)
            self._run(chosen)
            needed.discard(chosen)

    def launch(self, graph: FakeGraph, after: list[Step | None]) -> Step:
        """Queue all nodes of a graph; the step that is done when all are."""
        start = self.add("", None, [*after, graph.last])
        steps: dict[Node, Step] = {}
        # Nodes are listed in the order of capture, so what a node waits for comes before it.
        for node in graph.nodes:
            steps[node] = self.add(node.label, node.work, [start, *(steps[n] for n in node.after)])
        graph.last = self.add("", None, [start, *steps.values()])
        return graph.last

    def _run(self, step: Step) -> None:
        self.pending.remove(step)
        if step.work is not None:
            step.work(self.memory)
        if step.label:
            self.ran.append(step.label)
        self.clock += 0.25
        step.done, step.finished_at = True, self.clock
        step.after = []


def _ancestors(wanted: Iterable[Step | None]) -> set[Step]:
    found: set[Step] = set()
    open_steps = [step for step in wanted if step is not None]
    while open_steps:
        step = open_steps.pop()
        if not step.done and step not in found:
            found.add(step)
            open_steps += step.after
    return found


def begin(stream: FakeStream, mode: int) -> None:
    """Begin a capture on ``stream``."""
    capture = Capture(stream, mode, threading.get_ident())
    capture.tips[stream] = ()
    stream.capture = capture


def add_node(stream: FakeStream, label: str, work: Work | None) -> None:
    """Capture a piece of work."""
    capture = stream.capture
    assert capture is not None
    node = Node(label, work, capture.tips[stream])
    capture.nodes.append(node)
    capture.tips[stream] = (node,)


def join(stream: FakeStream, event: FakeEvent) -> str:
    """Let a capture wait for a mark; CUDA's word on it."""
    if event.captured is None:
        return "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"
    capture, nodes = event.captured
    if stream.capture is None:
        stream.capture = capture
        capture.tips[stream] = ()
    if stream.capture is not capture:
        return "CUDA_ERROR_STREAM_CAPTURE_MERGE"
    capture.tips[stream] = tuple(dict.fromkeys((*capture.tips[stream], *nodes)))
    return "CUDA_SUCCESS"


def end(stream: FakeStream) -> tuple[str, FakeGraph | None]:
    """End a capture on the stream that it began on."""
    capture = stream.capture
    if capture is None:
        return "CUDA_ERROR_ILLEGAL_STATE", None
    if capture.mode != 2 and capture.thread != threading.get_ident():
        return "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", None
    if capture.origin is not stream:
        return "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", None
    reached: set[Node] = set()
    walk = list(capture.tips[stream])
    while walk:
        node = walk.pop()
        if node not in reached:
            reached.add(node)
            walk += node.after
    # A mark that nobody waits for leaves its stream unjoined; so does work after the mark.
    unjoined = any(set(tips) - reached for tips in capture.tips.values())
    for one in capture.tips:
        one.capture = None
    if capture.invalid:
        return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", None
    if unjoined:
        return "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", None
    return "CUDA_SUCCESS", FakeGraph(capture.nodes)
