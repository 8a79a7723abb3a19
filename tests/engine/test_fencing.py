"""What keeps two daemons, and two attempts of a job, from getting into each other's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searchd.errors import Fenced
from searchd.store import open_store
from searchd.wire import LEASE_S, Beat
from tests.support.world import World, spec


def busy(folder: Path) -> tuple[World, str, Any]:
    """A world in which one worker runs a job; with the job."""
    world = World(folder, slots=1)
    study = world.submit(spec(budget={"trials": 3}, search={"scheduler": "fifo", "searcher": "random", "R": 30}))
    while world.fleet.workers[0].job is None or world.fleet.workers[0].step < 1:
        world.tick(1.0)
        world.round()
        world.fleet.workers[0].work()
    world.round()
    return world, study, world.fleet.workers[0].job


def test_a_job_that_is_sent_again_is_fenced(tmp_path: Path) -> None:
    """A first attempt has no fence; once it was lost, its worker finds the number of the next one."""
    world, study, job = busy(tmp_path)
    assert world.broker.fences == {}
    world.tick(LEASE_S + 1, beat=False)
    world.round()
    world.round()
    assert [e.payload["attempt"] for e in world.events(study, "lost")] == [1]
    assert world.broker.fences == {job.id: 2}
    world.close()


def test_a_daemon_that_was_stopped_blames_no_worker(tmp_path: Path) -> None:
    """Stopped just after it asked the broker, for longer than a lease: the beats that wait are heard before anybody is
    judged."""
    world, study, job = busy(tmp_path)
    world.round()
    transport = world.loop._transport
    receive = transport.receive

    def stopped(max: int = 500, block_s: float = 0.2) -> Any:
        answer = receive(max, block_s)
        world.time += LEASE_S * 3
        world.broker.push(Beat(study=study, job=job.id, trial=job.trial, attempt=1))
        return answer

    transport.receive = stopped  # type: ignore[method-assign]
    world.round()
    transport.receive = receive  # type: ignore[method-assign]
    world.round()
    world.tick(1.0)
    world.round()
    assert world.events(study, "lost") == []
    world.close()


def test_what_a_former_daemon_took_is_recorded(tmp_path: Path) -> None:
    """A daemon that took messages from the broker and ended without a word (it was fenced) holds nothing back: the one
    that leads finds them by its next look."""
    world, study, _ = busy(tmp_path)
    world.round()
    former = world._loop()
    world.fleet.workers[0].work()
    taken = former._transport.receive(block_s=0.0)
    assert taken
    with world.store.reading() as reader:
        before = reader.counts(study)["reports"]
    for _ in range(3):
        world.tick(2.0)
        world.round()
    with world.store.reading() as reader:
        assert reader.counts(study)["reports"] > before
    assert world.run(study) == "done"
    world.check(study)
    world.close()


def test_after_an_outage_stops_are_asked_for_again(tmp_path: Path) -> None:
    """A broker that comes back may have forgotten whom to stop."""
    from searchd.errors import Unreachable

    world, study, job = busy(tmp_path)
    world.loop.stop_trial(study, job.trial)
    world.round()
    assert job.id in world.broker.stops
    transport = world.loop._transport
    receive = transport.receive

    def away(**_: object) -> Any:
        raise Unreachable("away")

    transport.receive = away  # type: ignore[method-assign]
    assert world.loop.round(block_s=0.0) is None
    world.broker.stops.clear()
    transport.receive = receive  # type: ignore[method-assign]
    world.round()
    assert job.id in world.broker.stops
    world.close()


def test_a_fenced_daemon_ends_and_writes_nothing(tmp_path: Path) -> None:
    """Its next round that has something to record raises Fenced; the log is as the new leader left it."""
    world, study, _ = busy(tmp_path)
    world.store.inner.lead("old")
    other = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    other.lead("new")
    with other.reading() as reader:
        before = reader.events(study)
    world.fleet.workers[0].work()
    world.tick(1.0)
    with pytest.raises(Fenced, match="new"):
        world.loop.round(block_s=0.0)
    with other.reading() as reader:
        assert reader.events(study) == before
    other.close()
    world.close()
