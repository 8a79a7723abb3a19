"""The engine of one study: each call is one store transaction, and the only place where pure meets impure.

The order is fixed: messages are recorded, then free slots are filled, then the transaction commits, and only then
anything is sent (`Engine` returns what to stop; what to dispatch waits in the outbox). On an exception everything
is rolled back and the search is dropped; the next call rebuilds it from the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from searchd.engine import commands
from searchd.engine.asking import ask
from searchd.engine.mind import Mind, remember
from searchd.engine.rebasing import Rebase, outlook, rebase
from searchd.engine.recording import record
from searchd.engine.turn import Turn
from searchd.engine.verifying import verify
from searchd.errors import NotFound
from searchd.lines import about
from searchd.shares import Claim
from searchd.store.base import Store, StudyStatus
from searchd.transport import Up

MARGIN = 1.2
"""What a job is taken to hold beyond the most that was seen."""
MANY = 1 << 30
BACK_OFF = 1.5
"""And once more for each time that memory did not suffice."""

Stops = Mapping[str, str | None]
"""Job → reason: the stop keys to set after the commit; None: the job has ended, take its key back."""


class Engine:
    """One study, driven by messages and commands. Not thread-safe: one loop owns it.

    `status`, `device` (the class that it asks for), `slots` and `waits` (as last logged) and `hours_left_s` (None: no
    such budget) are those of the last commit. NotFound when the store has no such study.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.study = study
        self.slots: int | None = None
        self.hours_left_s: float | None = None
        self.waits = ""
        self._store = store
        self._mind: Mind | None = None
        with store.reading() as reader:
            row = reader.study(study)
        if row is None:
            raise NotFound(f"no study {study!r}")
        self.status: StudyStatus = row.status
        self.device = str(row.spec["device"])
        self._read(row.spec)

    def _read(self, spec: Mapping[str, Any]) -> None:
        """What the spec says of slots: `needs` (labels), `priority` (its weight), `parallel` (the most jobs; None)."""
        self.needs: Mapping[str, str] = spec.get("needs") or {}
        self.priority = float(spec.get("priority", 1.0))
        self.parallel: int | None = (spec.get("budget") or {}).get("parallel")

    def wake(self, now: float) -> None:
        """Rebuild the search from the log now, rather than at the first step. Refused when the log does not replay.

        Of a study that went on before, the log is told that a daemon is back: the time in between was nobody's work.
        """
        with self._turn(now) as turn:
            if turn.row.started_at is not None:
                turn.mind.slots = None
                turn.log("capacity", {"slots": 0, "woken": True})

    def step(self, messages: Sequence[Up], now: float, *, slots: int = 0, devices: Sequence[str] = ()) -> Stops:
        """Record `messages`, then ask for jobs while fewer than `slots` are in flight.

        A message that was seen before changes nothing, so a batch may come again after a crash. Messages to a faulted
        study are dropped: its jobs are lost once somebody resumes it, and run again.
        """
        if self.status == "faulted":
            return {}
        with self._turn(now) as turn:
            if len(messages) > 1:
                turn.tx.expect(self.study, {message.job for message in messages})
            for message in messages:
                record(turn, message)
            ask(turn, slots, devices)
            verify(turn)
        return turn.stops

    def wants(self) -> bool:
        """False when asking again would change nothing: the search had no job and nothing happened since."""
        if self.status not in ("queued", "running", "verifying"):
            return False
        return self._mind is None or not self._mind.settled

    def capacity(self, slots: int, now: float) -> Stops:
        """Note how many live worker slots may serve the study; logged when it changed."""
        with self._turn(now) as turn:
            if turn.mind.slots != slots:
                turn.mind.slots = slots
                turn.log("capacity", {"slots": slots})
        return turn.stops

    def spend(self, seconds: float, now: float) -> Stops:
        """Note that the study ran for `seconds` more while a daemon lived; its budget of hours counts them."""
        with self._turn(now) as turn:
            commands.spend(turn, seconds)
        return turn.stops

    def pause(self, now: float) -> Stops:
        """No new jobs; running ones go on."""
        with self._turn(now) as turn:
            commands.pause(turn)
        return turn.stops

    def resume(self, now: float) -> Stops:
        """Go on with a study that was paused, stopped or faulted."""
        with self._turn(now) as turn:
            commands.resume(turn)
        return turn.stops

    def stop(self, now: float) -> Stops:
        """End the search: running jobs stop at their next report, then the front is verified."""
        with self._turn(now) as turn:
            commands.stop(turn)
            verify(turn)
        return turn.stops

    def stop_trial(self, trial: int, now: float) -> Stops:
        """Give up on one trial for good."""
        with self._turn(now) as turn:
            commands.stop_trial(turn, trial)
        return turn.stops

    def inject(self, values: Mapping[str, Any], now: float) -> int:
        """Make a config the next trial; its number."""
        with self._turn(now) as turn:
            return commands.inject(turn, values)

    def extend(self, budget: Mapping[str, Any], now: float) -> Stops:
        """Replace the budget; a study that ended goes on."""
        with self._turn(now) as turn:
            commands.extend(turn, budget)
        return turn.stops

    def deepen(self, max_resource: int, trials: int | None, now: float) -> Stops:
        """Raise R to `max_resource`, and perhaps the number of trials; a study that ended goes on."""
        with self._turn(now) as turn:
            commands.deepen(turn, max_resource, trials)
        return turn.stops

    def prioritize(self, priority: float, now: float) -> Stops:
        """Give the study another weight where studies share slots."""
        with self._turn(now) as turn:
            commands.prioritize(turn, priority)
        return turn.stops

    def note_waits(self, text: str, now: float) -> None:
        """Note why the study waits, in words (empty: it does no longer); logged when it changed."""
        with self._turn(now) as turn:
            if turn.mind.waits != text:
                turn.mind.waits = text
                turn.log("waits", {"text": text})

    def memory(self, trial: int | None = None) -> int | None:
        """Bytes that the next job of a trial (None: of a new one) is taken to hold; None: nothing is known yet."""
        mind = self._mind
        if mind is None or not mind.peaks:
            return None
        known = mind.peaks.get(trial, 0) if trial is not None else 0
        return int((known or max(mind.peaks.values())) * MARGIN * BACK_OFF**mind.short)

    def claim(self, jobs: int, *, wants: bool) -> Claim:
        """Its claim on slots, with so many jobs in flight."""
        return Claim(self.priority, jobs, max(jobs, self.parallel or MANY) if wants else jobs)

    def rebase(self, now: float, *, apply: bool) -> tuple[Rebase, Stops]:
        """Let this version decide from here on a study whose log it does not replay; without `apply` only say what
        that means. Refused when there is nothing to rebase (with `apply`), or the log is broken itself."""
        if not apply:
            with self._store.reading() as reader:
                return outlook(reader, self.study), {}
        self._mind = None
        with self._store.transaction() as tx:
            found = outlook(tx, self.study)
            turn = rebase(tx, self.study, found, now)
        self._mind = turn.mind
        self.status = turn.row.status
        return found, turn.stops

    def quarantine(self, error: str, message: str, now: float) -> None:
        """Set a message aside that broke the engine, and mark the study `faulted`: needs no search."""
        commands.quarantine(self._store, self.study, error, message, now)
        self._mind = None
        self.status = "faulted"

    @contextmanager
    def _turn(self, now: float) -> Iterator[Turn]:
        try:
            with about(study=self.study), self._store.transaction() as tx:
                row = tx.study(self.study)
                if row is None:
                    raise NotFound(f"no study {self.study!r}")
                if self._mind is None:
                    self._mind = remember(row, tx)
                turn = Turn(tx, row, self._mind, now)
                yield turn
        except BaseException:
            self._mind = None
            raise
        hours = turn.study.budget.hours
        self._read(turn.row.spec)
        self.waits = turn.mind.waits
        self.status = turn.row.status
        self.slots = turn.mind.slots
        self.hours_left_s = None if hours is None else max(0.0, hours * 3600 - turn.mind.seconds)
