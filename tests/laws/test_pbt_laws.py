"""Laws of population-based training with 1 to 9 workers while jobs are lost, fail, diverge, tie and are stopped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Deepened, Exhausted, Finished, Losses, Reported, Resume, Start
from searchd.schedulers.pbt import Pbt
from tests.support.fleets import Fleet, LossOf, Running, havoc, losses_by, one

quiet = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


class Herd(Fleet):
    """A fleet that checks what a copy begins with: weights that their owner holds."""

    def _run(self, trial: int, since: int, until: int) -> None:
        super()._run(trial, since, until)
        answer = self.answer
        if isinstance(answer, Start) and answer.parent is not None:
            assert answer.parent not in self.out, "nobody takes over from a trial that is out"
            assert answer.since == self.ends[answer.parent], "a copy begins where its parent's last leg ended"
            self.jobs[trial] = Running(answer.since, until, answer.since)

    def ask(self) -> Any:
        self.answer = self.scheduler.peek()
        return super().ask()

    def tell(self, event: Any) -> Any:
        if isinstance(event, Finished) and event.trial in self.jobs:
            self.ends[event.trial] = event.step
        return super().tell(event)


def herd(workers: int, loss: LossOf, trials: int | None, R: int = 12, r: int = 3, **options: Any) -> Herd:
    found = Herd(Pbt(r, R, max_trials=trials, **options), workers, loss, trials)
    found.ends = {}  # type: ignore[attr-defined]
    return found


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9), trials=st.integers(0, 40),
       kinds=st.text("ntvpm", max_size=4), turns=st.integers(0, 200), r=st.integers(1, 12))  # fmt: skip
@quiet
def test_any_trouble(seed: int, workers: int, trials: int, kinds: str, turns: int, r: int) -> None:
    """Whatever happens the laws in `Fleet` hold, Exhausted is reached, and the same calls give the same answers."""
    members = herd(workers, losses_by(seed, kinds), trials, r=r, population=4)
    havoc(members, seed, turns, 12, 3)
    members.drain()
    again = Pbt(r, 12, max_trials=trials, population=4)
    for event, answer in members.calls:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert isinstance(again.ask(), Exhausted)


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9), r=st.integers(1, 12))
@quiet
def test_the_population_stays(seed: int, workers: int, r: int) -> None:
    """Without trouble as many members as the population has arrive at R, whatever was copied on the way."""
    members = herd(workers, losses_by(seed, ""), None, r=r, population=5)
    members.drain()
    assert sum(step == 12 for step in members.paused.values()) == 5


def test_the_worst_takes_over_from_the_best() -> None:
    """Four members, one worker: after the first leg the last one of four gives its place to a copy of the first."""
    losses = {0: 0.1, 1: 0.5, 2: 0.9, 3: 0.4}
    scheduler = Pbt(5, 10, population=4, max_trials=9)
    for trial in range(4):
        assert scheduler.ask() == Start(trial, 5, "one of a population of 4")
    for trial in (0, 1, 3, 2):
        scheduler.tell(Reported(trial, 5, one(losses[trial])))
        scheduler.tell(Finished(trial, 5))
    answers = [scheduler.ask() for _ in range(4)]
    assert [(type(a), a.trial) for a in answers[:3] if isinstance(a, Resume)] == [(Resume, 0), (Resume, 1), (Resume, 3)]
    reason = "from the weights of trial 0 at step 5: trial 2 was rank 4 of 4 at step 5"
    assert answers[3] == Start(4, 10, reason, parent=0, since=5)


def test_no_copies_beyond_the_budget() -> None:
    """When max_trials is used up, the worst goes on too."""
    members = herd(2, losses_by(1, ""), 4, population=4)
    members.drain()
    assert members.started == 4
    assert sorted(members.paused.values()) == [12, 12, 12, 12]


def test_a_place_is_filled_again() -> None:
    """A member that diverged is replaced by a copy of one that trains well."""
    members = herd(1, lambda t, s: one(float("nan") if (t, s) == (1, 6) else float(t)), 12, population=4)
    members.drain()
    copies = [a for e, a in members.calls if e is None and isinstance(a, Start) and a.parent is not None]
    assert any("a place was free" in copy.reason for copy in copies)
    assert sum(step == 12 for step in members.paused.values()) == 4


def test_deepening() -> None:
    """R may grow by powers of eta; who was done goes on."""
    members = herd(2, losses_by(3, ""), None, population=3)
    members.drain()
    with pytest.raises(ValueError, match="R = 12 times a power of eta = 3, but R = 20"):
        members.deepen(20)
    members.tell(Deepened(36))
    members.drain()
    assert sum(step == 36 for step in members.paused.values()) == 3


@pytest.mark.parametrize(
    ("options", "words"), [({"population": 1}, "2 members or more"), ({"quantile": 0.6}, "above 0 and at most 0.5")]
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    """A population of one, and more than half as the worst."""
    with pytest.raises(ValueError, match=words):
        Pbt(1, 9, **options)


def test_violations_are_worst() -> None:
    """Who breaks a bound gives up its place, however good otherwise."""
    scheduler = Pbt(5, 10, population=4)
    for _ in range(4):
        scheduler.ask()
    for trial in range(4):
        scheduler.tell(Reported(trial, 5, (Losses((float(trial),), float(trial == 0)),)))
        scheduler.tell(Finished(trial, 5))
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert answer.parent == 1
