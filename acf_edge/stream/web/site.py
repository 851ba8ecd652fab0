"""What the page's handlers share: the stream's state, and who watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from acf_edge.stream.protocols import Controls, StreamInfo
from acf_edge.stream.web.hub import Hub, Numbered
from acf_edge.stream.web.metrics import Histogram
from acf_edge.stream.web.recorder import Recorder
from acf_edge.stream.web.settings import Settings
from acf_edge.stream.web.wire import Encoded

STATIC = Path(__file__).resolve().parent / "static"


class Watcher(Protocol):
    """Whoever gets moments: a WebSocket's viewer, or one MJPEG answer."""

    @property
    def watches(self) -> str | None:
        """The codec it wants now, or None."""

    def offer(self, encoded: Encoded) -> None:
        """Take a moment, or leave it out."""

    @property
    def pinned(self) -> Numbered | None:
        """The moment that a paused viewer looks at."""

    def notice(self, kind: str, text: str) -> None:
        """Take a text message; of two of a kind, the newer one counts."""


@dataclass(slots=True)
class Sent:
    """What went out to viewers, those that left included."""

    moments: int = 0
    skipped: int = 0
    bytes: int = 0
    viewers: int = 0
    most_at_once: int = 0
    acknowledged: Histogram = field(default_factory=Histogram)


@dataclass
class Site:
    """What the handlers share. Touched in the server's loop alone, but for what is noted.

    Attributes:
        settings: how the page is served.
        hub: thread-safe.
        controls: of the running stream, thread-safe; None where it has none.
        recorder: None without controls; thread-safe.
        watchers: all viewers.
        sent: counters.
        held_rung: the engine that a viewer chose; None = the governor chooses.
        source: number of the source that is shown.
        stats: the stream's statistics as last read.
        ending, tasks: see :meth:`answering`.
    """

    settings: Settings
    hub: Hub
    controls: Controls | None
    recorder: Recorder | None
    info: StreamInfo | None = None
    size: tuple[int, int] = (0, 0)
    source: int = 0
    watchers: set[Watcher] = field(default_factory=set)
    sent: Sent = field(default_factory=Sent)
    held_rung: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def join(self, watcher: Watcher) -> None:
        """One more watches."""
        self.watchers.add(watcher)
        self.sent.viewers += 1
        self.sent.most_at_once = max(self.sent.most_at_once, len(self.watchers))
        self.demand()

    def leave(self, watcher: Watcher) -> None:
        """One less."""
        self.watchers.discard(watcher)
        self.demand()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """While this lasts, the end of the stream ends the block, and nothing else."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.ending.is_set():
                raise
        finally:
            self.tasks.discard(task)

    def demand(self) -> None:
        """Tell the hub which codecs are watched."""
        self.hub.want(frozenset(each.watches for each in self.watchers if each.watches))

    def deliver(self, encoded: Encoded) -> None:
        """Offer a moment to everybody."""
        for watcher in self.watchers:
            watcher.offer(encoded)

    def find(self, number: int | None) -> Numbered | None:
        """The moment of that number, if at hand or on a paused screen; else the newest."""
        for watcher in self.watchers:
            pinned = watcher.pinned
            if pinned is not None and pinned.number == number:
                return pinned
        return self.hub.find(number)

    def tell(self, kind: str, message: Mapping[str, Any]) -> None:
        """Send everybody a text message."""
        text = json.dumps({"t": kind, **message}, default=str)
        for watcher in self.watchers:
            watcher.notice(kind, text)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether fresh frames come, and the words for it."""
        age = self.hub.age
        state = self.source_stats(self.stats).get("state")
        fresh = age is not None and age <= self.settings.stale
        good = fresh and state not in ("held", "failed", "ended")
        status = "ok" if good else "starting" if age is None else "lost" if fresh else "stale"
        return good, {
            "status": status,
            "source": state or ("live" if fresh else "unknown"),
            "seconds_since_frame": None if age is None else round(age, 3),
        }

    def source_stats(self, stats: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of the statistics on the source that is shown."""
        sources = stats.get("sources") or ()
        return sources[self.source] if self.source < len(sources) else {}

    @property
    def aspect(self) -> float:
        """Width of a pixel by its height."""
        return float(self.info.aspect) if self.info and self.info.aspect else 1.0

    def hello(self) -> dict[str, Any]:
        """What a page needs to know first."""
        info = self.info
        return {
            "title": info.title if info else "",
            "live": bool(info and info.live),
            "notes": list(info.notes) if info else [],
            "hdr": bool(info and info.colour.hdr),
            "before": [info.width, info.height] if info else [0, 0],
            "after": list(self.size),
            "aspect": self.aspect,
            "rungs": list(self.controls.rungs()) if self.controls else [],
            "held_rung": self.held_rung,
            "record": self.recorder is not None,
            "save": str(self.settings.save) if self.settings.save else None,
            "now": time.monotonic(),
        }

    def page_state(self) -> dict[str, Any]:
        """What changes, and is shown beside the stream's statistics."""
        running = self.recorder.running if self.recorder else None
        return {
            "viewers": len(self.watchers),
            "source": self.source,
            "held_rung": self.held_rung,
            "recording": None
            if running is None
            else {"name": running.path.name, "seconds": time.monotonic() - running.began},
        }

    async def refresh(self) -> Mapping[str, Any]:
        """Read the stream's statistics anew."""
        if self.controls is not None:
            self.stats = await asyncio.to_thread(self.controls.stats)
        return self.stats


SITE = web.AppKey("site", Site)
