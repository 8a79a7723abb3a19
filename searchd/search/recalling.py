"""A fresh search that begins with what another rule's search brought: nothing that was trained is lost.

Records, losses, measurements and descriptions are those of the facts, in the order in which they came to be known. The
scheduler is the new rule's, told what is recorded wherever it asks for it (`searchd.schedulers.recalled`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.recalled import Past, Recalled
from searchd.search import points as merging
from searchd.search.facts import Facts, TrialFacts
from searchd.search.pace import pace_of
from searchd.search.search import Search
from searchd.searchers.base import Record
from searchd.searchers.record import State

ENDED_BY_REBASE = "its job ended with the rebase"


def recall(search: Search, facts: Facts) -> None:
    """Give a fresh search what is known. Trials that never trained are due first, with their configs."""
    for event in (facts.limit, facts.deepened, facts.repredicted):
        if event is not None:
            search.tell(event)
    for measured in facts.measured.values():
        search._measurements.learn(measured)
    for trial, metrics in facts.described.items():
        config = facts.trials[trial].config
        search._descriptions.learn(config, metrics)
        broken = merging.broken_bound(search.study.objectives, metrics)
        if broken is not None and not facts.trials[trial].over:
            facts.trials[trial].over, facts.trials[trial].reason = "vetoed", broken
    for known in facts.trials.values():
        if known.over == "vetoed":
            search._descriptions.veto(known.config, known.reason)
    losses: dict[TrialId, dict[int, tuple[Losses, ...]]] = {trial: {} for trial in facts.trials}
    for trial, step in facts.order:
        known = facts.trials[trial]
        if step == 0:
            signature = search._vetting.signature(known.config)
            parent, morph = known.morphed or (None, None)
            search._book.put(Record(trial, known.config, "waiting", signature=signature, born=search._book.tally,
                                    parent=parent, morph=morph))  # fmt: skip
            search._taken.add(known.config)
        else:
            _enter(search, trial, step, known, losses[trial])
    past = {
        trial: Past(MappingProxyType(losses[trial]), known.finished, _over(known))
        for trial, known in facts.trials.items()
        if known.over or losses[trial]
    }
    search.scheduler = Recalled(search.scheduler, past, len(facts.trials))
    for trial, known in facts.trials.items():
        if trial in past:
            _rest(search, trial, known)
        else:
            search._injected.append(trial)
    search._started = len(past)


def _enter(
    search: Search, trial: TrialId, step: int, known: TrialFacts, losses: dict[int, tuple[Losses, ...]]
) -> None:  # fmt: skip
    """A report enters the history; one that lacks an objective ends its trial, as it did then."""
    merged = search.merged(trial, step, *known.reports[step])
    if any(merging.missing(search.study.objectives, point) for point in merged):
        known.over, known.reason = known.over or "failed", known.reason or known.given_up
        return
    losses[step] = tuple(merging.losses(search.study.objectives, point) for point in merged)
    search._book.enter(trial, step, losses[step], pace_of(known.reports[step][0], step))
    search._points[trial] = (step, merged)


def _rest(search: Search, trial: TrialId, known: TrialFacts) -> None:
    """The state of a trial as it was, until the new rule wants something of it."""
    top = max((ladder[-1] for ladder in search.scheduler.ladders()), default=0)
    state: State
    if known.over:
        state, reason = known.over, known.reason
    elif known.given_up:
        state, reason = "stopped", known.given_up
    elif known.finished >= top:
        state, reason = "done", ""
    else:
        state, reason = "paused", "" if known.finished else ENDED_BY_REBASE
    until = max((known.finished, *known.reports))
    search._book.change(trial, state=state, reason=reason, step=known.finished, until=until)


def _over(known: TrialFacts) -> Literal["", "failed", "stopped"]:
    """A veto is told as a stop: what never competed takes no place in a rung."""
    return "stopped" if known.over == "vetoed" else known.over
