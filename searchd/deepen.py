"""What raising the maximum resource of a study would cost, before anything is spent: `searchd deepen` shows it.

The scheduler is brought to where the log ends, told that R was raised, and driven to its end with made-up losses: a
trial goes on as good as it was last, new trials do as the known ones did. Where the number of jobs depends on losses,
the answer is an expected one and says so; for `hyperband` (efficient) and `fifo` it is exact unless trials fail. An
expected price is what the deeper search is thought to take beyond what the other one is: never less than nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from searchd.engine.commands import check_deeper, check_room, count_started, nobody
from searchd.engine.mind import remember
from searchd.errors import NotFound, Refused
from searchd.schedulers.events import (
    Deepened,
    Extended,
    Finished,
    Losses,
    Reported,
    Resume,
    Scheduler,
    Start,
    TrialId,
)
from searchd.search.algorithms import make_scheduler
from searchd.search.search import Search
from searchd.store.base import Reader
from spaces.study import SearchSpec

LossOf = Callable[[TrialId, int], tuple[Losses, ...]]
Done = tuple[TrialId, int, int]
"""A job: its trial, from which step, and which it reached."""
ENDLESS = 1_000_000
"""More jobs than this are not counted."""


@dataclass(slots=True)
class Account:
    """Jobs in the order in which they were asked for."""

    jobs: list[Done] = field(default_factory=list)

    def totals(self) -> dict[str, int]:
        """`trials` that start, `evaluations` (jobs), `steps` from checkpoints on, `steps_restart` (the paper's)."""
        return {
            "trials": sum(since == 0 for _, since, _ in self.jobs),
            "evaluations": len(self.jobs),
            "steps": sum(reached - since for _, since, reached in self.jobs),
            "steps_restart": sum(reached for _, _, reached in self.jobs),
        }


def deepening(reader: Reader, study: str, max_resource: int, trials: int | None = None) -> dict[str, Any]:
    """The price of `deepen`, as JSON: `from`, `to`, `eta`, `unit`, `scheduler`, `exact`; `extra`: what it adds to the
    work that is still to be done, `fresh`: what a new search at the new R would take, each {trials, evaluations,
    steps, steps_restart}; `rungs` [{step, trials, new, promoted}]; `resumed`: trials that go on from their checkpoints;
    `notes`. `trials`: a new limit on their number that is set with it.

    StudyError when `max_resource` is no R · eta^k or fewer `trials` than have started, Refused where R cannot be raised
    or nobody would train on, NotFound for an unknown study.
    """
    row = reader.study(study)
    if row is None:
        raise NotFound(f"no study {study!r}")
    search = remember(row, reader).search
    spec = SearchSpec(**dict(row.spec["search"]))
    limit = (row.spec.get("budget") or {}).get("trials")
    check_deeper(spec, max_resource)
    started = count_started(search)
    check_room(started, trials)
    given = limit if trials is None else trials
    notes: list[str] = []
    counted = given
    if given is None and spec.scheduler != "hyperband":
        counted = started
        notes.append("no budget.trials: new trials go on without end; only those that are known are counted")
    losses = _guess(search)
    before = _rest(search, losses, None, limit if limit is not None else counted)
    after = _rest(search, losses, max_resource, counted)
    busy = any(record.state in ("running", "waiting") for record in search.trials.values())
    if given is not None and not after.jobs and not busy:
        raise Refused(nobody(spec, max_resource, given))
    exact = spec.scheduler == "fifo" or (
        spec.scheduler == "hyperband" and spec.options.get("deepening", "efficient") == "efficient"
    )
    extra, rungs = _more(after, before, exact=exact)
    fresh = _fresh(search, spec, max_resource, given, losses, after)
    _limit_note(search, spec, max_resource, given, losses, notes)
    if spec.scheduler == "stopping":
        notes.append("trials that were stopped stay stopped: only those that reached R go on")
    if not any(rung["step"] == max_resource for rung in rungs):
        notes.append(f"by this nobody gets to {max_resource}: too few are at the rungs below")
    if not exact:
        notes.append("expected numbers: which trials go on depends on losses that are not known yet")
    steps = (row.spec.get("budget") or {}).get("steps")
    if steps is not None:
        notes.append(f"the budget of {steps} {spec.unit}s stays: raise it if it ends the search too soon")
    return {
        "study": row.name, "from": spec.R, "to": max_resource, "eta": spec.eta, "unit": spec.unit,
        "scheduler": spec.scheduler, "exact": exact, "extra": extra, "fresh": fresh.totals(),
        "resumed": len({j[0] for j in set(after.jobs) - set(before.jobs) if j[1] and j[0] in search.trials}),
        "rungs": rungs, "notes": notes,
    }  # fmt: skip


def _rest(search: Search, losses: LossOf, R: int | None, limit: int | None) -> Account:
    """Everything that a copy of the search's scheduler still asks for, after its running jobs."""
    scheduler = copy.deepcopy(search.scheduler)
    for record in search.trials.values():
        if record.state in ("running", "waiting") and record.until:
            _run(scheduler, record.trial, max((s for s in record.losses), default=record.step), record.until, losses)
    if R is not None:
        try:
            scheduler.tell(Deepened(R))
        except ValueError as error:
            raise Refused(str(error)) from None
    scheduler.tell(Extended(limit))
    return _drain(scheduler, losses)


def _drain(scheduler: Scheduler, losses: LossOf) -> Account:
    account = Account()
    while len(account.jobs) < ENDLESS:
        match scheduler.ask():
            case Start(trial, until, since=since):  # above 0 where it takes over another's weights
                account.jobs.append((trial, since, _run(scheduler, trial, since, until, losses)))
            case Resume(trial, since, until):
                account.jobs.append((trial, since, _run(scheduler, trial, since, until, losses)))
            case _:
                break
    return account


def _run(scheduler: Scheduler, trial: TrialId, since: int, until: int, losses: LossOf) -> int:
    """One job from `since`; the step that it reached: less than `until` when the scheduler stopped it."""
    steps = sorted({s for rungs in scheduler.ladders() for s in rungs if since < s < until} | {until})
    for step in steps:
        if scheduler.is_rung(trial, step):
            stops = scheduler.tell(Reported(trial, step, losses(trial, step)))
            if any(stop.trial == trial for stop in stops):
                return step
    scheduler.tell(Finished(trial, until))
    return until


def _guess(search: Search) -> LossOf:
    """Losses of trials at steps that nobody has seen: see the module."""
    records = search.trials
    known = [r for r in records.values() if r.losses]
    worst = (Losses((0.0,) * len(search.study.objectives)),)

    def guess(trial: TrialId, step: int) -> tuple[Losses, ...]:
        record = records.get(trial)
        if record is None or not record.losses:
            if not known:
                return worst
            record = known[trial * 7919 % len(known)]
        passed = [s for s in record.losses if s <= step] or [min(record.losses)]
        return record.losses[max(passed)]

    return guess


def _fresh(
    search: Search, spec: SearchSpec, R: int, limit: int | None, losses: LossOf, after: Account
) -> Account:
    """A new search at the deeper R, with as many trials."""
    if limit is None and spec.scheduler != "hyperband":
        limit = count_started(search) + after.totals()["trials"]
    names = [o.name for o in search.study.objectives]
    return _drain(make_scheduler(spec.model_copy(update={"R": R}), limit, names), losses)


def _limit_note(
    search: Search, spec: SearchSpec, R: int, limit: int | None, losses: LossOf, notes: list[str]
) -> None:
    """Brackets grow with R: says when the limit on trials keeps them from it."""
    if limit is None or spec.scheduler != "hyperband":
        return
    wanted = count_started(search) + _rest(search, losses, R, None).totals()["trials"]
    if wanted > limit:
        notes.append(f"the deeper brackets want {wanted} trials, and budget.trials is {limit}: with --trials {wanted} "
                     "they are filled")  # fmt: skip


def _more(after: Account, before: Account, *, exact: bool) -> tuple[dict[str, int], list[dict[str, int]]]:
    """What `after` has and `before` has not: the totals, and how many jobs end at each step, of new trials and of such
    that go on from a rung. Of expected numbers no difference is below 0: who would train less is not set off."""
    found: dict[int, dict[str, int]] = {}
    for account, sign in ((after, 1), (before, -1)):
        for _, since, reached in account.jobs:
            rung = found.setdefault(reached, {"step": reached, "trials": 0, "new": 0, "promoted": 0})
            rung["promoted" if since else "new"] += sign
    least = -ENDLESS if exact else 0
    for rung in found.values():
        rung["new"], rung["promoted"] = max(least, rung["new"]), max(least, rung["promoted"])
        rung["trials"] = rung["new"] + rung["promoted"]
    rungs = [found[step] for step in sorted(found) if found[step]["new"] or found[step]["promoted"]]
    anyway = before.totals()
    extra = {name: max(least, total - anyway[name]) for name, total in after.totals().items()}
    if not exact:
        extra["evaluations"] = sum(rung["trials"] for rung in rungs)
    return extra, rungs
