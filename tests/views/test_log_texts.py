"""The log for people: one line an event, whatever the event."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest

from searchd import views
from searchd.log import Kind
from searchd.store import open_store
from searchd.store.base import EventRow
from searchd.views.logs import text
from searchd.views.plain import Goal
from tests.support.stores import study_row

GOALS = (Goal("val_error", "minimize"), Goal("latency_ms", "minimize"))
JOB = {"answer": "job", "trials": [], "trial": 12, "kind": "train", "since": 0, "until": 1, "bracket": 0,
       "signature": "0123456789abcdef", "job": "j", "cached": False, "reason": ""}  # fmt: skip
MEASURED = {"event": "measured", "signature": "0123456789abcdef", "cumulative_ms": [0.05, 0.123456], "p95_ms": [],
            "device": "cpu:x", "alone": True, "kernel_bits": [], "error": None, "extra": {}, "stops": []}  # fmt: skip

LINES: list[tuple[str, dict[str, Any], str]] = [
    ("submitted", {"name": "digits", "spec": {}, "artifacts": "out"}, "study digits submitted"),
    ("asked", JOB | {"reason": "new trial"}, "trial 12 started, to 1: new trial"),
    ("asked", JOB | {"bracket": 2, "reason": "new"}, "trial 12 started, to 1 in bracket 2"),
    ("asked", JOB | {"since": 3, "until": 9, "reason": "promoted: rank 3 of 27 at rung 3"},
     "trial 12 promoted to 9: rank 3 of 27 at rung 3"),
    ("asked", JOB | {"kind": "measure", "until": 0}, "trial 12: measure signature 01234567"),
    ("asked", JOB | {"kind": "measure", "cached": True, "job": None},
     "trial 12: measure signature 01234567 (known already)"),
    ("asked", JOB | {"kind": "describe", "until": 0, "signature": None, "reason": "it was not described yet"},
     "trial 12: describe its config"),
    ("told", {"event": "described", "trial": 4, "metrics": {"parameters": 1234.0, "mb": 0.5}, "stops": []},
     "trial 4 described: parameters 1234, mb 0.5"),
    ("told", {"event": "vetoed", "trial": 4, "reason": "too large", "stops": []},
     "trial 4 vetoed before training: too large"),
    ("asked", JOB | {"trials": [{"trial": 11, "config": {}, "state": "vetoed"},
                                {"trial": 12, "config": {}, "state": "running"}]},
     "trial 12 started, to 1; trial 11 vetoed before training"),
    ("asked", {"answer": "wait", "trials": [{"trial": 3, "config": {}, "state": "vetoed"}]},
     "trial 3 vetoed before training"),
    ("asked", {"answer": "exhausted", "trials": []}, "nothing to run: exhausted"),
    ("told", {"event": "reported", "trial": 4, "step": 3, "metrics": {"val_error": 12.3456}, "stops": [],
              "points": [{"latency_ms": 0.5}, {"latency_ms": 0.25}]},
     "trial 4 reported val_error 12.35, latency_ms 0.25 at step 3"),
    ("told", {"event": "reported", "trial": 4, "step": 3, "metrics": {"val_error": math.nan}, "points": [],
              "stops": [{"trial": 2, "reason": "rank 9 of 9\nat rung 3"}]},
     "trial 4 reported val_error nan at step 3; trial 2 gives up: rank 9 of 9 at rung 3"),
    ("told", {"event": "finished", "trial": 4, "step": 9, "stops": []}, "trial 4 reached step 9"),
    ("told", {"event": "failed", "trial": 4, "reason": "oom", "stops": []}, "trial 4 failed: oom"),
    ("told", {"event": "failed", "trial": 4, "reason": "", "stops": []}, "trial 4 failed"),
    ("told", {"event": "stopped", "trial": 4, "by": "user", "stops": []}, "trial 4 was stopped by the user"),
    ("told", MEASURED, "signature 01234567 measured: 0.05, 0.123 ms up to each exit on cpu:x"),
    ("told", MEASURED | {"error": "no runtime"}, "signature 01234567 could not be measured: no runtime"),
    ("lost", {"event": "lost", "trial": 4, "stops": [], "job": "j", "attempt": 1, "reason": "no sign of life",
              "retried": True, "from": 3},
     "trial 4: attempt 1 was lost (no sign of life), runs again from step 3"),
    ("lost", {"event": "lost", "trial": 4, "stops": [], "job": "j", "attempt": 2, "reason": "worker shut down",
              "cause": "preempted", "retried": True, "from": 3},
     "trial 4: attempt 2 was handed back (worker shut down), runs again from step 3"),
    ("lost", {"event": "lost", "trial": 4, "stops": [], "job": "j", "attempt": 1, "reason": "out of memory",
              "cause": "out_of_memory", "retried": True, "from": 0, "alone": True},
     "trial 4: attempt 1 did not fit (out of memory), runs again from step 0, alone"),
    ("prioritized", {"priority": 2.5}, "priority 2.5"),
    ("waits", {"text": "device cuda: no worker serves it"}, "waits: device cuda: no worker serves it"),
    ("waits", {"text": ""}, "waits no longer"),
    ("lost", {"event": "lost", "trial": 4, "stops": [], "job": "j", "attempt": 5, "reason": "oops", "retried": False},
     "trial 4: attempt 5 was lost (oops), is given up"),
    ("injected", {"event": "injected", "trial": 7, "config": {"lr": 0.1, "bits.0": 4}, "stops": [], "trials": []},
     "a config was injected: lr=0.1, bits.0=4"),
    ("extended", {"event": "extended", "max_trials": 9, "budget": {"trials": 9, "hours": 0.5}, "stops": []},
     "new budget: trials 9, hours 0.5"),
    ("deepened", {"event": "deepened", "R": 81, "stops": [], "trials": []},
     "R was raised to 81: training goes on from the checkpoints"),
    ("extended", {"budget": {}}, "new budget: without limit"),
    ("begun", {"job": "j", "trial": 4, "attempt": 1, "worker": "w0", "device": "cpu:x", "kind": "train", "since": 1,
               "until": 3},
     "trial 4: w0 began to train from 1 to 3 on cpu:x"),
    ("begun", {"job": "j", "trial": 4, "attempt": 1, "worker": "w0", "device": "", "kind": "train", "since": 1,
               "until": 3, "warm": True},
     "trial 4: w0 began to train from 1 to 3, from memory"),
    ("begun", {"job": "j", "trial": 4, "attempt": 2, "worker": "w0", "device": "", "kind": "export", "since": 9,
               "until": 9},
     "trial 4: w0 began to export, attempt 2"),
    ("status", {"status": "verifying", "reason": "the budget of trials is spent", "then": "done"},
     "study verifying: the budget of trials is spent"),
    ("status", {"status": "running", "reason": ""}, "study running"),
    ("rebased", {"version": "0.2.0", "difference": {"seq": 7, "kind": "asked", "recorded": {}, "computed": {}},
                 "reports": [], "jobs": []},
     "rebased on searchd 0.2.0: it decides otherwise since seq 7; what was trained stays"),
    ("remarked", {"trial": 12, "text": "probably no config of this space keeps the bounds on a"},
     "probably no config of this space keeps the bounds on a"),
    ("remarked", {"trial": 13, "text": ""}, "the searcher takes back its last remark"),
    ("capacity", {"slots": 1}, "1 worker slot"),
    ("capacity", {"slots": 2}, "2 worker slots"),
    ("budget", {"spent": None, "seconds": 75.9}, "the study has run for 1 min 15 s"),
    ("budget", {"spent": "hours", "seconds": 3725.0}, "the budget of hours is spent: the study has run for 1 h 2 min"),
    ("exporting", {"trial": 4, "step": 9, "job": "j", "points": [0, 2]},
     "trial 4: exporting 2 front points at step 9"),
    ("inherited", {"trial": 4, "job": "j", "attempt": 1, "parent": 2, "step": 9, "ok": True, "reason": ""},
     "trial 4 began with the weights of trial 2 at step 9, morphed"),
    ("inherited", {"trial": 4, "job": "j", "attempt": 1, "parent": 2, "step": 9, "ok": False, "reason": "it is gone"},
     "trial 4 began from nothing, without the weights of trial 2 at step 9: it is gone"),
    ("verified", {"trial": 4, "job": "j", "step": 9, "ok": True, "alone": True, "points": [{}, {}], "reason": ""},
     "trial 4: 2 front points verified from the exported file"),
    ("verified", {"trial": 4, "job": None, "step": 9, "ok": False, "points": [], "reason": "no checkpoint"},
     "trial 4: its front points keep the unverified numbers: no checkpoint"),
    ("verified", {"trial": 4, "job": "j", "step": 9, "ok": True, "alone": False, "reason": "",
                  "points": [{"point": 1, "metrics": {"latency_ms": 0.02}}], "predicted": {"1": 0.01875}},
     "trial 4: 1 front points verified from the exported file, beside other jobs; latency_ms 0.01875 predicted, "
     "0.02 measured"),
    ("refitted", {"event": "repredicted", "off": 0.126, "bound": 0.05, "measured": 7, "predictor": {}, "stops": []},
     "latency is predicted anew: off by 12.6 % on the front, more than 5.0 %; fitted to 7 figures more"),
    ("quarantined", {"error": "KeyError: 'x'", "message": "{}"},
     "a message broke the engine and was set aside: KeyError: 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload", "line"), LINES, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(LINES)])
def test_each_event_has_its_line(kind: str, payload: dict[str, Any], line: str) -> None:
    """The text says what happened, to whom, and why."""
    assert text(EventRow("s", 1, 0.0, kind, payload), GOALS) == line


def test_every_kind_is_covered() -> None:
    """No kind of the log is without a line here."""
    assert {kind for kind, _, _ in LINES} == set(get_args(Kind))


@pytest.mark.parametrize("kind", [*get_args(Kind), "of the future"])
@pytest.mark.parametrize(
    "payload", [{}, {"event": "new"}, {"answer": "job"}, {"trial": "x", "stops": [{}]}, {"points": 3}]
)
def test_an_unknown_payload_is_shown_by_its_kind(kind: str, payload: dict[str, Any]) -> None:
    """A log of a newer release never breaks the view."""
    line = text(EventRow("s", 1, 0.0, kind, payload), GOALS)
    assert line
    assert "\n" not in line


def test_the_log_is_read_in_pieces(tmp_path: Path) -> None:
    """After a seq, up to a limit, with the trial where there is one, and payloads as strict JSON."""
    store = open_store(tmp_path / "s.db")
    with store.transaction() as t:
        t.add_study(study_row("s"))
        for n in range(5):
            payload = {"event": "finished", "trial": n, "step": 1, "losses": [math.inf], "stops": []}
            t.append("s", "told", payload, float(n))
        t.append("s", "capacity", {"slots": 2}, 9.0)
    with store.reading() as r:
        assert views.log(r, "s", after=1, limit=2) == [
            {"seq": 2, "at": 1.0, "kind": "told", "trial": 1, "text": "trial 1 reached step 1",
             "payload": {"event": "finished", "trial": 1, "step": 1, "losses": [None], "stops": []}},
            {"seq": 3, "at": 2.0, "kind": "told", "trial": 2, "text": "trial 2 reached step 1",
             "payload": {"event": "finished", "trial": 2, "step": 1, "losses": [None], "stops": []}},
        ]  # fmt: skip
        assert [e["trial"] for e in views.log(r, "s", limit=None)] == [0, 1, 2, 3, 4, None]
        assert views.log(r, "s", after=6) == []
    store.close()
