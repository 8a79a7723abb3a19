"""A scheduler that begins with what is recorded already: another rule decided it, and what was trained stays true.

The rule inside is told that every recorded trial was brought by the user. What it then asks for is answered from the
record, at once, as far as the record goes; only what is not recorded is asked of whoever asks this scheduler. So its
state is one that the rule inside reaches by its own decisions, and no report is thrown away.

    inner.peek() = Start(3, until 9) and trial 3 is recorded up to step 3     ->     Resume(3, 3, 9)
    inner.peek() = Resume(5, 1, 3)   and trial 5 is recorded up to step 9     ->     answered here, nothing to do
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from searchd.schedulers.events import (
    Answer,
    Event,
    Failed,
    Finished,
    Injected,
    Losses,
    Reported,
    Resume,
    Scheduler,
    Start,
    Stop,
    Stopped,
    TrialId,
)


@dataclass(slots=True)
class Past:
    """One trial as recorded: what it brought by step, the step of its last finished job, and whether it is over for a
    reason that no rule changes (its own fault, or the user's word)."""

    losses: Mapping[int, tuple[Losses, ...]]
    finished: int = 0
    over: Literal["", "failed", "stopped"] = ""

    def speaks(self, since: int, until: int) -> bool:
        """Whether the record says anything of the way from `since` to `until`."""
        return bool(self.over) or self.finished >= until or any(since < step <= until for step in self.losses)


class Recalled:
    """`inner`: a fresh scheduler of the new rule. `trials`: how many there are; who has no `past` never trained."""

    def __init__(self, inner: Scheduler, past: Mapping[TrialId, Past], trials: int) -> None:
        self._inner = inner
        self._past = dict(past)
        self._brought = trials  # ids below are of configs that are recorded, or that the user brought since
        self._pending: deque[Resume] = deque()  # answers of the rule inside that need training beyond the record
        self._stops: list[Stop] = []  # said while nobody told anything: they go out with the next tell
        for trial in range(trials):
            inner.tell(Injected(trial))
        self._recall()

    def peek(self) -> Answer:
        """What `ask` would answer; changes nothing. Brought configs that never trained come first, as ever."""
        answer = self._inner.peek()
        if not self._pending or (isinstance(answer, Start) and answer.trial < self._brought):
            return answer
        return self._pending[0]

    def ask(self) -> Answer:
        answer = self.peek()
        if self._pending and answer is self._pending[0]:
            self._pending.popleft()
        else:
            answer = self._inner.ask()
        self._recall()
        return answer

    def tell(self, event: Event) -> tuple[Stop, ...]:
        if isinstance(event, Failed | Stopped) and event.trial in self._past:
            self._past[event.trial].over = "failed" if isinstance(event, Failed) else "stopped"
            self._pending = deque(answer for answer in self._pending if answer.trial != event.trial)
        if isinstance(event, Injected):
            self._brought = max(self._brought, event.trial + 1)
        stops = self._inner.tell(event)
        self._recall()
        late, self._stops = self._stops, []
        return (*stops, *late)

    def is_rung(self, trial: TrialId, step: int) -> bool:
        return self._inner.is_rung(trial, step)

    def ladders(self) -> tuple[tuple[int, ...], ...]:
        return self._inner.ladders()

    def _recall(self) -> None:
        """Let the rule inside go on as long as the record answers. Of recorded trials that go on beyond the record,
        one promotion at a time is taken: what it brings may change the next."""
        while True:
            answer = self._inner.peek()
            match answer:
                case Start(trial, until) if trial in self._past:
                    since = 0
                case Resume(trial, since, until) if trial in self._past and not self._pending:
                    if not self._past[trial].speaks(since, until):
                        return
                case _:
                    return
            self._inner.ask()
            if not self._answer(trial, since, until):
                begun = max(since, min(self._past[trial].finished, until))
                self._pending.append(Resume(trial, begun, until, answer.reason, answer.bracket))

    def _answer(self, trial: TrialId, since: int, until: int) -> bool:
        """Tell what is recorded between the two steps; False when training must go on from there."""
        past = self._past[trial]
        for step in sorted(s for s in past.losses if since < s <= until):
            if self._inner.is_rung(trial, step):
                stops = self._inner.tell(Reported(trial, step, past.losses[step]))
                self._stops += stops
                if any(stop.trial == trial for stop in stops):
                    return True
        reached = past.finished >= until
        if reached:
            self._inner.tell(Finished(trial, until))
        if past.over and not (reached and any(step > until for step in past.losses)):
            self._inner.tell(Failed(trial) if past.over == "failed" else Stopped(trial))
        return reached or bool(past.over)
