"""The real thing: two nodes of Ray on this machine, one of them taken away."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from long_films import LENGTH, film, packets
from toy_bundles import write_toy
from video_clips import read_clip

from acf_edge.engine import Bundle, load_engine
from acf_edge.errors import InputError, MissingExtraError
from acf_edge.stream import enhance_file
from acf_edge.stream.batch.cluster import RayPool, enhance_on_cluster
from acf_edge.stream.batch.dispatch import Member
from acf_edge.stream.batch.long import Hooks, LongJob
from acf_edge.stream.batch.manifest import identity
from acf_edge.stream.batch.reader import Reading
from acf_edge.stream.batch.task import Task
from acf_edge.stream.encoder import EncoderOptions

_MEMORY = 80_000_000


def _job(source: Path, target: Path, bundle: Bundle) -> LongJob:
    options = EncoderOptions(reproducible=True)
    return LongJob(source, target, options, Reading(), LENGTH, identity(bundle), False)


def _alone(source: Path, target: Path, bundle: Bundle, **options: Any) -> None:
    with closing(load_engine(bundle, threads=1)) as engine:
        enhance_file(
            source,
            target,
            engine,
            segment_frames=LENGTH,
            engine_id=identity(bundle),
            **options,
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": _MEMORY,
            "include_dashboard": False,
        },
    )
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def second(cluster: Any) -> Iterator[Any]:
    node = cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
    cluster.wait_for_nodes()
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node, allow_graceful=False)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False], ids=["by path", "by packets"])
def test_two_nodes_make_the_film_of_one(
    tmp_path: Path, cluster: Any, second: Any, share: bool
) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    source, target = film(tmp_path / "in.mp4", audio=["aac"]), tmp_path / "out.mp4"
    _alone(source, tmp_path / "whole.mp4", bundle)
    seen: list[int] = []
    hooks = Hooks(on_progress=lambda done, of: seen.append(done))
    summary = enhance_on_cluster(
        _job(source, target, bundle), bundle, hooks, address=cluster.address, share=share
    )
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert summary.workers in (1, 2) and summary.segments_rerun == 0
    assert summary.events == []
    assert seen == sorted(seen) and set(seen) >= {0, 66}
    assert not (tmp_path / "out.mp4.acf-work").exists()


def _await_death(actor: Any) -> None:
    import ray

    for _ in range(200):
        try:
            ray.get(actor.hello.remote(), timeout=0.5)
            time.sleep(0.2)
        except ray.exceptions.GetTimeoutError:
            continue
        except ray.exceptions.RayError:
            return
    pytest.fail("the worker of the removed node is still there")


@pytest.mark.slow
def test_what_a_removed_node_had_is_made_by_the_other(
    tmp_path: Path, cluster: Any, second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    source, target = film(tmp_path / "in.mp4", audio=["aac"]), tmp_path / "out.mp4"
    _alone(source, tmp_path / "whole.mp4", bundle)
    given: list[int] = []
    give, ready = RayPool.give, RayPool.ready

    def ready_together(self: RayPool) -> Sequence[Member]:
        members = ready(self)
        return members if given or len(members) == 2 else []

    def give_and_remove(self: RayPool, member: Member, task: Task) -> None:
        if member.name == second.node_id and not given:
            given.append(task.number)
            cluster.remove_node(second, allow_graceful=False)
            # Its worker lives on for a while: what it is given once it is dead is lost for sure.
            _await_death(self._machines[member.name].actor)
        give(self, member, task)

    monkeypatch.setattr(RayPool, "ready", ready_together)
    monkeypatch.setattr(RayPool, "give", give_and_remove)
    summary = enhance_on_cluster(
        _job(source, target, bundle), bundle, Hooks(), address=cluster.address
    )
    assert summary.segments_rerun == 1 and len(given) == 1
    assert f"was lost; segment {given[0]} is made again" in summary.events[0]
    assert packets(target) == packets(tmp_path / "whole.mp4")
    assert read_clip(target).numbers == list(range(66))


@pytest.mark.slow
def test_a_shared_run_can_be_stopped_and_gone_on_with_alone(tmp_path: Path, cluster: Any) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    cancel = threading.Event()
    hooks = Hooks(lambda done, of: cancel.set() if done >= 20 else None, cancel)
    summary = enhance_on_cluster(
        _job(source, target, bundle), bundle, hooks, address=cluster.address
    )
    assert summary.interrupted and 20 <= summary.kept_frames < 66
    _alone(source, target, bundle)
    _alone(source, tmp_path / "whole.mp4", bundle)
    assert packets(target) == packets(tmp_path / "whole.mp4")


@pytest.mark.slow
def test_the_command(tmp_path: Path, cluster: Any) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    words = ["enhance", str(source), str(target), "--engine", str(bundle.path), "--json"]
    words += ["--segment-frames", str(LENGTH), f"--cluster={cluster.address}"]
    done = subprocess.run(
        [sys.executable, "-m", "acf_edge", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["workers"], summary["segments"]) == (66, 1, 7)
    _alone(source, tmp_path / "whole.mp4", bundle)
    assert packets(target) == packets(tmp_path / "whole.mp4")


def test_ray_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    monkeypatch.setitem(sys.modules, "ray", None)
    job = _job(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", bundle)
    with pytest.raises(MissingExtraError, match=r"acf-edge\[cluster\]"):
        enhance_on_cluster(job, bundle, Hooks())
    assert not (tmp_path / "out.mp4.acf-work").exists()


def test_no_cluster_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")

    def refuses(**options: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify one.")

    monkeypatch.setattr(ray, "init", refuses)
    bundle = write_toy(tmp_path / "toy.bundle")
    job = _job(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", bundle)
    with pytest.raises(InputError, match=r"No Ray cluster answers on this machine.*ray start"):
        enhance_on_cluster(job, bundle, Hooks())
    assert not (tmp_path / "out.mp4.acf-work").exists()


def test_an_address_where_nobody_is_takes_no_minutes(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that no other takes it, and not listening
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        bundle = write_toy(tmp_path / "toy.bundle")
        job = _job(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", bundle)
        for wrong in (address, "nowhere:at-all"):
            with pytest.raises(InputError, match=f"No Ray cluster answers at '{wrong}'"):
                enhance_on_cluster(job, bundle, Hooks(), address=wrong)
