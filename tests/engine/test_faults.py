"""What breaks the engine is set aside where a person looks; what can heal is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from searchd.engine.asking import HOPELESS
from searchd.errors import Unreachable
from searchd.search.search import Search
from searchd.wire import Report
from tests.support.world import World, spec


def test_a_message_that_breaks_the_engine_three_times_faults_the_study(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three strikes, then the message is quarantined and the study faulted, with the reason; others go on."""
    bad, good = world.loop.submit(spec(study="bad")), world.loop.submit(spec(study="good"))
    told = Search.tell
    strikes = 0

    def tell(self: Search, event: Any) -> Any:
        nonlocal strikes
        if self.study.name == "bad" and getattr(event, "step", None) == 1:
            strikes += 1
            raise ZeroDivisionError("of the searcher")
        return told(self, event)

    monkeypatch.setattr(Search, "tell", tell)
    assert world.run(bad) == "faulted"
    assert strikes == 4  # once in its batch, three times alone
    (quarantined,) = world.events(bad, "quarantined")
    assert "ZeroDivisionError" in quarantined.payload["error"]
    assert Report.model_validate_json(quarantined.payload["message"]).step == 1
    with world.store.reading() as reader:
        assert "ZeroDivisionError" in reader.study(bad).status_reason
        assert reader.reports(bad) == []
    assert world.run(good) == "done"
    world.check(good)

    monkeypatch.setattr(Search, "tell", told)  # the bug is mended
    world.loop.resume(bad)
    assert world.run(bad) == "done"
    world.check(bad)


def test_a_search_that_cannot_answer_faults_its_study_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while asking is tried three times, then the study is faulted; nothing of it is half written."""
    study = world.submit(spec())
    monkeypatch.setattr(Search, "ask", lambda _: 1 / 0)
    for _ in range(5):
        world.tick(1.0)
        world.round()
    assert world.loop.status(study) == "faulted"
    assert world.asked(study) == []
    with world.store.reading() as reader:
        assert reader.trials(study) == []


def test_a_log_that_does_not_replay_faults_the_study_at_the_start(world: World) -> None:
    """A daemon whose search decides otherwise than the log does not go on with it: it names the event."""
    study = world.submit(spec())
    for _ in range(6):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    with world.store.transaction() as tx:
        tx.append(study, "asked", {"answer": "job", "trial": 99, "kind": "train", "since": 0, "until": 1, "bracket": 0,
                                   "signature": None, "reason": "", "job": "x", "trials": []}, 0.0)  # fmt: skip
    seq = world.events(study)[-1].seq
    world.restart()
    assert world.loop.active() == []
    with world.store.reading() as reader:
        row = reader.study(study)
    assert row.status == "faulted"
    assert f"seq {seq}" in row.status_reason


def test_a_broker_that_is_away_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away nothing is lost and nobody is blamed; when it is back the study goes on."""
    study = world.submit(spec())
    for _ in range(4):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    away = True
    transport = world.loop._transport
    receive, stop, acknowledge = transport.receive, transport.stop, transport.acknowledge

    def guard(call: Any) -> Any:
        def do(*args: Any, **options: Any) -> Any:
            if away:
                raise Unreachable("the broker does not answer")
            return call(*args, **options)

        return do

    monkeypatch.setattr(transport, "receive", guard(receive))
    monkeypatch.setattr(transport, "stop", guard(stop))
    monkeypatch.setattr(transport, "acknowledge", guard(acknowledge))
    for _ in range(60):
        world.tick(1.0)
        assert world.loop.round(0.0) is None
        for worker in world.fleet.workers:
            worker.work()
    away = False
    assert world.run(study) == "done"
    world.check(study)
    assert world.events(study, "lost") == []


def test_an_acknowledgement_that_fails_repeats_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages whose acknowledgement was lost come again and change nothing."""
    study = world.submit(spec())
    transport = world.loop._transport
    acknowledge = transport.acknowledge
    calls = 0

    def sometimes(ids: Iterable[str]) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Unreachable("the broker does not answer")
        acknowledge(ids)

    monkeypatch.setattr(transport, "acknowledge", sometimes)
    assert world.run(study) == "done"
    world.check(study)
    assert calls > 6


def test_a_commit_that_fails_leaves_no_trace_in_memory(tmp_path: Path) -> None:
    """After a commit that failed (the daemon lives on), the search is rebuilt from the log: the decisions and reports
    are those of a run in which nothing failed."""
    outcomes = []
    for failing in ((), (2, 9, 17, 24)):
        (tmp_path / str(len(failing))).mkdir()
        world = World(tmp_path / str(len(failing)), slots=1)
        study = world.submit(spec(budget={"trials": 4}))
        world.faults.passed.clear()
        passing = world.faults.passing

        def fails(point: str, failing: tuple[int, ...] = failing, world: World = world, passing: Any = passing) -> None:
            passing(point)
            if point == "before commit" and world.faults.passed[point] in failing:
                raise Unreachable("the disk is full")

        world.faults.passing = fails  # type: ignore[method-assign]
        assert world.run(study) == "done"
        world.check(study)
        outcomes.append(world.asked(study))
        world.close()
    assert outcomes[0] == outcomes[1]


def test_a_database_that_is_away_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database is away and the broker is not, one line says so, and one that both answer again."""
    caplog.set_level("INFO", logger="searchd.daemon")
    study = world.submit(spec())

    def gone() -> None:
        raise Unreachable("the database does not answer")

    monkeypatch.setattr(world.store, "reading", gone)
    for _ in range(4):
        world.tick(1.0)
        assert world.loop.round() is None
    monkeypatch.undo()
    assert world.run(study) == "done"
    world.check(study)
    said = [r.getMessage() for r in caplog.records if "answer" in r.getMessage()]
    assert said == ["the database does not answer; waiting, nothing is lost", "broker and database answer again"]


def test_a_task_that_fails_every_trial_is_not_asked_for_ever(world: World) -> None:
    """Twenty failures and no report: the study is faulted with the last error; mended and resumed, it goes on."""
    study = world.submit(spec(budget={"hours": 10.0}))

    def all_fail(rounds: int) -> None:
        for _ in range(rounds):
            world.tick(1.0)
            world.round()
            for worker in world.fleet.workers:
                if worker.job is None:
                    worker.work()
                if worker.job is not None:
                    worker._end("failed", reason="exception", error="Traceback\nValueError: my bug")

    all_fail(100)
    assert world.loop.status(study) == "faulted"
    with world.store.reading() as reader:
        first = len(reader.trials(study))
        assert (
            "none has reported anything; the last: exception: ValueError: my bug" in reader.study(study).status_reason
        )
    enough = HOPELESS["failed"]
    assert enough <= first <= enough + len(world.fleet.workers)

    world.loop.resume(study)
    all_fail(5)
    world.restart()
    assert world.loop.status(study) == "running"  # what failed before does not count, also after a restart
    all_fail(100)
    assert world.loop.status(study) == "faulted"

    world.loop.resume(study)
    for _ in range(200):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    assert world.loop.status(study) == "running"
    with world.store.reading() as reader:
        assert reader.reports(study)
    assert world.replay(study).equal


def test_a_search_in_which_everything_failed_says_of_what(world: World) -> None:
    """Fewer trials than make a study hopeless, all failed: the reason of its end is not that the search is complete."""
    study = world.submit(spec(budget={"trials": 3}))
    for _ in range(60):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            if worker.job is not None and worker.job.kind == "train":
                worker._end("failed", reason="exception", error="Traceback\nValueError: my bug")
            else:
                worker.work()
    with world.store.reading() as reader:
        row = reader.study(study)
    assert row.status == "done"
    assert row.status_reason.endswith(
        "3 trials failed and none has reported anything; the last: exception: ValueError: my bug"
    )
