"""Laws of `Search`: what an engine relies on when it logs calls and replays them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import TrialId
from searchd.search.events import (
    Event,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Job,
    Lost,
    Measured,
    Reported,
    Stopped,
    Wait,
)
from searchd.search.search import Search
from searchd.searchers.base import History, generator
from spaces.config import Config
from tests.support.studies import FUNCTION, NETS, measurement, study, toy_report


class Recorded:
    """Answers the configs of a log, and nothing else."""

    def __init__(self, configs: dict[TrialId, Config]) -> None:
        self.configs = configs

    def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:  # noqa: ARG002
        return self.configs[trial]


Call = tuple[Event | None, Any]


def chaos(search: Search, seed: int, workers: int, turns: int) -> list[Call]:
    """Drives a search with troubles; the calls that changed something, with their answers, as an engine logs them."""
    draw = Random(seed)
    log: list[Call] = []
    jobs: dict[TrialId, Job] = {}
    state = {"injected": 0}

    def tell(event: Event) -> None:
        stops = search.tell(event)
        log.append((event, stops))
        for stop in stops:
            jobs.pop(stop.trial, None)

    def ask() -> Any:
        before = dict(search.trials)
        answer = search.ask()
        if isinstance(answer, Wait | Exhausted):
            assert dict(search.trials) == before, "Wait and Exhausted change nothing"
        else:
            assert answer.trial not in jobs, "one job a trial at a time"
            jobs[answer.trial] = answer
            log.append((None, answer))
        return answer

    def work(job: Job) -> None:
        if job.kind == "measure":
            del jobs[job.trial]
            tell(measurement(search, job) if draw.random() < 0.9 else Measured(job.signature or "", error="no"))
            return
        metrics, points = toy_report(search, job, job.until)
        if draw.random() < 0.1:
            points, metrics = (), {name: float("nan") for name in metrics}
        tell(Reported(job.trial, job.until, metrics, points))
        if jobs.pop(job.trial, None):
            tell(Finished(job.trial, job.until))

    for _ in range(turns):
        chances = {"ask": 20, "work": 25, "lost": 2, "failed": 2, "stopped": 2, "inject": 2, "extend": 1}
        what = draw.choices(list(chances), list(chances.values()))[0]
        if what == "ask" and len(jobs) < workers:
            ask()
        elif what == "inject" and state["injected"] < 5:
            state["injected"] += 1
            tell(Injected(search.study.space.sample(generator(77, seed + state["injected"]))))
        elif what == "extend":
            tell(Extended(draw.randint(5, 15)))
        elif jobs and what in ("work", "lost", "failed", "stopped"):
            job = jobs[draw.choice(sorted(jobs))]
            if what == "work":
                work(job)
            elif what == "lost":
                tell(Lost(job.trial))
            else:
                anyone = draw.choice(sorted(search.trials))
                jobs.pop(anyone, None)
                tell(Failed(anyone, "trouble") if what == "failed" else Stopped(anyone))
    while True:
        answer = ask() if len(jobs) < workers else Wait()
        if isinstance(answer, Job):
            continue
        if not jobs:
            assert isinstance(answer, Exhausted), "Wait only while something runs"
            return log
        work(jobs[min(jobs)])


@pytest.mark.parametrize("scheduler", ["fifo", "asha", "stopping", "hyperband", "async-hyperband"])
@pytest.mark.parametrize("base", [FUNCTION, NETS])
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 100))
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_replay(scheduler: str, base: dict[str, Any], seed: int, workers: int, turns: int) -> None:
    """The calls that changed something, made again with the recorded configs, give the same answers and front."""
    spec = study(base, search={"scheduler": scheduler, "brackets": None}, budget={"trials": 9})
    live = Search(spec)
    log = chaos(live, seed, workers, turns)
    again = Search(spec, searcher=Recorded({t: r.config for t, r in live.trials.items()}))
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert {t: r.state for t, r in again.trials.items()} == {t: r.state for t, r in live.trials.items()}
    assert again.front() == live.front()
    assert list(live.trials) == list(range(len(live.trials)))
    measured = [a.signature for e, a in log if e is None and a.kind == "measure"]
    failed = {e.signature for e, _ in log if isinstance(e, Measured) and e.error}
    gone = {live.trials[a.trial].signature for e, a in log if e is None and live.trials[a.trial].state != "done"}
    for signature in set(measured) - failed - gone:
        assert measured.count(signature) == 1, "a shape is measured once"


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 60))
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
def test_replay_of_tpe(seed: int, workers: int, turns: int) -> None:
    """A search by TPE that is cut at any call and rebuilt from its log goes on with the same suggestions."""
    spec = study(search={"searcher": "tpe", "options": {"startup": 3}}, budget={"trials": 14})
    log = chaos(Search(spec), seed, workers, turns)
    again = Search(spec)
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
