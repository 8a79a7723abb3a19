"""What a round asks of the database: counted in statements and transactions, which no load of the machine changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

import searchd.replay
from searchd.replay import walk
from searchd.wire import Begun, Report
from tests.support.world import World, spec

FIFO = {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 200, "eta": 3}


@contextmanager
def counted(world: World) -> Iterator[list[str]]:
    """The statements while the block lasts; a transaction that writes begins with `BEGIN IMMEDIATE`."""
    said: list[str] = []
    engine = world.store.inner._engine  # type: ignore[attr-defined]

    def note(*given: Any) -> None:
        said.append(given[2])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def writes(said: list[str]) -> int:
    return said.count("BEGIN IMMEDIATE")


def running(world: World, jobs: int = 2) -> list[Any]:
    """A study whose jobs have begun, and nothing waits to be done."""
    world.submit(spec(search=FIFO, budget={"trials": jobs}))
    world.tick(1.0)
    world.round()
    found = list(world.fleet.queue)
    assert len(found) == jobs
    for job in found:
        world.broker.push(Begun(**who(job)))
    world.round()
    world.round()
    return found


def who(job: Any) -> dict[str, Any]:
    return {"study": job.study, "job": job.id, "trial": job.trial, "attempt": job.attempt, "worker": "w0"}


def reports(world: World, jobs: list[Any], steps: range) -> None:
    for step in steps:
        for job in jobs:
            world.broker.push(Report(**who(job), step=step, metrics={"loss": 1.0 / step}))


def test_a_round_in_which_nothing_happens_asks_nothing(world: World) -> None:
    """While workers train, an idle daemon leaves the database alone."""
    running(world)
    with counted(world) as said:
        for _ in range(5):
            world.round()
    assert said == []


def test_a_batch_costs_as_many_statements_as_a_message(world: World) -> None:
    """200 reports of two jobs are one transaction with no more statements than two reports, give or take none."""
    jobs = running(world)
    reports(world, jobs, range(1, 2))
    with counted(world) as two:
        world.round()
    reports(world, jobs, range(2, 102))
    with counted(world) as many:
        world.round()
    assert writes(two) == writes(many) == 1
    assert len(many) == len(two) <= 12
    with world.store.reading() as reader:
        assert [row.step for row in reader.reports(jobs[0].study, 0)] == list(range(1, 102))
        assert reader.trial(jobs[0].study, 1).step == 101
        assert reader.counts(jobs[0].study)["duplicates"] == 0


def test_what_came_before_is_known_within_a_batch_and_after_it(world: World) -> None:
    """A report twice in one batch, and again in the next: recorded once, with the value that came first."""
    jobs = running(world)
    for value in (0.5, 0.7):
        for step in (3, 1, 2, 3):
            world.broker.push(Report(**who(jobs[0]), step=step, metrics={"loss": value + step}))
    world.round()
    world.broker.push(Report(**who(jobs[0]), step=2, metrics={"loss": 9.0}))
    world.round()
    with world.store.reading() as reader:
        found = {row.step: row.metrics["loss"] for row in reader.reports(jobs[0].study, 0)}
        assert found == {1: 1.5, 2: 2.5, 3: 3.5}
        assert reader.counts(jobs[0].study)["duplicates"] == 6


@pytest.mark.parametrize("slots", [2, 12])
def test_jobs_are_asked_for_and_sent_in_two_transactions(world: World, slots: int) -> None:
    """One transaction decides what runs in all free slots, one marks what was sent."""
    world.fleet.workers = [type(world.fleet.workers[0])(world.fleet, f"w{n}") for n in range(slots)]
    world.submit(spec(search=FIFO, budget={"trials": 50}))
    world.tick(1.0)
    world.loop._look(world.time, world.time)
    with counted(world) as said:
        world.loop._fill()
        world.loop._send(world.time)
    assert len(world.fleet.queue) == slots
    assert writes(said) == 2


def test_a_log_is_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay has one page of the log in memory at a time, and is what it is in one piece."""
    study = world.submit(spec(budget={"trials": 4}))
    world.run(study)
    whole = world.replay(study)
    monkeypatch.setattr(searchd.replay, "PAGE", 7)
    asked: list[int] = []
    with world.store.reading() as reader:
        events, real = reader.events(study), reader.events

        def page(*args: Any, **more: Any) -> Any:
            found = real(*args, **more)
            asked.append(len(found))
            return found

        reader.events = page
        assert list(walk(reader, study)) == events
    assert max(asked) == 7
    assert sum(asked) == len(events) == whole.events
    assert whole.equal
    assert world.replay(study) == whole
