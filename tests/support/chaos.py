"""A search in trouble: jobs are lost, fail and diverge, a user stops, injects, extends and deepens."""

from __future__ import annotations

from random import Random
from typing import Any

from searchd.schedulers.events import TrialId
from searchd.search.events import (
    Deepened,
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
from searchd.searchers.base import generator
from tests.support.studies import measurement, toy_report

Call = tuple[Event | None, Any]


def chaos(search: Search, seed: int, workers: int, turns: int, *, deeper: int = 0, most: int = 15) -> list[Call]:
    """Drives a search with troubles; the calls that changed something, with their answers, as an engine logs them.

    `deeper`: how often R is raised in the middle, relative to other things (once at most); `most`: trials after an
    extension.
    """
    draw = Random(seed)
    log: list[Call] = []
    jobs: dict[TrialId, Job] = {}
    state = {"injected": 0, "deepened": 0}

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
        rungs = (s for s in range(job.since + 1, job.until) if search.is_rung(job.trial, s))
        for step in rungs:
            if job.trial in jobs:
                tell(Reported(job.trial, step, *toy_report(search, job, step)))
        if job.trial in jobs:
            tell(Reported(job.trial, job.until, metrics, points))
        if jobs.pop(job.trial, None):
            tell(Finished(job.trial, job.until))

    for _ in range(turns):
        chances = {"ask": 20, "work": 25, "lost": 2, "failed": 2, "stopped": 2, "inject": 2, "extend": 1}
        chances["deepen"] = deeper
        what = draw.choices(list(chances), list(chances.values()))[0]
        if what == "ask" and len(jobs) < workers:
            ask()
        elif what == "inject" and state["injected"] < 5:
            state["injected"] += 1
            tell(Injected(search.study.space.sample(generator(77, seed + state["injected"]))))
        elif what == "deepen" and deeper and not state["deepened"]:
            state["deepened"] = 1
            tell(Deepened(search.study.search.R * search.study.search.eta))
        elif what == "extend":
            tell(Extended(draw.randint(5, most)))
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
