"""A study goes on under rules that decide otherwise than its log: what was trained stays, what was decided is taken as
it is recorded, and the new rules begin with all of it (docs/decisions/0009-a-rebase-keeps-the-facts.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searchd import __version__
from searchd.engine.mind import remember
from searchd.engine.turn import IN_FLIGHT, Turn
from searchd.errors import NotFound, Refused
from searchd.replay import Difference, Replayer, last_rebase, note
from searchd.search.facts import Facts
from searchd.search.search import Search
from searchd.store.base import Reader, Transaction
from spaces.study import Study

REASON = "the study was rebased"


@dataclass(frozen=True, slots=True)
class Rebase:
    """What a rebase means. `difference`: the first decision that comes out otherwise, None where the log replays and
    there is nothing to do; `trials`, `steps`: what is kept; `reports`: rung reports that only the tables hold yet;
    `jobs`: what is in flight and ends."""

    name: str
    difference: Difference | None
    trials: int
    steps: int
    reports: tuple[Mapping[str, Any], ...]
    jobs: tuple[str, ...]

    @property
    def text(self) -> str:
        """The difference in words."""
        if self.difference is None:
            return f"the log of study {self.name!r} replays, this version decides as it did: nothing to rebase"
        return str(self.difference)

    def as_json(self) -> dict[str, Any]:
        """For people and programs: the first difference, and what is kept and ended."""
        found = None if self.difference is None else _plain(self.difference)
        return {"difference": found, "text": self.text, "trials": self.trials, "steps": self.steps,
                "jobs": list(self.jobs)}  # fmt: skip


def outlook(reader: Reader, study: str) -> Rebase:
    """What a rebase would do now. Refused when the log itself is broken."""
    row = reader.study(study)
    if row is None:
        raise NotFound(f"no study {study!r}")
    found: Difference | None = None
    replayer, facts = Replayer(last_rebase(reader, study)), Facts()
    spec: Mapping[str, Any] = {}
    for event in reader.events(study):
        spec = event.payload["spec"] if event.kind == "submitted" else spec
        note(facts, event)
        if found is None:
            found = replayer.play(event)
    steps = reader.counts(study)["steps"]
    if found is None:
        return Rebase(row.name, None, len(facts.trials), steps, (), ())
    if not found.decided:
        raise Refused(f"the log of study {row.name!r} is broken at {found}: no other rules explain that")
    return Rebase(
        row.name, found, len(facts.trials), steps, tuple(_only_in_tables(reader, study, spec, facts)),
        tuple(job.id for job in reader.jobs(study, IN_FLIGHT)),
    )  # fmt: skip


def _only_in_tables(reader: Reader, study: str, spec: Mapping[str, Any], facts: Facts) -> list[dict[str, Any]]:
    """Reports at rungs of the new rules that were none of the old ones', so that they were stored and not told."""
    search = Search(Study.parse(dict(spec)))
    if facts.deepened is not None:
        search.tell(facts.deepened)
    rungs = {step for ladder in search.scheduler.ladders() for step in ladder}
    return [
        {"trial": r.trial, "step": r.step, "metrics": dict(r.metrics), "points": [dict(p) for p in r.points]}
        for r in reader.reports(study)
        if r.step in rungs and r.trial in facts.trials and r.step not in facts.trials[r.trial].reports
    ]


def rebase(tx: Transaction, study: str, found: Rebase, now: float) -> Turn:
    """Log the rebase and begin anew with what is known. A faulted study goes on; any other stays as it is.

    Jobs in flight end: the new rules may want something else of their trials, and go on from their checkpoints.
    Refused when there is no difference.
    """
    if found.difference is None:
        raise Refused(found.text)
    row = tx.study(study)
    if row is None:
        raise NotFound(f"no study {study!r}")
    payload = {"version": __version__, "difference": _plain(found.difference), "reports": list(found.reports),
               "jobs": list(found.jobs)}  # fmt: skip
    tx.append(study, "rebased", payload, now)
    turn = Turn(tx, row, remember(row, tx), now)
    for job in found.jobs:
        tx.set_job(job, status="cancelled", reason=REASON, stop_reason=REASON, ended_at=now)
        turn.stops[job] = REASON
    for known in tx.trials(study):
        turn.mind.states[known.trial] = known.status
    turn.sync()
    if row.status == "faulted":
        turn.set_status("running", f"rebased on searchd {__version__}")
    return turn


def _plain(difference: Difference) -> dict[str, Any]:
    return {name: getattr(difference, name) for name in ("seq", "kind", "recorded", "computed")}
