"""One transaction of one study: the hands that every part of the engine writes with."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from searchd.engine.mind import Hopeless, Mind
from searchd.log import Kind, Payload, event_payload, stops_payload
from searchd.replay import brought
from searchd.search.events import Event, Stop
from searchd.search.search import Search
from searchd.store.base import IN_FLIGHT, JobRow, JobStatus, StudyRow, StudyStatus, Transaction, TrialRow
from spaces.study import Study

__all__ = ["BY_USER", "ENDED_TRIAL", "IN_FLIGHT", "STUDY_ENDED", "UNCLAIMED", "Turn"]

log = logging.getLogger("searchd.engine")

UNCLAIMED: tuple[JobStatus, ...] = ("outbox", "queued")
ENDED_TRIAL = frozenset({"done", "stopped", "failed", "vetoed"})
BY_USER = "stopped by the user"
STUDY_ENDED = "the study was stopped"


@dataclass(slots=True)
class Turn:
    """What one step holds. `stops`: job → reason (None: take the request back), to be sent after the commit."""

    tx: Transaction
    row: StudyRow
    mind: Mind
    now: float
    stops: dict[str, str | None] = field(default_factory=dict)

    @property
    def search(self) -> Search:
        return self.mind.search

    @property
    def study(self) -> Study:
        return self.mind.study

    @property
    def id(self) -> str:
        return self.row.id

    def log(self, kind: Kind, payload: Mapping[str, Any]) -> int:
        """Append to the log of the study."""
        return self.tx.append(self.id, kind, payload, self.now)

    def tell(self, event: Event, kind: Kind = "told", **more: Any) -> None:
        """Tell the search, log what it answered, write what changed, and pass its stops on to the running jobs."""
        stops = self.search.tell(event)
        payload: Payload = {**event_payload(event), **more, "stops": stops_payload(stops), "trials": self.new_trials()}
        self.log(kind, payload)
        self.mind.settled = False
        self.sync()
        for stop in stops:
            self._give_up(stop)

    def new_trials(self) -> list[Payload]:
        """The trials that the last call to the search brought into being: their rows written, their form in the log."""
        fresh = brought(self.search, self.mind.seen)
        for new in fresh:
            state = new["state"]
            known = self.search.trials[new["trial"]]
            ended = self.now if state in ENDED_TRIAL else None
            self.tx.put_trial(TrialRow(self.id, new["trial"], new["config"], state, 0, 0, known.reason, "",
                                       known.signature, self.now, ended))  # fmt: skip
            self.mind.states[new["trial"]] = state
        return fresh

    def sync(self) -> None:
        """Write the state of every trial whose state in the search is not that of its row."""
        for trial in self.search.take_changed():
            known = self.search.trials[trial]
            if self.mind.states[trial] != known.state:
                self.mind.states[trial] = known.state
                changes: dict[str, Any] = {"status": known.state}
                changes["ended_at"] = self.now if known.state in ENDED_TRIAL else None
                if known.reason:
                    changes["reason"] = known.reason
                self.tx.set_trial(self.id, trial, **changes)

    def ended(self, state: Hopeless) -> list[int]:
        """The trials that failed, or were vetoed, in order."""
        return [n for n, trial in self.search.trials.items() if trial.state == state]

    def in_flight(self, trial: int | None = None) -> list[JobRow]:
        """The jobs of the study (of one trial) that have not ended."""
        jobs = self.tx.jobs(self.id, IN_FLIGHT)
        return jobs if trial is None else [job for job in jobs if job.trial == trial]

    def end(self, job: JobRow, reason: str) -> bool:
        """Cancel a job that no worker has claimed (True), else ask its worker to stop at its next report (False).

        Either way it is asked again after every restart until the job has ended; a worker that claims a cancelled
        job all the same finds the stop key.
        """
        unclaimed = job.status in UNCLAIMED
        if unclaimed:
            self.tx.set_job(job.id, status="cancelled", reason=reason, stop_reason=reason, ended_at=self.now)
        elif job.stop_reason is None:
            self.tx.set_job(job.id, stop_reason=reason)
        self.stops[job.id] = reason
        return unclaimed

    def end_search(self, then: StudyStatus, reason: str) -> None:
        """No job of the search follows: the front is verified, and then the study is `then`."""
        self.mind.then, self.mind.reason = then, reason
        self.set_status("verifying", reason, then=then)

    def set_status(self, status: StudyStatus, reason: str = "", **more: Any) -> None:
        """Move the study to `status`, in the log and in its row."""
        changes: dict[str, Any] = {"status": status, "status_reason": reason}
        if status == "running":
            changes["ended_at"] = None
            self.mind.goes_on()
            if self.row.started_at is None:
                changes["started_at"] = self.now
        if status in ("done", "stopped"):
            changes["ended_at"] = self.now
        self.log("status", {"status": status, "reason": reason, **more})
        self.tx.set_study(self.id, **changes)
        self.row = dataclasses.replace(self.row, **changes)
        self.mind.settled = False
        log.info("study %s: %s%s", self.id, status, f" ({reason})" if reason else "")

    def _give_up(self, stop: Stop) -> None:
        for job in self.in_flight(stop.trial):
            self.end(job, stop.reason)
