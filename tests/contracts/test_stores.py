"""The contract of `searchd.store.base`, over every implementation."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.errors import NotFound, Refused
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.stores import (
    BACKENDS,
    checkpoint_row,
    job_row,
    point_row,
    report_row,
    store_url,
    study_row,
    trial_row,
)

S = "digits-1"


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def begin(store: Store, trials: int = 1) -> None:
    with store.transaction() as t:
        t.add_study(study_row())
        for n in range(trials):
            t.put_trial(trial_row(n))


def test_every_row_comes_back_as_it_was_given(store: Store) -> None:
    """What is written is read back equal, field by field, by the question that asks for it."""
    rows = [study_row(), trial_row(), job_row(), report_row(), checkpoint_row(), point_row(), point_row(1)]
    study, trial, job, report, checkpoint, *points = rows
    with store.transaction() as t:
        t.add_study(study)
        t.put_trial(trial)
        t.put_job(job)
        assert t.add_report(report)
        t.put_checkpoint(checkpoint)
        t.put_points(S, 0, points)
        t.put_measurement("cpu:x", "sig", {"cumulative_ms": [0.1, 0.2]}, 1.0)
    with store.reading() as r:
        assert r.studies() == [study]
        assert r.study(S) == study
        assert r.trials(S) == [trial]
        assert r.trial(S, 0) == trial
        assert r.jobs(S) == [job]
        assert r.job(job.id) == job
        assert r.reports(S) == [report]
        assert r.reports(S, 0) == [report]
        assert r.checkpoint(S, 0) == checkpoint
        assert r.points(S) == points
        assert r.measurement("cpu:x", "sig") == {"cumulative_ms": [0.1, 0.2]}


def test_what_is_not_there_is_none_or_empty(store: Store) -> None:
    """A question about something unknown is answered by None, an empty list or zeros, never by an error."""
    with store.reading() as r:
        assert (r.study("x"), r.trial("x", 0), r.job("x"), r.checkpoint("x", 0), r.measurement("d", "s")) == (None,) * 5
        assert (r.studies(), r.trials("x"), r.jobs("x"), r.reports("x"), r.points("x"), r.events("x")) == ([],) * 6
        assert not r.has_report("x", 0, 1)
        assert r.counts("x") == {"reports": 0, "steps": 0, "duplicates": 0, "events": 0, "trials": 0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1])
def test_every_float_survives(store: Store, value: float) -> None:
    """NaN, infinities and extremes come back equal, as metrics, in points, in payloads (SQLite drops a zero's sign)."""
    begin(store)
    with store.transaction() as t:
        t.add_report(report_row(metrics={"loss": value}, points=[{"loss": value}]))
        t.append(S, "told", {"losses": [[value]]}, 1.0)
        t.put_points(S, 0, [point_row(metrics={"loss": value})])
    with store.reading() as r:
        report = r.reports(S)[0]
        found = [report.metrics["loss"], report.points[0]["loss"], r.events(S)[0].payload["losses"][0][0],
                 r.points(S)[0].metrics["loss"]]  # fmt: skip
    for got in found:
        assert isinstance(got, float)
        assert math.isnan(got) if math.isnan(value) else (got == value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5])
def test_violations_survive(store: Store, value: float) -> None:
    """A point's violation may be NaN or infinite."""
    begin(store)
    with store.transaction() as t:
        t.put_points(S, 0, [point_row(violation=value, verified=True)])
    with store.reading() as r:
        point = r.points(S)[0]
    assert math.isnan(point.violation) if math.isnan(value) else point.violation == value
    assert point.verified is True


@pytest.mark.parametrize("text", ["", "a\x00b", "naïve ↯ 試験 🙂", "x" * 100_000, "lone \ud800 half", "%s :x ? {y}"])
def test_any_text_can_be_a_reason_or_an_error(store: Store, text: str) -> None:
    """A traceback with whatever bytes is stored; only NUL and lone surrogates, which no database holds, become `?`."""
    begin(store)
    with store.transaction() as t:
        t.set_trial(S, 0, error=text, reason=text)
        t.append(S, "told", {"error": text}, 1.0)
    with store.reading() as r:
        trial = r.trial(S, 0)
        payload = r.events(S)[0].payload
    assert trial is not None
    assert trial.error == trial.reason == text.replace("\x00", "?").replace("\ud800", "?")
    assert payload["error"] == text


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


def test_rows_are_changed_by_name(store: Store) -> None:
    """`set_*` and `put_*` change the one row that they name, JSON columns and None included."""
    begin(store, 2)
    with store.transaction() as t:
        t.put_job(job_row())
        t.put_job(job_row("other", 1))
    with store.transaction() as t:
        t.set_study(S, status="done", ended_at=5.0, status_reason="budget")
        t.set_trial(S, 0, status="failed", step=9, config={"width": 8}, signature="abc")
        t.set_job(job_row().id, status="running", attempt=2, spec={"a": [1]}, begun_at=3.0, stop_reason="by the user")
        t.put_trial(trial_row(1, reason="again", signature="s"))
    with store.reading() as r:
        assert r.study(S) == study_row(status="done", ended_at=5.0, status_reason="budget")
        assert r.trials(S) == [
            trial_row(0, status="failed", step=9, config={"width": 8}, signature="abc"),
            trial_row(1, reason="again", signature="s"),
        ]
        assert r.job("other") == job_row("other", 1)
        changed = {"status": "running", "attempt": 2, "spec": {"a": [1]}, "begun_at": 3.0, "stop_reason": "by the user"}
        assert r.job(job_row().id) == job_row(**changed)


def test_wrong_names_are_told(store: Store) -> None:
    """A change to an unknown row is NotFound, to an unknown or key column ValueError, a second study id Refused."""
    begin(store)
    with store.transaction() as t:
        with pytest.raises(NotFound, match="trials has no row study digits-1, trial 7"):
            t.set_trial(S, 7, step=1)
        with pytest.raises(NotFound, match="x"):
            t.set_job("x", reason="")
        with pytest.raises(NotFound, match="nope"):
            t.set_study("nope", status="done")
        for changes in ({"stepp": 1}, {"status": "done", "x": 1}, {}):
            with pytest.raises(ValueError, match="trials has no column"):
                t.set_trial(S, 0, **changes)
        with pytest.raises(Refused, match="in the store already"):
            t.add_study(study_row(name="other"))
    with store.reading() as r:
        assert r.studies() == [study_row()]


def test_states_and_parents_are_checked(store: Store) -> None:
    """A state outside its list, and a row without its study or trial, never get committed; order inside is free."""
    with store.transaction() as t:
        t.put_job(job_row())
        t.add_report(report_row())
        t.put_trial(trial_row())
        t.add_study(study_row())
    for write in (
        lambda t: t.set_trial(S, 0, status="asleep"),
        lambda t: t.set_study(S, status=""),
        lambda t: t.set_job(job_row().id, status="gone"),
        lambda t: t.put_trial(trial_row(study="nobody")),
        lambda t: t.put_job(job_row("j", 99)),
        lambda t: t.add_report(report_row(trial=99)),
        lambda t: t.append("nobody", "x", {}, 1.0),
    ):
        with pytest.raises(Exception, match=r"(?i)constraint"), store.transaction() as t:
            write(t)
    with store.reading() as r:
        assert (len(r.trials(S)), len(r.jobs()), r.counts(S)["reports"]) == (1, 1, 1)


def test_jobs_by_study_and_status(store: Store) -> None:
    """`jobs` filters by both, in the order of creation; no statuses means none of them, None means any."""
    begin(store, 3)
    with store.transaction() as t:
        t.add_study(study_row("other"))
        t.put_trial(trial_row(0, "other"))
        t.put_job(job_row("c", 0, created_at=1.0))
        t.put_job(job_row("b", 1, created_at=2.0, status="queued"))
        t.put_job(job_row("a", 2, created_at=3.0, status="running"))
        t.put_job(job_row("d", 0, "other", created_at=4.0, status="running"))
    with store.reading() as r:
        assert [j.id for j in r.jobs()] == ["c", "b", "a", "d"]
        assert [j.id for j in r.jobs(S)] == ["c", "b", "a"]
        assert [j.id for j in r.jobs(statuses=["running"])] == ["a", "d"]
        assert [j.id for j in r.jobs(S, ["queued", "running"])] == ["b", "a"]
        assert [j.id for j in r.jobs(S, iter(["outbox"]))] == ["c"]
        assert r.jobs(S, []) == []


def test_the_newest_checkpoint_is_the_deepest(store: Store) -> None:
    """`checkpoint` is the one at the largest step, whenever it was written; a step written again is replaced."""
    begin(store, 2)
    with store.transaction() as t:
        for row in (checkpoint_row(9), checkpoint_row(3, at=2000.0), checkpoint_row(27, 1)):
            t.put_checkpoint(row)
        assert t.checkpoint(S, 0) == checkpoint_row(9)
        t.put_checkpoint(checkpoint_row(9, path="trials/0/ckpt-9-a2.safetensors"))
    with store.reading() as r:
        found = r.checkpoint(S, 0)
    assert found == checkpoint_row(9, path="trials/0/ckpt-9-a2.safetensors")


def test_points_are_replaced_as_a_whole(store: Store) -> None:
    """`put_points` leaves exactly the given points of that trial and touches no other trial."""
    begin(store, 2)
    with store.transaction() as t:
        t.put_points(S, 0, [point_row(i) for i in range(4)])
        t.put_points(S, 1, [point_row(0, 1)])
        t.put_points(S, 0, [point_row(2, step=9), point_row(5)])
        assert t.points(S) == [point_row(2, step=9), point_row(5), point_row(0, 1)]
        t.put_points(S, 0, [])
    with store.reading() as r:
        assert r.points(S) == [point_row(0, 1)]


def test_measurements_belong_to_device_and_signature(store: Store) -> None:
    """A measurement is found for its device and signature only, and the newest replaces an older one."""
    with store.transaction() as t:
        t.put_measurement("a", "s", {"ms": 1}, 1.0)
        t.put_measurement("b", "s", {"ms": 2}, 1.0)
        t.put_measurement("a", "s", {"ms": 3}, 2.0)
    with store.reading() as r:
        assert [r.measurement(*key) for key in (("a", "s"), ("b", "s"), ("a", "t"))] == [{"ms": 3}, {"ms": 2}, None]


def test_counts_are_of_one_study(store: Store) -> None:
    """Counts add up over trials, duplicates over calls, and ignore other studies."""
    begin(store, 2)
    with store.transaction() as t:
        t.add_study(study_row("other"))
        t.put_trial(trial_row(0, "other", step=100))
        t.set_trial(S, 0, step=9)
        t.set_trial(S, 1, step=3)
        t.count_duplicate(S)
        t.count_duplicate(S, 4)
        t.append(S, "x", {}, 1.0)
        t.add_report(report_row())
    with store.reading() as r:
        assert r.counts(S) == {"reports": 1, "steps": 12, "duplicates": 5, "events": 1, "trials": 2}
        assert r.counts("other")["steps"] == 100


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


def test_mappings_and_numpy_values_are_taken(store: Store) -> None:
    """A Config, tuples and NumPy scalars are stored as the JSON that they stand for; anything else is refused."""
    np = pytest.importorskip("numpy")
    from spaces.config import Config

    begin(store)
    config = Config({"width": 8, "exits": (0, 1)})
    with store.transaction() as t:
        t.set_trial(S, 0, config=config)
        t.append(S, "x", {"config": config, "v": np.float64(0.1), "n": np.int64(3), "t": (1, 2)}, 1.0)
        with pytest.raises(TypeError, match="is none: convert it before"):
            t.append(S, "x", {"bad": object()}, 1.0)
    with store.reading() as r:
        trial = r.trial(S, 0)
        assert trial is not None
        assert trial.config == {"width": 8, "exits": [0, 1]}
        assert r.events(S)[0].payload == {"config": {"width": 8, "exits": [0, 1]}, "v": 0.1, "n": 3, "t": [1, 2]}


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
