"""What a person asks of a study, as changes of one transaction. Refused says which state forbids it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from searchd.engine.turn import BY_USER, ENDED_TRIAL, STUDY_ENDED, Turn
from searchd.errors import NotFound, Problem, Refused, StudyError
from searchd.schedulers.events import Exhausted
from searchd.schedulers.rungs import deeper
from searchd.search.events import Deepened, Extended, Injected, Stopped
from searchd.search.search import Search
from searchd.store.base import JobRow, Store
from spaces.study import SearchSpec, Study
from spaces.suggest import did_you_mean

BUDGET = ("trials", "hours", "steps", "parallel")
SPEND_EVERY_S = 60.0


def pause(turn: Turn) -> None:
    if turn.row.status not in ("queued", "running"):
        raise Refused(f"study {turn.row.name!r} is {turn.row.status}: only a queued or running study can be paused")
    turn.set_status("paused", "paused by the user")


def resume(turn: Turn) -> None:
    if turn.row.status not in ("paused", "stopped", "faulted"):
        larger = "; give it a larger budget: `searchd resume STUDY --trials N`, or `extend` over HTTP"
        hint = larger if turn.row.status == "done" else ""
        raise Refused(
            f"study {turn.row.name!r} is {turn.row.status}: only a paused, stopped or faulted one resumes{hint}"
        )
    turn.set_status("running", "resumed by the user")


def stop(turn: Turn) -> None:
    """Running jobs are asked to stop, unclaimed ones are cancelled; exports of a study that is verifying go on."""
    if turn.row.status not in ("queued", "running", "paused", "verifying"):
        raise Refused(f"study {turn.row.name!r} is {turn.row.status}: there is nothing to stop")
    for job in turn.in_flight():
        if job.kind != "export":
            _end(turn, job, STUDY_ENDED)
    turn.end_search("stopped", BY_USER)


def stop_trial(turn: Turn, trial: int) -> None:
    row = turn.tx.trial(turn.id, trial)
    if row is None:
        raise NotFound(f"study {turn.row.name!r} has no trial {trial}")
    if row.status in ENDED_TRIAL:
        raise Refused(f"trial {trial} is {row.status}: there is nothing to stop")
    jobs = [job for job in turn.in_flight(trial) if job.kind != "export"]
    for job in jobs:
        _end(turn, job, BY_USER)
    if not jobs:
        turn.tell(Stopped(trial, by="user"))
        turn.tx.set_trial(turn.id, trial, reason=BY_USER)


def _end(turn: Turn, job: JobRow, reason: str) -> None:
    if turn.end(job, reason):
        turn.tell(Stopped(job.trial, by="user"))
        turn.tx.set_trial(turn.id, job.trial, reason=reason)


def inject(turn: Turn, values: Mapping[str, Any]) -> int:
    if turn.row.status in ("faulted", "verifying"):
        raise Refused(f"study {turn.row.name!r} is {turn.row.status}: it takes no config now")
    config = turn.study.space.complete(values)
    trial = len(turn.search.trials)  # ids count up without gaps
    turn.tell(Injected(config), kind="injected", trial=trial)
    if turn.row.status in ("done", "stopped"):
        turn.set_status("running", f"trial {trial} was injected")
    return trial


def extend(turn: Turn, budget: Mapping[str, Any]) -> None:
    """Replace the budget of the study; StudyError when it is none."""
    if unknown := sorted(set(budget) - set(BUDGET)):
        said = {key: f"unknown key {key!r}: {did_you_mean(key, BUDGET)}" for key in unknown}
        raise StudyError([Problem(f"budget.{key}", why) for key, why in said.items()])
    new = {key: value for key, value in budget.items() if value is not None}
    spec = {**turn.row.spec, "budget": new}
    trials = Study.parse(spec).budget.trials
    if trials != turn.study.budget.trials:
        turn.tell(Extended(trials), kind="extended", budget=new)
    else:
        turn.log("extended", {"budget": new})
    rewrite(turn, spec)
    if turn.row.status in ("done", "stopped", "verifying"):
        turn.set_status("running", "the budget was extended")


def prioritize(turn: Turn, priority: float) -> None:
    """The weight of the study from now on; no decision of its search depends on it."""
    if turn.row.status in ("done", "stopped"):
        raise Refused(f"study {turn.row.name!r} is {turn.row.status}: it shares no slots any more")
    rewrite(turn, {**turn.row.spec, "priority": priority})
    turn.log("prioritized", {"priority": turn.study.priority})


def deepen(turn: Turn, max_resource: int, trials: int | None = None) -> None:
    """Raise the maximum resource to R · eta^k, and perhaps the number of trials with it. What was trained is kept.

    StudyError when `max_resource` is none of those, or `trials` fewer than have started; Refused when the study has
    ended and nobody would train on.
    """
    if turn.row.status == "faulted":
        raise Refused(f"study {turn.row.name!r} is faulted: resume it first, then deepen it")
    check_deeper(turn.study.search, max_resource)
    check_room(count_started(turn.search), trials)
    turn.tell(Deepened(max_resource), kind="deepened")
    rewrite(turn, {**turn.row.spec, "search": {**turn.row.spec["search"], "R": max_resource}})
    if trials is not None:
        extend(turn, {**turn.row.spec["budget"], "trials": trials})
    if turn.row.status in ("done", "stopped", "verifying"):
        limit = turn.study.budget.trials
        if limit is not None and isinstance(turn.search.scheduler.peek(), Exhausted) and not turn.in_flight():
            raise Refused(nobody(turn.study.search, max_resource, limit))
        turn.set_status("running", f"R was raised to {max_resource}")


def nobody(spec: SearchSpec, max_resource: int, limit: int) -> str:
    """Why a deepening would change nothing, and what would."""
    return (f"nobody would train on to {max_resource}: no trial may go up by the rules of {spec.scheduler}, and "
            f"budget.trials = {limit} lets no new one start; more trials with it (--trials N) start some")  # fmt: skip


def count_started(search: Search) -> int:
    """How many trials have had their first job: a user's config that waits has not."""
    return sum(bool(record.until) or record.state != "waiting" for record in search.trials.values())


def check_room(started: int, trials: int | None) -> None:
    """StudyError for a new number of trials that is below those that have started."""
    if trials is not None and trials < started:
        raise StudyError([Problem("trials", f"{started} trials have started, so that {trials} is no limit any more: "
                                            f"give {started} or more, or leave it out")])  # fmt: skip


def check_deeper(spec: SearchSpec, max_resource: int) -> None:
    """StudyError with the nearest allowed values unless `max_resource` is R · eta^k with k >= 1."""
    allowed = deeper(spec.R, max_resource, spec.eta)
    if max_resource not in allowed:
        why = f"{max_resource} is not R = {spec.R} times a power of eta = {spec.eta}"
        raise StudyError([Problem("max_resource", f"{why}: choose {' or '.join(map(str, allowed))}")])


def rewrite(turn: Turn, spec: Mapping[str, Any]) -> None:
    """The study as it is from now on; its log keeps what it was."""
    study = Study.parse(dict(spec))
    dumped = study.dump()
    turn.tx.set_study(turn.id, spec=dumped)
    turn.row = dataclasses.replace(turn.row, spec=dumped)
    turn.mind.study = study
    turn.mind.settled = False


def spend(turn: Turn, seconds: float) -> None:
    """Add to the time that the study ran; logged, so that a replay needs no clock."""
    turn.mind.seconds += seconds
    hours = turn.study.budget.hours
    spent = "hours" if hours is not None and turn.mind.seconds >= hours * 3600 else None
    turn.log("budget", {"spent": spent, "seconds": turn.mind.seconds})
    if spent:
        turn.mind.settled = False


def quarantine(store: Store, study: str, error: str, message: str, now: float) -> None:
    """The log and the row, without a search: what broke may be the search itself."""
    reason = f"{error}; see `searchd log`, mend the cause and `searchd resume`"
    with store.transaction() as tx:
        tx.append(study, "quarantined", {"error": error, "message": message}, now)
        tx.append(study, "status", {"status": "faulted", "reason": reason}, now)
        tx.set_study(study, status="faulted", status_reason=reason)
