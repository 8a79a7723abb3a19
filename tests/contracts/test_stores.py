"""The contract of `searchd.store.base`, over every implementation: rows and questions."""

from __future__ import annotations

import dataclasses
import math

import pytest

from searchd.errors import NotFound, Refused
from searchd.store.base import DeviceRow, ReportRow, Store, TokenRow
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


def test_devices_come_back_and_go(store: Store) -> None:
    """A device is read back as it was put, replaced as a whole, listed by name, and forgotten."""
    one = DeviceRow("rig", "rig:x", "torch", {"driver": "k 6"}, None, None, 1.5)
    two = DeviceRow("cpu", "cpu:x", "onnxruntime", {}, {"rows": {"conv": [0.5, 0.0]}}, {"status": "done"}, 2.5)
    with store.transaction() as t:
        t.put_device(one)
        t.put_device(two)
        assert t.device("rig") == one
    with store.reading() as r:
        assert r.devices() == [two, one]
        assert r.device("none") is None
    with store.transaction() as t:
        t.put_device(dataclasses.replace(one, profile={"at": 3.0}))
        t.drop_device("cpu")
        t.drop_device("none")
    with store.reading() as r:
        assert r.devices() == [dataclasses.replace(one, profile={"at": 3.0})]


def test_tokens_come_back_and_go(store: Store) -> None:
    """A token is read back as it was put, replaced as a whole, listed by name, and forgotten."""
    one, two = TokenRow("page", "read", "ab" * 32, 1.5, None), TokenRow("ci", "submit", "cd" * 32, 2.5, 9.0)
    with store.transaction() as t:
        t.put_token(one)
        t.put_token(two)
    with store.reading() as r:
        assert r.tokens() == [two, one]
    with store.transaction() as t:
        t.put_token(dataclasses.replace(one, scope="admin"))
        t.drop_token("ci")
        t.drop_token("none")
    with store.reading() as r:
        assert r.tokens() == [dataclasses.replace(one, scope="admin")]


def test_a_log_is_read_without_what_nothing_follows_from(store: Store) -> None:
    """`told` leaves out the events `begun` and nothing else, page by page; `resumed` has those of them that went on."""
    begun = [{"kind": "train", "since": n % 3, "until": 9, "warm": n == 4, "worker": 'w"since":0,'} for n in range(6)]
    with store.transaction() as t:
        t.add_study(study_row())
        assert t.gapless(S)
        for n, payload in enumerate(begun):
            t.append(S, ("told", "asked", "lost", "status", "inherited", "begun again")[n], {"n": n}, 1.0)
            t.append(S, "begun", payload, 2.0)
        assert len(t.told(S)) == 6
    with store.reading() as r:
        assert [e for e in r.events(S) if e.kind != "begun"] == r.told(S)
        assert r.told(S, after=1, limit=2) == r.told(S)[1:3]
        assert r.told(S, after=11) == []
        assert [e.payload for e in r.resumed(S)] == [p for p in begun if p["since"]]
        assert r.gapless(S)
        assert r.gapless("none")


def test_who_was_told_is_kept(store: Store) -> None:
    """A receiver of webhooks has a beginning and the ends that are settled with it; another one has its own."""
    with store.transaction() as t:
        assert t.hook("h") is None
        t.put_hook("h", 7.5)
        t.put_notice("h", "s", 3, "delivered", 8.0)
        t.put_notice("h", "s", 3, "delivered", 9.0)
        t.put_notice("other", "s", 4, "given up", 8.0)
    with store.reading() as r:
        assert (r.hook("h"), r.hook("other")) == (7.5, None)
        assert (r.notices("h"), r.notices("other"), r.notices("none")) == ({("s", 3)}, {("s", 4)}, set())


def test_the_tally_counts_rows_by_state(store: Store) -> None:
    """Studies, trials and jobs by state, reports and duplicates in all, over every study."""
    with store.reading() as r:
        assert r.tally() == {("reports", "", ""): 0, ("duplicates", "", ""): 0}
    with store.transaction() as t:
        t.add_study(study_row())
        t.put_trial(trial_row())
        t.put_job(job_row())
        t.add_report(report_row())
        t.count_duplicate(S, 2)
    with store.reading() as r:
        assert r.tally() == {
            ("studies", study_row().status, ""): 1, ("trials", trial_row().status, ""): 1,
            ("jobs", job_row().kind, job_row().status): 1, ("reports", "", ""): 1, ("duplicates", "", ""): 2,
        }  # fmt: skip


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


def test_reports_by_trial_and_step(store: Store) -> None:
    """All, of one trial, at some steps, or the last of each trial: always by trial and step."""
    begin(store, 4)
    with store.transaction() as t:
        for trial, step in ((1, 2), (0, 1), (1, 1), (0, 3), (2, 27)):
            t.add_report(report_row(step, trial=trial, metrics={"loss": trial + step / 100, "acc": 1.0}))
    with store.reading() as r:
        def at(found: list[ReportRow]) -> list[tuple[int, int]]:
            assert all(x.metrics == {"loss": x.trial + x.step / 100, "acc": 1.0} for x in found)
            return [(x.trial, x.step) for x in found]

        assert at(r.reports(S)) == [(0, 1), (0, 3), (1, 1), (1, 2), (2, 27)]
        assert at(r.reports(S, 1)) == [(1, 1), (1, 2)]
        assert at(r.reports(S, steps=[27, 1, 27])) == [(0, 1), (1, 1), (2, 27)]
        assert at(r.reports(S, 0, {3})) == [(0, 3)]
        assert r.reports(S, steps=[]) == []
        assert at(r.last_reports(S)) == [(0, 3), (1, 2), (2, 27)]
        assert r.last_reports("nobody") == []


def test_runs_are_the_jobs_without_their_specs(store: Store) -> None:
    """In the same order, and in a transaction with what it has written."""
    begin(store, 2)
    with store.transaction() as t:
        t.put_job(job_row("b", 1, created_at=2.0, status="running", worker="w", begun_at=2.5))
        t.put_job(job_row("a", 0, created_at=1.0, status="finished", begun_at=1.5, ended_at=3.0, reason="ended"))
        written = t.runs(S)
    with store.reading() as r:
        assert r.runs(S) == written
        assert [(x.trial, x.worker, x.ended_at) for x in written] == [(0, "", 3.0), (1, "w", None)]
        for run, job in zip(r.runs(S), r.jobs(S), strict=True):
            assert {f: getattr(run, f) for f in run.__slots__} == {f: getattr(job, f) for f in run.__slots__}
        assert r.runs("nobody") == []


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
