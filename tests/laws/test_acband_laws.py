"""Laws of AC-Band with 1 to 9 workers while jobs are lost, fail, diverge, tie and are stopped, and configs come."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.acband import AcBand
from searchd.schedulers.events import Deepened, Exhausted, Extended, Injected, Losses, Resume, Start, Stopped
from tests.support.fleets import Fleet, LossOf, havoc, losses_by, one

Shape = tuple[float, float, int, int, int]
SHAPES: list[Shape] = [
    (0.5, 0.25, 2, 40, 1), (0.3, 0.1, 3, 90, 1), (0.2, 0.2, 4, 120, 1), (0.5, 0.25, 2, 120, 3), (0.3, 0.2, 3, 130, 2)
]  # fmt: skip
"""alpha, delta, k, R, restarts."""
quiet = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


class Racers(Fleet):
    """A fleet that never deepens: AC-Band does not. A job's report comes at its one instance at once."""

    def deepen(self, R: int) -> None:
        pass

    def advance(self, trial: int) -> None:
        job = self.jobs[trial]
        job.at = job.until - 1
        super().advance(trial)


def fleet(shape: Shape, workers: int, loss: LossOf) -> Racers:
    alpha, delta, k, R, restarts = shape
    return Racers(AcBand(R, alpha=alpha, delta=delta, k=k, restarts=restarts), workers, loss, None)


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 10**6), workers=st.integers(1, 9),
       kinds=st.text("ntvpm", max_size=4), turns=st.integers(0, 200))  # fmt: skip
@quiet
def test_any_trouble(shape: Shape, seed: int, workers: int, kinds: str, turns: int) -> None:
    """Whatever happens the laws in `Fleet` hold, Exhausted is reached, and the same calls give the same answers."""
    racers = fleet(shape, workers, losses_by(seed, kinds))
    havoc(racers, seed, turns, shape[3], 3)
    racers.drain()
    again = fleet(shape, workers, losses_by(seed, kinds)).scheduler
    for event, answer in racers.calls:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert isinstance(again.ask(), Exhausted)
    incumbent = again.incumbent  # type: ignore[attr-defined]
    assert incumbent is None or incumbent not in racers.out


@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 10**6), workers=st.integers(1, 9))
@quiet
def test_without_trouble(shape: Shape, seed: int, workers: int) -> None:
    """All configs of the table are seen, no more instances used than R, and the one that always wins is the answer."""
    racers = fleet(shape, workers, lambda trial, _: one(Random(f"{seed} {trial}").random()))
    racers.drain()
    table = racers.scheduler.table  # type: ignore[attr-defined]
    assert racers.started == sum(epoch.fresh for epoch in table)
    assert max(step for _, step in racers.told) <= shape[3]
    best = min(range(racers.started), key=lambda trial: Random(f"{seed} {trial}").random())
    assert racers.scheduler.incumbent == best  # type: ignore[attr-defined]


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9))
@quiet
def test_the_order_of_ends_decides_nothing(seed: int, workers: int) -> None:
    """The winner of a race is the least loss, whoever is done first: any number of workers, the same answer."""
    incumbents = []
    for n in (1, workers):
        racers = fleet(SHAPES[1], n, losses_by(seed, ""))
        racers.drain()
        incumbents.append(racers.scheduler.incumbent)  # type: ignore[attr-defined]
    assert incumbents[0] == incumbents[1]


def test_a_config_brought_after_the_end() -> None:
    """It races the incumbent on instances beyond those used, and may win."""
    racers = fleet(SHAPES[0], 2, lambda trial, _: one(0.0 if trial == 4 else 1.0 + trial))
    racers.drain()
    assert racers.scheduler.incumbent == 0  # type: ignore[attr-defined]
    used = max(step for _, step in racers.told)
    racers.inject()
    racers.drain()
    assert racers.scheduler.incumbent == 4  # type: ignore[attr-defined]
    assert min(step for trial, step in racers.told if trial == 4) > used


def test_a_config_brought_early_starts_next() -> None:
    """Injected is answered by the next Start, even in the middle of a race."""
    scheduler = AcBand(40, alpha=0.5, delta=0.25, k=2)
    assert isinstance(scheduler.ask(), Start)
    scheduler.tell(Injected(1))
    answer = scheduler.ask()
    assert isinstance(answer, Start)
    assert answer.reason.startswith("injected, instance 1")


def test_what_is_refused() -> None:
    """Too few instances, too few trials, a race of one, a share of 0, and deepening: each names value and rule."""
    for words, make in {
        "acband needs R >= 117 instances for alpha = 0.05, delta = 0.05 and k = 4": lambda: AcBand(20),
        "acband needs 61 trials for alpha = 0.05 and delta = 0.05, but the budget has 9": lambda: AcBand(
            400, max_trials=9
        ),
        "a race needs k >= 2 configs, but k = 1": lambda: AcBand(400, k=1),
        "alpha needs to be between 0 and 1, as 0.05 is, but is 0": lambda: AcBand(400, alpha=0.0),
        "each of 3 restarts gets 100 of R = 400 instances, but acband needs R >= 117": lambda: AcBand(400, restarts=3),
        "acband needs one restart or more, but restarts = 0": lambda: AcBand(400, restarts=0),
        "acband spends R = 400 instances by its table": lambda: AcBand(400).tell(Deepened(1200)),
    }.items():
        with pytest.raises(ValueError, match=re.escape(words)):
            make()


def test_violations_lose() -> None:
    """A feasible run beats a faster one that breaks a bound."""
    racers = fleet(SHAPES[0], 2, lambda trial, _: (Losses((1.0 if trial else 9.0,), 0.0 if trial == 0 else 1.0),))
    racers.drain()
    assert racers.scheduler.incumbent == 0  # type: ignore[attr-defined]


def second_run(loss: LossOf) -> tuple[Racers, list[int]]:
    """Three restarts, driven until the second one has begun; who won the first."""
    racers = fleet(SHAPES[3], 2, loss)
    part = sum(epoch.fresh for epoch in racers.scheduler.table) // 3  # type: ignore[attr-defined]
    while racers.started <= part:
        while len(racers.jobs) < 2 and isinstance(racers.ask(), Start | Resume):
            pass
        racers.advance(next(iter(racers.jobs)))
    return racers, [min(range(part), key=lambda t: loss(t, 1)[0].values)]


def test_a_winner_that_is_stopped_races_no_more() -> None:
    """The user stops the winner of the first restart during the second one: it never runs again."""
    racers, (winner,) = second_run(lambda trial, _: one(float(trial)))
    racers.end(winner, Stopped(winner))
    racers.drain()
    part = racers.started // 3
    assert winner == 0
    assert racers.scheduler.incumbent == part  # type: ignore[attr-defined]


def test_a_last_winner_without_rivals_meets_who_comes() -> None:
    """With the other winners stopped the last one has won; a config that the user brings then races it, and loses."""
    racers, (winner,) = second_run(lambda trial, _: one(-1.0 if trial == 4 else float(trial)))
    racers.end(winner, Stopped(winner))
    racers.scheduler.tell(Extended(racers.started))
    racers.drain()
    assert racers.scheduler.incumbent == 4  # type: ignore[attr-defined]
    racers.inject()
    racers.drain()
    assert racers.scheduler.incumbent == 4  # type: ignore[attr-defined]
    brought = racers.started - 1
    steps = {step for trial, step in racers.told if trial == brought}
    assert steps
    assert steps <= {step for trial, step in racers.told if trial == 4}


def test_a_limit_in_the_middle_ends_with_the_race_of_the_winners() -> None:
    """When no config may come any more, those who won so far race one another all the same."""
    racers, (winner,) = second_run(lambda trial, _: one(float(-trial)))
    racers.scheduler.tell(Extended(racers.started))
    racers.drain()
    assert racers.scheduler.incumbent == racers.started - 1 != winner  # type: ignore[attr-defined]
    last = max(step for _, step in racers.told)
    assert {trial for trial, step in racers.told if step == last} == {winner, racers.started - 1}
