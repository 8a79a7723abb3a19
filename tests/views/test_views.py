"""Views over a real store: the shapes that HTTP, the client and the page rely on, and the numbers in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from searchd import views
from searchd.errors import NotFound
from searchd.schedulers.front import hypervolume
from searchd.store import open_store
from searchd.store.base import Reader, Store, TrialStatus
from tests.support.stores import job_row, point_row, report_row, study_row, trial_row

S = "digits-1"
SPEC: dict[str, Any] = {
    "study": "digits",
    "space": {"width": {"int": [8, 32]}, "exits": {"subset": [0, 1]}},
    "objectives": {"val_error": {"goal": "minimize"}, "latency_ms": {"goal": "minimize", "at_most": 5}},
    "search": {"scheduler": "asha", "searcher": "tpe", "r": 1, "R": 9, "eta": 3, "unit": "epoch"},
    "budget": {"trials": 10, "hours": None, "steps": None, "parallel": 2},
    "task": "classify",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "study.db")
    with opened.transaction() as t:
        t.add_study(study_row(spec=SPEC, started_at=1000.0, artifacts=str(tmp_path)))
    yield opened
    opened.close()


def ask(store: Store, question: Callable[[Reader], Any]) -> Any:
    """The answer, which must be strict JSON."""
    with store.reading() as r:
        answer = question(r)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    return answer


def points(trial: int, *values: tuple[float, float], **changes: Any) -> list[Any]:
    return [
        point_row(i, trial, metrics={"val_error": e, "latency_ms": ms}, **changes) for i, (e, ms) in enumerate(values)
    ]


ALL: dict[str, Callable[[Reader, str], Any]] = {
    "summary": lambda r, s: views.summary(r, s, 1010.0),
    "front": views.front,
    "trials": views.trials,
    "trial": lambda r, s: views.trial(r, s, 0),
    "curves": lambda r, s: views.curves(r, s, "val_error"),
    "rungs": views.rungs,
    "log": views.log,
}


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_study_is_not_found(store: Store, name: str) -> None:
    """Every view says which study is not there."""
    with store.reading() as r, pytest.raises(NotFound, match="nobody"):
        ALL[name](r, "nobody")


def test_a_study_that_has_not_begun(store: Store) -> None:
    """Before anything was asked every view answers, empty, with nulls for what is not known yet."""
    with store.transaction() as t:
        t.set_study(S, status="queued", started_at=None)
    got = ask(store, lambda r: views.summary(r, S, 1010.0))
    assert got == {
        "id": S, "name": "digits", "status": "queued", "reason": "", "remark": "", "created": 1000.25, "seconds": 0.0,
        "trials": {"waiting": 0, "running": 0, "paused": 0, "done": 0, "stopped": 0, "failed": 0, "vetoed": 0,
                   "total": 0},
        "steps_done": 0, "reports": 0, "duplicates": 0, "front": 0, "unvalued": {}, "hypervolume": None,
        "reference": None,
        "busy_fraction": None, "retrying": [], "resumed": {"total": 0, "warm": 0},
        "inherited": {"total": 0, "fresh": 0},
        "best": {"val_error": None, "latency_ms": None},
        "objectives": [{"name": "val_error", "goal": "minimize", "at_most": None, "at_least": None},
                       {"name": "latency_ms", "goal": "minimize", "at_most": 5, "at_least": None}],
        "budget": {"trials": 10, "hours": None, "steps": None, "parallel": 2}, "scheduler": "asha",
        "searcher": "tpe", "unit": "epoch", "ladders": [[1, 3, 9]], "jobs": {"queued": 0, "running": 0},
        "time_left_s": None, "artifacts": got["artifacts"], "predicted": None, "static": None,
        "waits": "", "ends": {}, "device": "cpu", "needs": {}, "priority": 1.0,
    }  # fmt: skip
    assert ask(store, lambda r: views.front(r, S)) == []
    assert ask(store, lambda r: views.trials(r, S)) == []
    assert ask(store, lambda r: views.curves(r, S, "val_error")) == []
    assert ask(store, lambda r: views.curves(r, S, "not_yet")) == []
    assert [(x["bracket"], x["step"], x["trials"]) for x in ask(store, lambda r: views.rungs(r, S))] == [
        (0, 1, []), (0, 3, []), (0, 9, [])
    ]  # fmt: skip


def test_the_front_is_what_nothing_beats(store: Store) -> None:
    """Points of all trials; dominated, non-finite and incomplete ones and those of failed trials are not on it; of
    equal ones the first is; sorted by the first objective; each with its trial's config."""
    with store.transaction() as t:
        for n in range(4):
            t.put_trial(trial_row(n, config={"width": 8 + n}, status="failed" if n == 3 else "paused"))
        t.put_points(S, 0, points(0, (10.0, 2.0), (5.0, 3.0), (11.0, 2.5), (math.nan, 0.1)))
        t.put_points(S, 1, [*points(1, (5.0, 3.0), (20.0, 1.0)), point_row(2, 1, metrics={"val_error": 0.0})])
        t.put_points(S, 2, points(2, (1.0, math.inf)))
        t.put_points(S, 3, points(3, (0.0, 0.0)))
    got = ask(store, lambda r: views.front(r, S))
    shown = [(p["trial"], p["point"], p["metrics"]["val_error"]) for p in got]
    assert shown == [(0, 1, 5.0), (0, 0, 10.0), (1, 1, 20.0)]
    lacking = ask(store, lambda r: views.summary(r, S, 1010.0))["unvalued"]
    assert lacking == {"val_error": 1, "latency_ms": 2}  # a NaN; an infinite one and a missing one
    assert got[0] == {
        "trial": 0, "point": 1, "step": 3, "config": {"width": 8}, "metrics": {"val_error": 5.0, "latency_ms": 3.0},
        "violation": 0.0, "verified": False, "parent": None,
    }  # fmt: skip


def test_feasible_points_come_first(store: Store) -> None:
    """One feasible point keeps every infeasible one off; without one, less violation is one more objective."""
    with store.transaction() as t:
        t.put_trial(trial_row(0))
        t.put_trial(trial_row(1))
        t.put_points(S, 0, [
            point_row(0, metrics={"val_error": 1.0, "latency_ms": 9.0}, violation=0.8),
            point_row(1, metrics={"val_error": 2.0, "latency_ms": 6.0}, violation=0.2),
            point_row(2, metrics={"val_error": 3.0, "latency_ms": 7.0}, violation=0.4),
            point_row(3, metrics={"val_error": 0.0, "latency_ms": 0.0}, violation=math.inf),
        ])  # fmt: skip
    assert [p["point"] for p in ask(store, lambda r: views.front(r, S))] == [1, 0]
    with store.transaction() as t:
        t.put_points(S, 1, points(1, (50.0, 4.0)))
    assert [(p["trial"], p["point"]) for p in ask(store, lambda r: views.front(r, S))] == [(1, 0)]


def test_at_the_end_only_verified_points_count(store: Store) -> None:
    """Verified numbers replace the rest once the study has ended; while it runs on, both are shown; without any
    verified point the front stays as it was reported."""
    with store.transaction() as t:
        for n in range(2):
            t.put_trial(trial_row(n))
        t.put_points(S, 0, points(0, (5.0, 3.0), verified=True))
        t.put_points(S, 1, points(1, (4.0, 2.0)))
    shown = {}
    for status in ("running", "verifying", "done", "stopped"):
        with store.transaction() as t:
            t.set_study(S, status=status)
        shown[status] = [(p["trial"], p["verified"]) for p in ask(store, lambda r: views.front(r, S))]
    assert shown == {"running": [(1, False)], "verifying": [(1, False)], "done": [(0, True)], "stopped": [(0, True)]}
    with store.transaction() as t:
        t.put_points(S, 0, points(0, (5.0, 3.0)))
    assert [p["trial"] for p in ask(store, lambda r: views.front(r, S))] == [1]


def test_maximised_objectives_keep_their_sense(tmp_path: Path) -> None:
    """With an accuracy to maximise the front, the best and the rungs put the highest first; loss order stays inside."""
    spec = {**SPEC, "objectives": {"accuracy": {"goal": "maximize"}, "bytes": "minimize"}, "task": "m:f"}
    store = open_store(tmp_path / "s.db")
    with store.transaction() as t:
        t.add_study(study_row(spec=spec))
        for n, (accuracy, size) in enumerate([(0.9, 100), (0.8, 50), (0.7, 60), (0.95, 400)]):
            t.put_trial(trial_row(n, step=1, bracket=0))
            t.add_report(report_row(1, n, metrics={"accuracy": accuracy, "bytes": size}, points=[]))
            t.put_points(S, n, [point_row(0, n, metrics={"accuracy": accuracy, "bytes": size})])
            told = {"event": "reported", "trial": n, "step": 1, "metrics": {"accuracy": accuracy, "bytes": size},
                    "points": [], "stops": []}  # fmt: skip
            t.append(S, "told", told, 1.0)
    assert [p["trial"] for p in ask(store, lambda r: views.front(r, S))] == [3, 0, 1]
    got = ask(store, lambda r: views.summary(r, S, 1010.0))
    assert got["best"] == {"accuracy": 0.95, "bytes": 50}
    assert got["reference"] == pytest.approx([0.7 - 0.1 * 0.25, 400 + 35])
    boxes = [[-0.95, 400], [-0.9, 100], [-0.8, 50]]
    assert got["hypervolume"] == pytest.approx(hypervolume(boxes, [-0.675, 435]))
    first = ask(store, lambda r: views.rungs(r, S))[0]
    assert [m["trial"] for m in first["trials"]] == [3, 0, 1, 2]
    store.close()


def test_the_reference_is_frozen_after_ten_reports(store: Store) -> None:
    """It is the worst of the first ten rung reports' points and 10 % of their range more; later ones never move it."""
    def told(n: int, error: float, ms: float) -> dict[str, Any]:
        return {"event": "reported", "trial": n, "step": 1, "metrics": {"val_error": 99.0},
                "points": [{"val_error": error, "latency_ms": ms}], "stops": []}  # fmt: skip

    with store.transaction() as t:
        for n in range(30):
            t.put_trial(trial_row(n))
            t.append(S, "told", told(n, 10.0 + n, 3.0 - n / 10), 1.0)
            t.append(S, "told", {"event": "finished", "trial": n, "step": 1, "stops": []}, 1.0)
        t.put_points(S, 0, points(0, (10.0, 3.0)))
    got = ask(store, lambda r: views.summary(r, S, 1010.0))
    assert got["reference"] == pytest.approx([19.9, 3.09])
    assert got["hypervolume"] == pytest.approx((19.9 - 10.0) * (3.09 - 3.0))


def test_the_reference_uses_what_was_measured_and_described(store: Store) -> None:
    """Points of the log carry no latency and no size: they are merged as the search merged them."""
    spec = {**SPEC, "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
            "space": {"width": {"int": [8, 32]}}, "task": "classify"}  # fmt: skip
    measured = {"event": "measured", "signature": "sig", "cumulative_ms": [0.5, 1.0], "p95_ms": [0.6, 1.2],
                "device": "cpu:x", "alone": True, "kernel_bits": [32], "error": None, "extra": {},
                "stops": []}  # fmt: skip
    told = {"event": "reported", "trial": 0, "step": 1, "metrics": {"val_error": 20.0}, "stops": [],
            "points": [{"val_error": 20.0, "exit_rates": [0.5, 0.5]}]}  # fmt: skip
    with store.transaction() as t:
        t.set_study(S, spec=spec)
        t.put_trial(trial_row(0, config={"width": 16}, signature="sig"))
        t.append(S, "told", measured, 1.0)
        t.append(S, "told", told, 1.0)
    error, ms, size = ask(store, lambda r: views.summary(r, S, 1010.0))["reference"]
    from spaces.config import Config
    from spaces.describe import describe
    from spaces.study import Study

    study = Study.parse(spec)
    described = describe(study.task, study.space, Config({"width": 16}))
    assert described is not None
    assert (error, ms) == (pytest.approx(22.0), pytest.approx(0.75 * 1.1))  # one point: 10 % of its size
    assert size == pytest.approx(described.metrics["bytes"] * 1.1)


def test_states_steps_and_jobs_are_counted(store: Store) -> None:
    """Trials by state with their total, steps as the sum of the last ones, jobs that wait and that run."""
    states = ["waiting", "running", "paused", "paused", "done", "stopped", "failed", "vetoed"]
    with store.transaction() as t:
        for n, status in enumerate(states):
            t.put_trial(trial_row(n, status=status, step=n))
        for n, status in enumerate(["outbox", "queued", "running", "finished", "lost"]):
            t.put_job(job_row(f"j{n}", n, status=status))
        t.count_duplicate(S, 3)
    got = ask(store, lambda r: views.summary(r, S, 1010.0))
    assert got["trials"] == {"waiting": 1, "running": 1, "paused": 2, "done": 1, "stopped": 1, "failed": 1,
                             "vetoed": 1, "total": 8}  # fmt: skip
    assert (got["steps_done"], got["duplicates"], got["jobs"]) == (28, 3, {"queued": 2, "running": 1})


def test_resumed_counts_what_went_on(store: Store) -> None:
    """Training jobs that went on with a trial, and which of them began from memory; an old log says none."""
    with store.transaction() as t:
        for kind, since, more in (("train", 0, {"warm": False}), ("train", 3, {"warm": True}), ("train", 3, {}),
                                  ("train", 9, {"warm": False}), ("export", 9, {"warm": False})):  # fmt: skip
            t.append(S, "begun", {"trial": 0, "kind": kind, "since": since, **more}, 1000.0)
    assert ask(store, lambda r: views.summary(r, S, 1010.0))["resumed"] == {"total": 3, "warm": 1}


def test_busy_is_job_time_over_slot_time(store: Store) -> None:
    """Run time of jobs, the running one up to now, over the slots that were there while they were there."""
    with store.transaction() as t:
        t.put_trial(trial_row(0))
        t.append(S, "capacity", {"slots": 1}, 1000.0)
        t.append(S, "capacity", {"slots": 4}, 1010.0)  # the study may use 2 of them
        t.put_job(job_row("a", begun_at=1000.0, ended_at=1008.0, status="finished"))
        t.put_job(job_row("b", begun_at=1014.0, status="running"))
        t.put_job(job_row("c", status="queued"))
    assert ask(store, lambda r: views.summary(r, S, 1020.0))["busy_fraction"] == pytest.approx((8 + 6) / (10 + 2 * 10))
    with store.transaction() as t:
        t.set_study(S, status="done", ended_at=1016.0)
    got = ask(store, lambda r: views.summary(r, S, 5000.0))
    assert got["busy_fraction"] == pytest.approx((8 + 2) / (10 + 2 * 6))
    assert got["seconds"] == 16.0
    assert got["time_left_s"] == 0.0


def test_the_time_left_is_of_the_budget_that_ends_first(store: Store) -> None:
    """From the share of each budget that is spent; unknown while nothing is, or while the study is paused."""
    def left(now: float, **budget: Any) -> Any:
        with store.transaction() as t:
            t.set_study(S, spec={**SPEC, "budget": budget})
        return ask(store, lambda r: views.summary(r, S, now))["time_left_s"]

    assert left(1010.0, trials=10) is None
    with store.transaction() as t:
        for n in range(4):
            t.put_trial(trial_row(n, status="paused" if n < 3 else "running", step=5))
    assert left(1060.0, trials=12) == pytest.approx(60 * 9 / 3)
    assert left(1060.0, trials=12, steps=40) == pytest.approx(60)
    assert left(1060.0, hours=0.02) == pytest.approx(12)
    assert left(1060.0) is None
    assert left(1060.0, steps=10) == 0.0
    with store.transaction() as t:
        t.set_study(S, status="paused")
    assert left(1060.0, trials=12) is None


def test_trials_have_their_last_numbers(store: Store, tmp_path: Path) -> None:
    """The last report's metrics, what only merging brings from the best point, the time of jobs that ended, null
    for NaN; one trial also has its reports, jobs, points and files."""
    with store.transaction() as t:
        t.put_trial(trial_row(0, status="failed", step=3, reason="oom", error="it\nfell", signature="sig"))
        t.put_trial(trial_row(1))
        t.add_report(report_row(1, metrics={"val_error": 30.0, "loss": 2.0}))
        t.add_report(report_row(3, metrics={"val_error": 20.0, "loss": math.nan}))
        t.put_points(S, 0, points(0, (25.0, 0.5), (20.0, 1.0)))
        t.put_job(job_row("a", begun_at=10.0, ended_at=12.5, status="finished"))
        t.put_job(job_row("b", begun_at=20.0, status="running", worker="w", attempt=2))
        t.put_job(job_row("c", 1))
    folder = tmp_path / "trials" / "0"
    (folder / "sub").mkdir(parents=True)
    for name in ("model.onnx", "sub/x.json", ".half-written", "ckpt-3-a1.safetensors"):
        (folder / name).write_text("x")
    first, second = ask(store, lambda r: views.trials(r, S))
    assert first == {
        "trial": 0, "status": "failed", "config": {"width": 16, "exits": [0], "lr": 1e-3}, "step": 3, "bracket": 1,
        "metrics": {"val_error": 20.0, "latency_ms": 1.0, "loss": None}, "reason": "oom", "why": "oom",
        "error": "it\nfell", "seconds": 2.5, "parent": None,
    }  # fmt: skip
    assert (second["metrics"], second["seconds"]) == (None, 0.0)
    one = ask(store, lambda r: views.trial(r, S, 0))
    assert {k: one[k] for k in first} == first
    assert [(x["step"], x["metrics"]["loss"]) for x in one["reports"]] == [(1, 2.0), (3, None)]
    assert [(j["id"], j["kind"], j["attempt"], j["ended"]) for j in one["jobs"]] == [
        ("a", "train", 1, 12.5), ("b", "train", 2, None)
    ]  # fmt: skip
    assert [p["metrics"]["latency_ms"] for p in one["points"]] == [0.5, 1.0]
    assert one["files"] == ["ckpt-3-a1.safetensors", "model.onnx", "sub/x.json"]
    assert ask(store, lambda r: views.trial(r, S, 1))["files"] == []
    with store.reading() as r, pytest.raises(NotFound, match="no trial 7"):
        views.trial(r, S, 7)


@pytest.mark.parametrize("status", ["paused", "running", "failed"])
@pytest.mark.parametrize("reason", ["", "promoted: rank 1 of 3 at rung 1"])
def test_why_a_trial_is_as_it_is(store: Store, status: TrialStatus, reason: str) -> None:
    """What is kept of a paused trial is why it last began, and it reads so; of others it is about their state."""
    with store.transaction() as t:
        t.put_trial(trial_row(0, status=status, reason=reason))
    began = "it last began because: " if status == "paused" and reason else ""
    assert ask(store, lambda r: views.trial(r, S, 0))["why"] == began + reason
    assert ask(store, lambda r: views.trials(r, S))[0]["why"] == began + reason


def test_curves_are_values_by_step(store: Store) -> None:
    """As reported, null where it diverged; a metric of points only is their best; one of merged points only is there
    once a trial; an unknown one is told."""
    with store.transaction() as t:
        for n in range(2):
            t.put_trial(trial_row(n))
        t.add_report(report_row(2, metrics={"loss": math.nan}, points=[{"val_error": 9.0}, {"val_error": 7.0}]))
        t.add_report(report_row(1, metrics={"loss": 2.0}, points=[]))
        t.add_report(report_row(1, 1, metrics={"loss": 3.0}, points=[]))
        t.put_points(S, 0, points(0, (7.0, 0.5), (9.0, 0.25)))
    assert ask(store, lambda r: views.curves(r, S, "loss")) == [
        {"trial": 0, "step": 1, "value": 2.0}, {"trial": 0, "step": 2, "value": None},
        {"trial": 1, "step": 1, "value": 3.0},
    ]  # fmt: skip
    assert ask(store, lambda r: views.curves(r, S, "val_error")) == [{"trial": 0, "step": 2, "value": 7.0}]
    assert ask(store, lambda r: views.curves(r, S, "latency_ms")) == [{"trial": 0, "step": 3, "value": 0.25}]
    with pytest.raises(NotFound, match="has a metric 'val_eror': did you mean 'val_error'"):
        ask(store, lambda r: views.curves(r, S, "val_eror"))


def test_rungs_show_who_was_compared(store: Store) -> None:
    """Reports at rung steps only, of the trial's bracket, the best first and the diverged last, promoted or not."""
    spec = {**SPEC, "search": {**SPEC["search"], "scheduler": "hyperband"}}
    with store.transaction() as t:
        t.set_study(S, spec=spec)
        for n, (bracket, step, status) in enumerate([(0, 3, "paused"), (0, 1, "paused"), (0, 1, "failed"),
                                                     (1, 3, "running"), (0, 1, "running")]):  # fmt: skip
            t.put_trial(trial_row(n, bracket=bracket, step=step, status=status))
        errors = {(0, 1): 10.0, (0, 2): 9.0, (0, 3): 8.0, (1, 1): 12.0, (2, 1): math.nan, (3, 1): 5.0, (3, 3): 4.0,
                  (4, 1): 11.0}  # fmt: skip
        for (n, step), error in errors.items():
            t.add_report(report_row(step, n, metrics={"val_error": error}, points=[]))
        t.put_job(job_row("resumed", 4, since=1, until=3))
    with store.reading() as r:
        got = {(x["bracket"], x["step"]): x["trials"] for x in views.rungs(r, S)}
    assert [(m["trial"], m["value"], m["state"]) for m in got[0, 1]] == [
        (0, 10.0, "promoted"), (4, 11.0, "promoted"), (1, 12.0, "paused"), (2, None, "failed")
    ]  # fmt: skip
    assert [(m["trial"], m["state"]) for m in got[0, 3]] == [(0, "paused")]
    assert [(m["trial"], m["value"]) for m in got[1, 3]] == [(3, 4.0)], "step 1 is no rung of bracket 1"
    assert (0, 2) not in got
    assert got[0, 9] == []


def test_an_old_or_odd_spec_breaks_no_view(store: Store) -> None:
    """A study whose scheduler, task or space this release cannot read is still shown."""
    with store.transaction() as t:
        odd = {"study": "digits", "search": {"scheduler": "psychic"}, "space": 3, "objectives": {"e": "minimize"}}
        t.set_study(S, spec=odd)
        t.put_trial(trial_row(0))
        t.append(S, "told", {"event": "reported", "trial": 0, "step": 1, "metrics": {"e": 1.0}, "points": []}, 1.0)
        t.append(S, "told", {"event": "reported", "trial": 9, "step": 1, "metrics": {"e": 3.0}, "points": []}, 1.0)
    got = ask(store, lambda r: views.summary(r, S, 1010.0))
    assert (got["ladders"], got["budget"]) == ([], {})
    assert got["reference"] == pytest.approx([3.2])
    assert ask(store, lambda r: views.rungs(r, S)) == []
    with store.transaction() as t:
        t.set_study(S, spec={"study": "digits"})
    for view in ALL.values():
        ask(store, lambda r, view=view: view(r, S))
