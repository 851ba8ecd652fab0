"""What a person sees of a running stream: one line that lives, then a summary."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from acf_edge.stream.live.stats import RunStats, SinkStats, SourceStats
from acf_edge.stream.live.summary import StreamSummary

_STYLES = {"opening": "yellow", "live": "green", "held": "red", "failed": "red", "ended": "dim"}


class LiveLine:
    """One line on stderr that always shows the present.

    Args:
        shown: False draws nothing.
    """

    def __init__(self, shown: bool) -> None:
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._shown = shown
        self._stopping = False

    def __enter__(self) -> LiveLine:
        self._draw(self._live.start)
        return self

    def _draw(self, how: Callable[[], None]) -> None:
        """A terminal that was closed ends no stream: nothing is drawn from then on."""
        if self._shown:
            try:
                how()
            except OSError:
                self._shown = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw(self._live.stop)

    def update(self, stats: RunStats) -> None:
        """Show these counters."""
        text = live_text(stats, self._stopping)
        self._draw(lambda: self._live.update(text, refresh=True))

    def stopping(self) -> None:
        """Say, from now on, that the request to stop has been heard."""
        self._stopping = True


class EventLog:
    """Lines on stderr where no line lives there: what was lost, what came back, what failed.

    Args:
        shown: False prints nothing.
    """

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._trouble: dict[tuple[str, int], str] = {}
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def update(self, stats: RunStats) -> None:
        """Print what has changed since the last time."""
        if not self._shown:
            return
        for number, source in enumerate(stats.sources):
            away = source.state == "held" or (source.state == "opening" and source.reason)
            word = "lost" if source.state == "held" else "waiting for it"
            trouble = word if away else "failed" if source.state == "failed" else ""
            if source.state == "ended":
                continue  # stopped while it was away: it did not come back
            self._tell(("source", number), source.uri, trouble, source.reason)
        for sink in stats.sinks:
            trouble = "failed" if sink.state == "failed" else ""
            self._tell(("sink", sink.number), sink.uri, trouble, sink.reason)

    def _tell(self, key: tuple[str, int], uri: str, trouble: str, reason: str) -> None:
        before = self._trouble.get(key, "")
        if trouble == before:
            return
        self._trouble[key] = trouble
        what = f"{trouble}: {reason}" if reason else trouble or "is there"
        _tell(self._console, f"{uri}: {what}")


def _tell(console: Console, line: str) -> None:
    """Print a line; a log on a full disk, or a closed terminal, ends no stream."""
    with contextlib.suppress(OSError):
        console.print(escape(line))


def live_text(stats: RunStats, stopping: bool = False) -> Text:
    """The counters as one line; what matters most stands first, for narrow terminals."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if stopping:
        text.append("finishing  ", "bold yellow")
    governor = stats.governor or {}
    for number, source in enumerate(stats.sources):
        if number:
            text.append(" | ", "dim")
        text.append(source.state, _STYLES.get(source.state, ""))
        text.append(f" {source.fps:.1f} fps", "cyan")
        text.append(_latency(source))
        if source.dropped:
            text.append(f"  dropped {source.dropped}", "yellow")
        if source.reconnects:
            text.append(f"  back {source.reconnects}x")
        if source.reason:
            text.append(f"  {source.reason}", "red")
    if len(governor.get("frames", ())) > 1:
        text.append(f"  {governor['name']}", "magenta")
        if governor.get("deadline_ms") is not None:
            seen = governor["in_time"] + governor["late"]
            if seen:
                text.append(f" {100 * governor['in_time'] / seen:.0f} % in time")
    for sink in stats.sinks:
        if sink.state == "failed":
            text.append(f"  {sink.uri} failed", "red")
        elif sink.dropped:
            text.append(f"  {sink.uri} dropped {sink.dropped}", "yellow")
    return text


def _latency(source: SourceStats) -> str:
    whole = source.latency_ms["end_to_end"]
    if whole["p50"] is None:
        return ""
    return f"  {whole['p50']:.0f}/{whole['p95']:.0f}/{whole['p99']:.0f} ms"


def print_summary(
    summary: StreamSummary, *, scale: int, as_json: bool = False, quiet: bool = False
) -> None:
    """Print what was done: JSON or a few lines to stdout; failures and notes to stderr.

    Args:
        summary: of the run.
        scale: of the engines.
        as_json: JSON instead of lines.
        quiet: only failures and notes.
    """
    if as_json:
        sys.stdout.write(json.dumps(summary.to_json(), indent=2) + "\n")
    elif not quiet:
        out = Console(highlight=False, soft_wrap=True)
        for line in summary_lines(summary, scale):
            out.print(escape(line))
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    parts: list[SourceStats | SinkStats] = [*summary.stats.sources, *summary.stats.sinks]
    for part in parts:
        if part.state == "failed":
            _tell(errors, f"failed: {part.uri}: {part.reason}")
    if summary.interrupted:
        _tell(errors, "interrupted: a file was not enhanced to its end")
    if not as_json:
        for note in summary.notes:
            _tell(errors, f"note: {note}")


def summary_lines(summary: StreamSummary, scale: int) -> list[str]:
    """The counters at the end as lines: each source, each of its sinks, the ladder."""
    stats = summary.stats
    lines = []
    for number, source in enumerate(stats.sources):
        size = f"{source.width}x{source.height} -> {source.width * scale}x{source.height * scale}"
        speed = source.frames / stats.seconds if stats.seconds else 0.0
        line = f"{source.uri}: {size}, {source.frames} frames in {stats.seconds:.1f} s"
        line += f" ({speed:.1f} fps)"
        if not source.width:
            line = f"{source.uri}: it never came, in {stats.seconds:.1f} s"
        for count, what in (
            (source.dropped, "dropped"),
            (source.held, "held"),
            (source.reconnects, "reconnects"),
        ):
            line += f", {count} {what}" if count else ""
        lines.append(line)
        whole = source.latency_total_ms["end_to_end"]
        if whole["p50"] is not None:
            values = ", ".join(f"{name} {value:.1f}" for name, value in whole.items())
            lines.append(f"  latency, ms: {values}")
        for sink in stats.sinks:
            if sink.source == number:
                dropped = f", {sink.dropped} dropped" if sink.dropped else ""
                lines.append(f"  {sink.uri}: {sink.frames} frames{dropped}")
    lines.append(_ladder_line(stats))
    return lines


def _ladder_line(stats: RunStats) -> str:
    governor = stats.governor
    if governor is None:
        return stats.engine
    used = {name: count for name, count in governor["frames"].items() if count}
    if len(used) < 2 and governor.get("deadline_ms") is None:
        return next(iter(used), stats.engine)
    parts = ", ".join(f"{name} {count}" for name, count in used.items())
    seen = governor["in_time"] + governor["late"]
    share = f"; {100 * governor['in_time'] / seen:.1f} % in time" if seen else ""
    return f"{parts}{share}"
