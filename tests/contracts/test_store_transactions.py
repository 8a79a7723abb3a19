"""The contract of `searchd.store.base`, over every implementation: transactions, order, what is durable."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.errors import Fenced, Refused
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.stores import (
    S,
    begin,
    checkpoint_row,
    job_row,
    point_row,
    report_row,
    study_row,
    trial_row,
)


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    """An exception inside the block leaves no trace of any of its writes."""
    begin(store)
    with store.reading() as r:
        before = (r.studies(), r.trials(S), r.jobs(), r.counts(S))
    with pytest.raises(ZeroDivisionError), store.transaction() as t:  # noqa: PT012
        t.append(S, "asked", {}, 1.0)
        t.put_trial(trial_row(1))
        t.put_job(job_row())
        t.add_report(report_row())
        t.put_points(S, 0, [point_row()])
        t.put_checkpoint(checkpoint_row())
        t.put_measurement("d", "s", {}, 1.0)
        t.set_study(S, status="done")
        t.count_duplicate(S)
        raise ZeroDivisionError
    with store.reading() as r:
        assert (r.studies(), r.trials(S), r.jobs(), r.counts(S)) == before
        assert (r.reports(S), r.points(S), r.checkpoint(S, 0), r.measurement("d", "s")) == ([], [], None, None)


def test_seq_counts_without_gaps(store: Store, url: str) -> None:
    """Events number 1, 2, 3, … a study: over transactions, a rollback, another store object and a second study."""
    begin(store)
    with store.transaction() as t:
        t.add_study(study_row("other"))
        assert [t.append(S, "a", {"i": i}, i) for i in range(3)] == [1, 2, 3]
        assert t.append("other", "a", {}, 0.0) == 1
    with pytest.raises(KeyError), store.transaction() as t:  # noqa: PT012
        assert t.append(S, "lost", {}, 9.0) == 4
        raise KeyError
    again = open_store(url)
    with again.transaction() as t:
        assert t.append(S, "b", {"x": None}, 4.5) == 4
    again.close()
    with store.reading() as r:
        assert [(e.seq, e.kind) for e in r.events(S)] == [(1, "a"), (2, "a"), (3, "a"), (4, "b")]
        assert [e.at for e in r.events(S)] == [0.0, 1.0, 2.0, 4.5]
        assert [e.seq for e in r.events(S, after=1, limit=2)] == [2, 3]
        assert [e.seq for e in r.events(S, after=2, kinds=("a", "b"))] == [3, 4]
        assert [e.seq for e in r.events(S, kinds=["a"], limit=2)] == [1, 2]
        assert r.events(S, kinds=()) == []
        assert [e.seq for e in r.events(S, after=3)] == [4]
        assert r.events(S, after=4) == []
        assert r.events(S, limit=0) == []


def test_writers_come_one_after_another(store: Store, url: str) -> None:
    """Four threads over two store objects appending at once lose nothing, double nothing and leave no gap."""
    begin(store)
    other = open_store(url)
    errors: list[BaseException] = []

    def write(target: Store, name: str) -> None:
        try:
            for i in range(10):
                with target.transaction() as t:
                    t.append(S, name, {"i": i}, 0.0)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=write, args=(s, f"{n}")) for n, s in enumerate([store, other] * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert errors == []
    with store.reading() as r:
        events = r.events(S)
    assert [e.seq for e in events] == list(range(1, 41))
    for name in "0123":
        assert [e.payload["i"] for e in events if e.kind == name] == list(range(10))


def test_the_first_report_of_a_step_wins(store: Store) -> None:
    """A second report at (study, trial, step) is False and changes nothing: in the transaction, later, any attempt."""
    begin(store, 2)
    first = report_row(metrics={"a": 1.0})
    with store.transaction() as t:
        assert t.add_report(first)
        assert not t.add_report(report_row(metrics={"a": 2.0, "b": 3.0}, attempt=2))
        assert t.has_report(S, 0, 1)
        assert not t.has_report(S, 0, 2)
        assert not t.has_report(S, 1, 1)
        assert t.add_report(report_row(trial=1))
    with store.transaction() as t:
        assert not t.add_report(report_row(metrics={"a": 4.0}))
        assert t.add_report(report_row(2, metrics={}, points=[]))
    with store.reading() as r:
        assert r.reports(S, 0) == [first, report_row(2, metrics={}, points=[])]
        assert [(x.trial, x.step) for x in r.reports(S)] == [(0, 1), (0, 2), (1, 1)]
        assert r.counts(S)["reports"] == 3


def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    """Inside the block every question already counts what the block wrote; outside nobody sees it before the commit."""
    begin(store)
    with store.transaction() as t:
        payload = {"n": 1}
        t.append(S, "x", payload, 1.0)
        payload["n"] = 2
        t.add_report(report_row())
        t.put_job(job_row())
        assert t.events(S)[0].payload == {"n": 1}
        assert t.reports(S) == [report_row()]
        assert t.counts(S)["events"] == 1
        assert t.job(job_row().id) == job_row()
        assert t.append(S, "y", {}, 2.0) == 2
        with store.reading() as r:
            assert r.counts(S) == {"reports": 0, "steps": 0, "duplicates": 0, "events": 0, "trials": 1}
    with store.reading() as r:
        assert [e.kind for e in r.events(S)] == ["x", "y"]


def test_a_reading_sees_one_state(store: Store) -> None:
    """A commit between two questions of one reading changes neither answer; the next reading sees it."""
    begin(store)
    with store.reading() as r:
        assert len(r.trials(S)) == 1
        with store.transaction() as t:
            t.put_trial(trial_row(1))
            t.append(S, "x", {}, 1.0)
        assert len(r.trials(S)) == 1
        assert r.counts(S)["events"] == 0
    with store.reading() as r:
        assert len(r.trials(S)) == 2


def test_a_reader_only_reads(store: Store, url: str) -> None:
    """A read-only store refuses transactions, and sees each commit of the writer beside it."""
    begin(store)
    reader = open_store(url, readonly=True)
    with pytest.raises(Refused, match="read-only"), reader.transaction():
        pass
    for n in range(1, 4):
        with store.transaction() as t:
            t.put_trial(trial_row(n))
        with reader.reading() as r:
            assert len(r.trials(S)) == n + 1
    reader.close()


def test_it_is_all_there_after_a_restart(store: Store, url: str) -> None:
    """Closing and opening changes nothing; opening again never migrates or clears."""
    begin(store, 2)
    store.close()
    for _ in range(2):
        again = open_store(url, create=False)
        with again.reading() as r:
            assert r.trials(S) == [trial_row(0), trial_row(1)]
        again.close()


writes = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 9)),
        st.tuples(st.just("report"), st.integers(0, 2), st.integers(1, 3), st.floats(allow_subnormal=False)),
        st.tuples(st.just("step"), st.integers(0, 2), st.integers(0, 50)),
        st.tuples(st.just("points"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("duplicate"), st.integers(1, 3)),
    ),
    max_size=8,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.tuples(writes, st.booleans()), max_size=6))
def test_a_store_is_its_committed_transactions(store: Store, batches: list[tuple[list[Any], bool]]) -> None:
    """Whatever is written in whatever batches, the store holds what a plain dictionary holds of the committed ones."""
    with store.transaction() as t:  # a study of its own for each example
        study = f"s{len(t.studies())}"
        t.add_study(study_row(study))
        for n in range(3):
            t.put_trial(trial_row(n, study))
    state: dict[str, Any] = {"events": [], "reports": {}, "steps": {}, "points": {}, "duplicates": 0}
    for batch, commits in batches:
        trying = {k: v.copy() if hasattr(v, "copy") else v for k, v in state.items()}
        try:
            with store.transaction() as t:
                for write in batch:
                    _apply(t, study, trying, write)
                if not commits:
                    raise InterruptedError
            state = trying
        except InterruptedError:
            pass
    with store.reading() as r:
        assert [e.payload["v"] for e in r.events(study)] == state["events"]
        assert [e.seq for e in r.events(study)] == list(range(1, len(state["events"]) + 1))
        found = {(x.trial, x.step): x.metrics["m"] + 0.0 for x in r.reports(study)}  # -0.0 + 0.0 is 0.0
        assert repr(sorted(found.items())) == repr(sorted(state["reports"].items()))
        assert {t.trial: t.step for t in r.trials(study)} == {0: 0, 1: 0, 2: 0} | state["steps"]
        assert [(p.trial, p.point) for p in r.points(study)] == [
            (n, i) for n in range(3) for i in range(state["points"].get(n, 0))
        ]
        assert r.counts(study)["duplicates"] == state["duplicates"]


def _apply(t: Any, study: str, state: dict[str, Any], write: tuple[Any, ...]) -> None:
    match write:
        case ("event", v):
            state["events"].append(v)
            assert t.append(study, "e", {"v": v}, 0.0) == len(state["events"])
        case ("report", trial, step, value):
            new = (trial, step) not in state["reports"]
            assert t.has_report(study, trial, step) is not new
            assert t.add_report(report_row(step, trial, study, metrics={"m": value})) is new
            state["reports"].setdefault((trial, step), value + 0.0)  # only PostgreSQL keeps a zero's sign
        case ("step", trial, step):
            t.set_trial(study, trial, step=step)
            state["steps"][trial] = step
        case ("points", trial, n):
            t.put_points(study, trial, [point_row(i, trial, study) for i in range(n)])
            state["points"][trial] = n
        case ("duplicate", n):
            t.count_duplicate(study, n)
            state["duplicates"] += n


def test_the_store_that_led_before_is_fenced(store: Store, url: str) -> None:
    """Each store that takes the lead raises the token; whatever the one before it tries to write, nothing is written,
    and it hears who took over. A store that never led is not compared."""
    first = store.lead("host pid 1")
    begin(store)
    store.check_lead()
    second = open_store(url)
    assert second.lead("host pid 2") == first + 1
    with pytest.raises(Fenced, match="host pid 2"), store.transaction() as t:
        t.append(S, "asked", {}, 1.0)
    with pytest.raises(Fenced, match="host pid 2"):
        store.check_lead()
    second.check_lead()
    with second.transaction() as t:
        assert t.append(S, "asked", {}, 1.0) == 1
    second.close()
    third = open_store(url)
    third.check_lead()
    with third.transaction() as t:
        assert t.append(S, "asked", {}, 1.0) == 2
    third.close()


def test_a_fence_stops_a_transaction_that_waited(store: Store, url: str) -> None:
    """A transaction that waits for another one which takes the lead is fenced when its turn comes."""
    store.lead("first")
    begin(store)
    second = open_store(url)
    taken, wrote = threading.Event(), threading.Event()
    said: list[BaseException | None] = []

    def late() -> None:
        taken.wait(10)
        try:
            with store.transaction() as t:
                t.append(S, "asked", {}, 1.0)
            said.append(None)
        except Fenced as error:
            said.append(error)
        wrote.set()

    thread = threading.Thread(target=late)
    thread.start()
    with second.transaction() as t:
        t.lead("second")  # type: ignore[attr-defined]
        taken.set()
        assert not wrote.wait(0.3), "transactions come one after another"
    thread.join(30)
    assert isinstance(said[0], Fenced)
    with second.reading() as r:
        assert r.events(S) == []
    second.close()
