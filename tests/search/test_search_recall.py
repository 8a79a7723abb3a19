"""A fresh search that begins with what another brought: records, front and history are those of before."""

from __future__ import annotations

from math import nan

import pytest

from searchd.schedulers.hyperband import Hyperband
from searchd.search.events import Event, Failed, Finished, Job, Measured, Reported, Stopped, Vetoed
from searchd.search.facts import Facts
from searchd.search.recalling import recall
from searchd.search.search import Search
from searchd.searchers.table import Table
from spaces.config import Config
from tests.support.studies import FUNCTION, NETS, measurement, study, toy_report


def brought(search: Search, jobs: int) -> Facts:
    """The facts of a search of one worker after so many jobs; one trial fails, one diverges, the user stops one."""
    facts = Facts()

    def tell(event: Event) -> bool:
        stops = search.tell(event)
        facts.happened(event, stops)
        return bool(stops)

    for count in range(jobs):
        job = search.ask()
        assert isinstance(job, Job)
        if job.trial not in facts.trials:
            facts.came(job.trial, job.config)
        if job.kind == "measure":
            facts.measures(job.trial, job.signature or "")
            tell(measurement(search, job))
            continue
        for step in range(job.since + 1, job.until + 1):
            metrics, points = toy_report(search, job, step)
            if count == 5:
                metrics, points = dict.fromkeys(metrics, nan), ()
            if search.is_rung(job.trial, step) and tell(Reported(job.trial, step, metrics, points)):
                break
        else:
            tell(Finished(job.trial, job.until) if count != 4 else Failed(job.trial, "oom"))
    tell(Stopped(2, "user"))
    return facts


@pytest.mark.parametrize("said", [FUNCTION, NETS], ids=["function", "classify"])
def test_what_was_known_is_known(said: dict[str, object]) -> None:
    """Configs, losses, tallies, signatures, the front and the ends of trials are the same under the new rule."""
    old = Search(study(said))
    facts = brought(old, 24)
    new = Search(study(said), scheduler=Hyperband(1, 9, 3, max_trials=20))
    recall(new, facts)
    assert list(new.trials) == list(old.trials)
    for trial, before in old.trials.items():
        after = new.trials[trial]
        assert (after.config, after.losses, after.signature) == (before.config, before.losses, before.signature)
        assert {s: after.heard[s] for s in after.losses}.keys() == before.losses.keys()
        if before.state in ("failed", "stopped"):
            assert (after.state, after.reason) == (before.state, before.reason)
        if before.losses:
            assert (after.step, after.born >= 0) == (before.step, True)
    tallies = sorted((r.heard[s], t, s) for t, r in new.trials.items() for s in r.losses)
    told = [(trial, step) for trial, step in facts.order if step in old.trials[trial].losses]
    assert [(trial, step) for _, trial, step in tallies] == told
    assert new.front() == old.front() != []
    history = new.history
    cold = Table.of(history.space, history.objectives, history.ladders, history.records)
    assert (cold.entered == history.table.entered).all()


def test_what_was_trained_is_not_asked_for_again() -> None:
    """The new rule's first jobs are of trials that never trained, or go on where the record ends."""
    old = Search(study())
    facts = brought(old, 24)
    new = Search(study(), scheduler=Hyperband(1, 9, 3, max_trials=20))
    recall(new, facts)
    jobs = 0
    while isinstance(job := new.ask(), Job):
        jobs += 1
        known = facts.trials.get(job.trial)
        if known is not None and known.finished:
            assert job.since >= known.finished
            assert not known.over
        for step in range(job.since + 1, job.until + 1):
            if new.is_rung(job.trial, step):
                new.tell(Reported(job.trial, step, toy_report(new, job, step)[0]))
        new.tell(Finished(job.trial, job.until))
    assert jobs > 0
    assert len(new.trials) == 20


def test_a_recorded_config_is_not_suggested_again() -> None:
    """The searcher of the new search proposes one that is recorded; another is taken."""
    said = {**FUNCTION, "space": {"k": {"int": [1, 2]}}}
    facts = Facts()
    facts.came(0, Config({"k": 1}))
    facts.happened(Finished(0, 1, {"loss": 1.0}))
    for seed in range(8):
        new = Search(study(said), seed)
        recall(new, facts)
        answer = new.ask()
        assert isinstance(answer, Job)
        assert answer.config == Config({"k": 2})


def test_what_is_a_fact_and_what_a_decision() -> None:
    """The scheduler's stop is a decision of then; the user's, a failure and a veto are facts; the first word counts."""
    facts, first = Facts(), Search(study()).ask()
    assert isinstance(first, Job)
    for trial in range(5):
        facts.came(trial, first.config)
    for event in (Stopped(0, "scheduler"), Stopped(1, "user"), Failed(2, "oom"), Vetoed(3, "no"), Failed(1, "late")):
        facts.happened(event)
    assert [facts.trials[n].over for n in range(5)] == ["", "stopped", "failed", "vetoed", ""]
    facts.reported(4, 1, {"loss": 1.0}, ())
    facts.reported(4, 1, {"loss": 2.0}, ())
    assert facts.trials[4].reports[1] == ({"loss": 1.0}, ())
    facts.measures(4, "sig")
    facts.happened(Measured("sig", error="no kernel"))
    assert (facts.trials[4].over, facts.trials[4].reason) == ("failed", "its latency could not be measured: no kernel")
    facts.happened(Measured("sig", (1.0,)))
    facts.happened(Measured("sig", error="again"))
    assert facts.measured["sig"].cumulative_ms == (1.0,)
