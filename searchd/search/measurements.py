"""What the shapes of configs cost on the device: by jobs, once a signature. Only the built-in task is measured."""

from __future__ import annotations

from searchd.schedulers.events import TrialId
from searchd.search.events import Measured
from searchd.search.points import LATENCIES
from spaces.formulas import MEASURED
from spaces.study import Study

JOBS = (*LATENCIES, *MEASURED)
"""The metrics that measure jobs bring."""


class Measurements:
    """By signature (None: nothing to measure): what was found, and which trial's job is on its way."""

    __slots__ = ("_known", "_owners", "wanted")

    def __init__(self, study: Study, *, predicted: bool = False) -> None:
        task = study.task.built_in
        timed = task is not None and task.measured and not predicted
        self.wanted = timed and any(not o.reads.isdisjoint(JOBS) for o in study.objectives)
        """Whether the study asks for what is measured at all, and it is not predicted."""
        self._known: dict[str, Measured] = {}
        self._owners: dict[str, TrialId] = {}

    def get(self, signature: str | None) -> Measured | None:
        """What was found; None before, and where nothing is measured."""
        return None if signature is None else self._known.get(signature)

    def needs(self, signature: str | None) -> bool:
        """Whether a job must measure it (again, if the last one failed)."""
        found = self.get(signature)
        return signature is not None and (found is None or found.error is not None)

    def is_coming(self, signature: str | None) -> bool:
        """Whether a job measures it now."""
        return signature in self._owners

    def begin(self, trial: TrialId, signature: str) -> None:
        self._owners[signature] = trial

    def end(self, trial: TrialId) -> None:
        """The trial is over: nobody waits for its job."""
        self._owners = {signature: owner for signature, owner in self._owners.items() if owner != trial}

    def learn(self, event: Measured) -> TrialId | None:
        """What a job found; a success is not taken back. The trial that waits for it, if there is one."""
        if self.needs(event.signature):
            self._known[event.signature] = event
        return self._owners.pop(event.signature, None)

    def refusal(self, signature: str | None) -> str | None:
        """Why a config of this shape must not start, or None."""
        found = self.get(signature)
        if found is None or found.error is None:
            return None
        return f"its latency could not be measured: {found.error}"
