"""The machines of a Ray cluster as makers of segments."""

from __future__ import annotations

import importlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from acf_edge.engine.bundle import PASSPORT_FILE, Bundle, open_bundle
from acf_edge.errors import InputError, MissingExtraError
from acf_edge.files import explain_os_error
from acf_edge.resources import default_bundle
from acf_edge.stream.batch.dispatch import Answer, Dispatcher, Member
from acf_edge.stream.batch.index import index_of
from acf_edge.stream.batch.long import Effort, Hooks, LongJob, Site, make_film
from acf_edge.stream.batch.manifest import Fingerprint, versions
from acf_edge.stream.batch.task import Hello, Setup, Task
from acf_edge.stream.batch.worker import Worker
from acf_edge.stream.fields import OFF
from acf_edge.stream.pipeline import StageSeconds
from acf_edge.stream.summary import EnhanceSummary

_LOOK_ROUND = 3.0  # seconds between two looks for new machines
_PATIENCE = 60.0  # seconds without a machine before giving up
_MOST_FAILURES = 3  # of one machine
_KNOCK = 5.0  # seconds to wait for an answer at the cluster's address
_FAREWELL = 3.0  # seconds that idle workers have to tidy up
_PART = 8 << 20  # bytes of the film that travel at once


def enhance_on_cluster(
    job: LongJob,
    bundle: Bundle | Path | str | None,
    hooks: Hooks,
    *,
    address: str = "auto",
    share: bool = True,
) -> EnhanceSummary:
    """Enhance a video on all machines of a Ray cluster.

    The result is that of this machine alone. Each machine needs this version of
    acf-edge, nothing else: engine and packets travel.

    Args:
        job: what is to be done.
        bundle: the engine; None = the shipped one.
        hooks: how to speak with the outside.
        address: of the cluster (``HOST:PORT``); ``"auto"`` = the one that this
            machine belongs to.
        share: let machines that can read the input by its path do so.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: no cluster at that address, no machine of use; see
            :func:`acf_edge.stream.enhance_file`.
    """
    ray = _import_ray()
    opened = bundle
    if not isinstance(opened, Bundle):
        opened = open_bundle(default_bundle() if opened is None else opened)
    engine = opened

    def fill(site: Site) -> Effort:
        setup = setup_for(job, site, engine, share)
        # Fields are rebuilt from those around them: packets do not tell the frames.
        packets_tell = job.reading.deinterlace == OFF
        index = index_of(job.source) if packets_tell else None
        with _connected(ray, address):
            pool = RayPool(ray, setup, job.source, hooks)
            dispatcher = Dispatcher(job, site.work, pool, hooks, index, site.expected)
            try:
                dispatcher.run(site.reader.source.notes())
            finally:
                pool.close()
        busy = StageSeconds(*dispatcher.busy)
        return Effort(busy, len(dispatcher.members), dispatcher.rerun)

    return make_film(job, engine.passport.name, engine.passport.scale, hooks, fill)


def setup_for(job: LongJob, site: Site, bundle: Bundle, share: bool) -> Setup:
    """What every machine must know of a film; see :func:`enhance_on_cluster`.

    Raises:
        InputError: the source or the bundle cannot be read.
    """
    files = {name: bundle.read(name) for name in bundle.passport.files}
    return Setup(
        path=str(job.source.resolve()),
        print_=Fingerprint.of(job.source),
        reading=job.reading,
        job=site.work.job,
        shape=site.shape,
        look=site.reader.source.look,
        segment_frames=job.segment_frames,
        versions=versions(),
        bundle={**files, PASSPORT_FILE: bundle.passport.dumps()},
        share=share,
    )


def _import_ray() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("--cluster", "ray", "cluster") from error


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Join the cluster for a while; a connection that is there already is used and kept."""
    if ray.is_initialized():
        yield
        return
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        where = "on this machine" if address == "auto" else f"at '{address}'"
        raise InputError(
            f"No Ray cluster answers {where}.",
            "Start one: 'ray start --head' here, then what it prints on every other machine.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray waits for minutes for an address where nobody is.

    Raises:
        OSError: nobody is there.
        ValueError: it is no address.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK):
            pass


@dataclass(slots=True)
class _Machine:
    """One machine of the cluster and its worker.

    Attributes:
        actor: handle of the worker.
        host: its name, for messages.
        under_way: what is awaited of it; None while it waits.
        hello: not introduced yet.
        has_film: see :class:`Hello`.
        sent: the film has been sent to it.
    """

    actor: Any
    host: str
    under_way: Any
    hello: bool = True
    has_film: bool = False
    sent: bool = False


class RayPool:
    """One worker for each machine of the cluster, also for those that come later.

    Args:
        ray: the module.
        setup: for the workers.
        film: the source, as this machine reads it.
        hooks: for what the user should read.
    """

    def __init__(self, ray: Any, setup: Setup, film: Path, hooks: Hooks) -> None:
        self._ray, self._film, self._hooks = ray, film, hooks
        self._setup = ray.put(setup)
        self._worker = ray.remote(Worker)
        self._machines: dict[str, _Machine] = {}
        self._parts: list[Any] = []
        self._failures: Counter[str] = Counter()
        self._refusals: dict[str, str] = {}
        self._looked = -_LOOK_ROUND
        self._alone_since = time.monotonic()

    def ready(self) -> Sequence[Member]:
        """See :class:`acf_edge.stream.batch.dispatch.Pool`."""
        self._look_round()
        if any(not machine.hello for machine in self._machines.values()):
            self._alone_since = time.monotonic()
        return [
            Member(name, machine.host, machine.has_film)
            for name, machine in self._machines.items()
            if machine.under_way is None
        ]

    def _look_round(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_ROUND:
            return
        self._looked = now
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        for node in self._ray.nodes():
            name, cores = node["NodeID"], int(node["Resources"].get("CPU", 0))
            if not node["Alive"] or not cores or name in self._machines:
                continue
            if name in self._refusals or self._failures[name] >= _MOST_FAILURES:
                continue
            actor = self._worker.options(
                num_cpus=1, max_restarts=0, scheduling_strategy=strategy(name, soft=False)
            ).remote(self._setup, cores)
            host = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
            self._machines[name] = _Machine(actor, host, actor.hello.remote())

    def give(self, member: Member, task: Task) -> None:
        """See :class:`acf_edge.stream.batch.dispatch.Pool`."""
        machine = self._machines[member.name]
        if task.shown is None and not machine.has_film and not machine.sent:
            for number, part in enumerate(self._film_parts()):
                machine.actor.fetch.remote(part, number == 0)
            machine.sent = True
        machine.under_way = machine.actor.run.remote(task)

    def _film_parts(self) -> list[Any]:
        if not self._parts:
            try:
                with self._film.open("rb") as file:
                    while part := file.read(_PART):
                        self._parts.append(self._ray.put(part))
            except OSError as error:
                raise explain_os_error(error, self._film) from error
        return self._parts

    def collect(self, timeout: float) -> Sequence[Answer]:
        """See :class:`acf_edge.stream.batch.dispatch.Pool`."""
        awaited = {
            machine.under_way: name
            for name, machine in self._machines.items()
            if machine.under_way is not None
        }
        if not awaited:
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(list(awaited), num_returns=1, timeout=timeout)
        answers = []
        for reference in done:
            answer = self._answer(awaited[reference])
            if answer is not None:
                answers.append(answer)
        return answers

    def _answer(self, name: str) -> Answer | None:
        machine = self._machines[name]
        errors = self._ray.exceptions
        try:
            value = self._ray.get(machine.under_way)
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except errors.RayError as error:
            self._lose(name, error)
            return None if machine.hello else Answer(name, None)
        machine.under_way = None
        if not isinstance(value, Hello):
            return Answer(name, value)
        machine.hello, machine.has_film = False, value.has_film
        if value.refusal:
            self._refusals[name] = f"{machine.host}: {value.refusal}"
            self._hooks.tell(f"{machine.host} was left out: {value.refusal}")
            self._dismiss(name)
        return None

    def _lose(self, name: str, error: Exception) -> None:
        machine = self._machines[name]
        self._failures[name] += 1
        if machine.hello:
            text = " ".join(str(error).split())
            self._refusals[name] = f"{machine.host}: {text[:200]}"
            self._hooks.tell(f"{machine.host} gave no worker: {text[:200]}")
        self._dismiss(name)

    def _dismiss(self, name: str) -> None:
        machine = self._machines.pop(name)
        self._ray.kill(machine.actor)

    def trouble(self) -> str:
        """See :class:`acf_edge.stream.batch.dispatch.Pool`."""
        if time.monotonic() - self._alone_since < _PATIENCE:
            return ""
        why = f" ({'; '.join(self._refusals.values())})" if self._refusals else ""
        return f"No machine of the cluster is there to make segments{why}."

    def close(self) -> None:
        """Stop all workers, whatever they do."""
        idle = [m.actor.close.remote() for m in self._machines.values() if m.under_way is None]
        if idle:
            self._ray.wait(idle, num_returns=len(idle), timeout=_FAREWELL)
        for name in list(self._machines):
            self._dismiss(name)
