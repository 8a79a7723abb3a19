"""Rows that wait for the commit are the rows that would have been written one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.errors import Fenced, NotFound
from searchd.store import open_store
from searchd.store.base import IN_FLIGHT, Transaction
from searchd.store.reader import SqlReader
from searchd.store.sql import SqlStore
from searchd.store.writer import SqlTransaction
from tests.support.stores import S, begin, checkpoint_row, job_row, point_row, report_row, trial_row

Step = Callable[[Transaction], Any]
STATUSES = ("outbox", "queued", "running", "finished", "lost")


def _report(trial: int, step: int, loss: float) -> Step:
    return lambda t: t.add_report(replace(report_row(), trial=trial, step=step, metrics={"loss": loss}))


def _set_job(job: str, status: Any) -> Step:
    def do(t: Transaction) -> Any:
        if t.job(job) is None:
            with pytest.raises(NotFound):
                t.set_job(job, status=status)
            return None
        return t.set_job(job, status=status, worker=f"w-{status}")

    return do


trials, steps, jobs = st.integers(0, 2), st.integers(1, 4), st.sampled_from(["a", "b", "c"])
changes = st.one_of(
    st.builds(_report, trials, steps, st.floats(0, 1)),
    st.builds(_set_job, jobs, st.sampled_from(STATUSES)),
    st.builds(lambda job, s: lambda t: t.put_job(replace(job_row(), id=job, status=s)), jobs,
              st.sampled_from(STATUSES)),
    st.builds(lambda n, s: lambda t: t.set_trial(S, n, step=s), trials, steps),
    st.builds(lambda n, s: lambda t: t.put_checkpoint(replace(checkpoint_row(), trial=n, step=s)), trials, steps),
    st.builds(lambda n, k: lambda t: t.put_points(S, n, [replace(point_row(), trial=n, point=i) for i in range(k)]),
              trials, st.integers(0, 2)),
    st.builds(lambda n: lambda t: t.count_duplicate(S, n), st.integers(1, 3)),
    st.just(lambda t: t.append(S, "noted", {}, 1.0)),
    # questions in between: what they answer is what was written before
    st.builds(lambda n, s: lambda t: t.has_report(S, n, s), trials, steps),
    st.just(lambda t: sorted(row.id for row in t.jobs(S, IN_FLIGHT))),
    st.just(lambda t: [row.id for row in t.jobs(S, ("queued",))]),
    st.builds(lambda job: lambda t: t.job(job), jobs),
    st.just(lambda t: t.trials(S)),
    st.just(lambda t: dict(t.counts(S))),
    st.just(lambda t: t.expect(S, ["a", "b", "nobody"])),
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """A study with three trials; what an example does to it is rolled back."""
    made = open_store(f"sqlite:///{tmp_path_factory.mktemp('pending') / 'study.db'}")
    assert isinstance(made, SqlStore)
    begin(made)
    with made.transaction() as t:
        for n in (1, 2):
            t.put_trial(trial_row(n))
    yield made
    made.close()


@given(st.lists(st.lists(changes, max_size=12), max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rows_that_wait_are_rows_written_at_once(store: SqlStore, batches: list[list[Step]]) -> None:
    """The same transactions, once flushed after every change: the same answers and the same database."""
    seen: list[list[Any]] = []
    for at_once in (False, True):
        answers: list[Any] = []
        with store._writing.connect() as connection:
            for batch in batches:
                t = SqlTransaction(connection)
                for change in batch:
                    answers.append(change(t))
                    if at_once:
                        t.flush()
                t.flush()
            r = SqlReader(connection)
            answers += [r.trials(S), r.jobs(), r.reports(S), r.points(S), dict(r.counts(S)), r.events(S)]
            answers += [r.checkpoint(S, n) for n in range(3)]
            connection.rollback()
        seen.append(answers)
    assert seen[0] == seen[1]


def test_a_column_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    """Not at the commit, where nobody knows any more who wanted it."""
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    begin(store)
    with pytest.raises(ValueError, match="no column"), store.transaction() as t:
        t.set_trial(S, 0, colour="red")
    store.close()


def test_jobs_that_did_not_change_are_not_counted(tmp_path: Path) -> None:
    """`moved` counts the transactions that changed a job, and none that was rolled back."""
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    begin(store)
    before = store.moved
    with store.transaction() as t:
        t.append(S, "noted", {}, 1.0)
    assert store.moved == before
    with store.transaction() as t:
        t.put_job(job_row())
    with store.transaction() as t:
        t.set_job(job_row().id, status="queued")
    assert store.moved == before + 2
    with pytest.raises(ZeroDivisionError), store.transaction() as t:  # noqa: PT012
        t.set_job(job_row().id, status="running")
        raise ZeroDivisionError
    assert store.moved == before + 2
    store.close()


def test_an_earlier_step_hides_no_later_one(tmp_path: Path) -> None:
    """What a trial reported last is its largest step, however the reports come, and whatever was written in between."""
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    begin(store)
    with store.transaction() as t:
        t.put_job(job_row())
    with store.transaction() as t:
        t.expect(S, [job_row().id])
        assert t.add_report(replace(report_row(), step=3))
        t.counts(S)  # only the database can tell: what waited is there now
        assert t.add_report(replace(report_row(), step=1))
        assert not t.add_report(replace(report_row(), step=3))
        assert t.has_report(S, 0, 3)
        assert not t.has_report(S, 0, 2)
    store.close()


def test_a_job_that_ended_is_not_in_flight(tmp_path: Path) -> None:
    """Jobs in flight are remembered from the first question on, with every change since."""
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    begin(store)
    with store.transaction() as t:
        assert t.jobs(S, IN_FLIGHT) == []
        t.put_job(replace(job_row(), id="a", status="queued"))
        t.put_job(replace(job_row(), id="b", status="outbox"))
        assert [row.id for row in t.jobs(S, IN_FLIGHT)] == ["a", "b"]
        t.set_job("a", status="finished")
        assert [row.id for row in t.jobs(S, IN_FLIGHT)] == ["b"]
        t.set_job("b", status="running")
        assert t.jobs(S, ("outbox",)) == []
        assert [row.status for row in t.jobs(S, ("running",))] == ["running"]
    store.close()


@given(st.lists(st.tuples(st.lists(changes, max_size=8), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_kept_of_jobs_is_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[Step], bool]]
) -> None:
    """Transactions of the process that leads, some of which break: each sees the jobs in flight as the database has
    them, and so does a store that keeps nothing."""
    url = f"sqlite:///{tmp_path_factory.mktemp('kept') / 'study.db'}"
    leads, other = open_store(url), open_store(url)
    begin(leads)
    with leads.transaction() as t:
        for n in range(3):
            t.put_trial(trial_row(n))
    leads.lead("here")
    for batch, breaks in batches:
        with contextlib.suppress(ZeroDivisionError), leads.transaction() as t:
            for change in batch:
                change(t)
            if breaks:
                raise ZeroDivisionError
        with leads.transaction() as t, other.reading() as r:
            assert t.jobs(S, IN_FLIGHT) == r.jobs(S, IN_FLIGHT)
            assert [t.job(name) for name in "abc"] == [r.job(name) for name in "abc"]
    leads.close()
    other.close()


def test_a_store_that_does_not_lead_keeps_nothing(tmp_path: Path) -> None:
    """Another process may have written in between: what jobs are in flight is asked of the database."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    one, two = open_store(url), open_store(url)
    begin(one)
    with one.transaction() as t:
        t.put_job(job_row())
        assert len(t.jobs(S, IN_FLIGHT)) == 1
    with two.transaction() as t:
        t.set_job(job_row().id, status="finished")
    with one.transaction() as t:
        assert t.jobs(S, IN_FLIGHT) == []
    one.close()
    two.close()


def test_who_leads_again_asks_again(tmp_path: Path) -> None:
    """What another leader wrote in between is seen: nothing is kept over a change of leaders."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    one, two = open_store(url), open_store(url)
    begin(one)
    one.lead("one")
    with one.transaction() as t:
        t.put_job(job_row())
        assert len(t.jobs(S, IN_FLIGHT)) == 1
    two.lead("two")
    with two.transaction() as t:
        t.set_job(job_row().id, status="finished")
    with pytest.raises(Fenced), one.transaction():
        pass
    one.lead("one")
    with one.transaction() as t:
        assert t.jobs(S, IN_FLIGHT) == []
    one.close()
    two.close()
