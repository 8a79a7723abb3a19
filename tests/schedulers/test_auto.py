"""The scheduler `auto`: who calibrates, who goes on, who is resumed, what several objectives and a limit change."""

from __future__ import annotations

import math
from math import nan
from random import Random

import pytest

from searchd.schedulers.auto import Auto
from searchd.schedulers.events import Exhausted, Finished, Losses, Reported, Resume, Start, TrialId
from searchd.schedulers.improvement import improvement
from searchd.schedulers.orders import Single
from searchd.schedulers.rungs import ladder_from_top
from tests.support.fleets import Fleet, one


def run(scheduler: Auto, trial: TrialId, until: int, *losses: float) -> None:
    """The job of a trial reports at the rungs on its way and ends at `until`."""
    steps = [step for step in scheduler.ladders()[0] if step <= until][-len(losses) :]
    for step, loss in zip(steps, losses, strict=True):
        scheduler.tell(Reported(trial, step, one(loss)))
    scheduler.tell(Finished(trial, until))


@pytest.mark.parametrize(
    ("r", "R", "eta", "steps"),
    [(1, 52, 3, (2, 6, 17, 52)), (1, 100, 3, (1, 4, 11, 33, 100)), (5, 52, 3, (6, 17, 52)), (1, 1, 3, (1,)),
     (1, 27, 3, (1, 3, 9, 27)), (4, 4, 2, (4,)), (3, 7, 2, (4, 7))],
)  # fmt: skip
def test_ladder_from_top(r: int, R: int, eta: int, steps: tuple[int, ...]) -> None:
    """Rungs are counted down from R, rounded, none below r."""
    assert ladder_from_top(r, R, eta) == steps


def test_the_first_trials_calibrate() -> None:
    """Trials 0 to 3 run to R / eta at once, 4 to 7 to R / eta², later ones to the lowest rung."""
    scheduler = Auto(1, 81, 3)
    answers = [scheduler.ask() for _ in range(10)]
    assert [a.until for a in answers if isinstance(a, Start)] == [27] * 4 + [9] * 4 + [1] * 2


@pytest.mark.parametrize(("R", "wanted"), [(27, {15: 9, 27: 27, 39: 9}), (2, {15: 2, 27: 2, 39: 2}), (1, {})])
def test_some_of_the_later_trials_are_not_judged_early(R: int, wanted: dict[TrialId, int]) -> None:
    """Of twelve later trials one runs to R / eta and R in turn, whatever it reports; all others to the lowest rung."""
    scheduler = Auto(1, R, 3)
    answers = [scheduler.ask() for _ in range(45)]
    later = {a.trial: a.until for a in answers if isinstance(a, Start) and a.trial >= 8}
    assert len(later) == 37
    lowest = scheduler.ladders()[0][0]
    assert {trial: until for trial, until in later.items() if until > lowest} == {
        trial: until for trial, until in wanted.items() if until > lowest
    }


def test_who_is_among_the_best_goes_on_first() -> None:
    """A trial in the top third of its rung is resumed before anything new starts, up to R; the reason says its rank."""
    scheduler = Auto(1, 9, 3)
    scheduler.ask()
    run(scheduler, 0, 3, 0.5, 0.4)
    answer = scheduler.ask()
    assert answer == Resume(0, 3, 9, "goes on: rank 1 of 1 at rung 3")


def informed(hopeless: float) -> Auto:
    """Twelve trials went to R = 9, where the lowest rung told everything; another one waits at the lowest rung."""
    scheduler = Auto(1, 9, 3)
    for trial in range(12):
        answer = scheduler.ask()
        while not isinstance(answer, Start) or answer.trial != trial:
            assert isinstance(answer, Resume)
            run(scheduler, answer.trial, answer.until, answer.trial / 10)
            answer = scheduler.ask()
        run(scheduler, trial, answer.until, *[trial / 10] * (1 if answer.until == 1 else 2))
    while isinstance(answer := scheduler.ask(), Resume):
        run(scheduler, answer.trial, answer.until, answer.trial / 10)
    assert isinstance(answer, Start)
    run(scheduler, answer.trial, answer.until, hopeless)
    return scheduler


def test_a_hopeless_trial_pauses_and_a_good_one_goes_on() -> None:
    """Where short runs tell the end, a bad one stays paused whoever else is resumed; a record goes on at once."""
    assert _next_of(informed(5.0)) != 12
    assert _next_of(informed(-1.0)) == 12


def _next_of(scheduler: Auto) -> TrialId:
    answer = scheduler.ask()
    assert isinstance(answer, Start | Resume)
    return answer.trial


def test_nobody_is_given_up_on_a_rung_that_tells_nothing() -> None:
    """When the lowest rung is the same for all, more than two thirds of the trials go on from it."""
    draw = Random(3)
    ends = [draw.random() for _ in range(60)]
    told: list[TrialId] = []

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        told.append(trial)
        return one(1.0 + 1e-3 * Random(trial).random() if step == 1 else ends[trial])

    fleet = Fleet(Auto(1, 9, 3, max_trials=60), 3, loss, 60)
    fleet.drain()
    assert sum((trial, 3) in fleet.told for trial in range(60)) > 40


def test_the_limit_leaves_nobody_worthy_behind() -> None:
    """When no more trials may start, ASHA's quota goes up, at least one reaches R, and then all is over."""
    fleet = Fleet(Auto(1, 27, 3, max_trials=3), 2, lambda trial, step: one(trial + 1 / step), 3)
    assert fleet.drain() == Exhausted()
    assert (0, 27) in fleet.told


def test_several_objectives_are_ranked() -> None:
    """With two objectives the rung's order decides; trials that others dominate stay behind, NaN never goes on."""

    def loss(trial: TrialId, step: int) -> tuple[Losses, ...]:
        return (Losses((nan, 0.0)),) if trial == 5 else (Losses((float(trial), float(-trial % 7) + 1 / step)),)

    fleet = Fleet(Auto(1, 27, 3, max_trials=30), 4, loss, 30)
    fleet.drain()
    assert (5, 27) not in fleet.told
    assert 1 <= sum((trial, 27) in fleet.told for trial in range(30)) <= 12


@pytest.mark.parametrize("alone", [0, 1])
def test_an_objective_that_ranks_alone_is_extrapolated(alone: int) -> None:
    """Every decision is that of the same losses with no other objective beside them; of several points the best one in
    it counts, and what diverges or breaks a bound is told alike."""

    def end(trial: TrialId, step: int) -> float:
        draw = Random(trial)
        return nan if trial == 9 and step > 1 else draw.random() + draw.random() / step

    def both(trial: TrialId, step: int) -> tuple[Losses, ...]:
        mine, other = end(trial, step), Random(100 + trial).random()
        pairs = [(mine, other), (mine + 0.5, other - 1)]
        return tuple(Losses(p if alone == 0 else p[::-1], float(trial % 5 == 0)) for p in pairs)

    order = Single(alone)
    fleets = [
        Fleet(Auto(1, 27, 3, max_trials=90, order=order), 4, both, 90),
        Fleet(Auto(1, 27, 3, max_trials=90), 4, lambda t, s: one(end(t, s), float(t % 5 == 0)), 90),
    ]
    ends = [fleet.drain() for fleet in fleets]
    assert ends == [Exhausted()] * 2
    answers = [[answer for event, answer in fleet.calls if event is None] for fleet in fleets]
    assert answers[0] == answers[1]
    assert any("promises" in answer.reason for answer in answers[0] if isinstance(answer, Resume))


def test_the_price_is_that_of_the_latest_trials() -> None:
    """What a leg costs follows from the 30 trials with the highest ids, in any order that they report in: the same
    newcomers after another past, with one chain and one best, have one price."""
    scheduler = Auto(1, 9, 3)
    for trial in range(45):
        answer = scheduler.ask()
        while isinstance(answer, Resume):
            answer = scheduler.ask()
        assert isinstance(answer, Start)
        scheduler.tell(Reported(trial, 1, one(Random(trial).random())))
    merit, chain = scheduler._fit()
    losses = scheduler._loss[:, 0].tolist()
    ends = [chain.final(merit.one(losses[trial], 0.0), 0) for trial in range(15, 45)]
    sd = math.sqrt(chain.variance[0] + 1e-4)
    gains = sorted((improvement(end, sd, scheduler._best) for end in ends), reverse=True)
    best = max(sum(gains[:t]) / (30 * 1 + t * 2) for t in range(1, 31))
    assert merit.feasible
    assert scheduler._price(0) == pytest.approx(2 * best, rel=1e-3)


def test_prices_that_are_kept_are_those_computed_anew() -> None:
    """What is kept from one price to the next (what each of the latest trials promises) changes no price: after every
    event a scheduler that forgets it says the same, also when the best, the extrapolation or a bound changed."""
    rng, scheduler, prices = Random(2), Auto(1, 27, 3), set()
    for turn in range(400):
        answer = scheduler.ask()
        assert isinstance(answer, Start | Resume)
        since = answer.since if isinstance(answer, Resume) else 0
        for step in scheduler.ladders()[0]:
            if since < step <= answer.until:
                loss = nan if rng.random() < 0.05 else rng.gauss(1.0, 0.3) / step
                violation = rng.random() if turn > 250 and rng.random() < 0.3 else 0.0
                scheduler.tell(Reported(answer.trial, step, one(loss, violation)))
            for k, rung in enumerate(scheduler._rungs[:-1]):
                if rung.ids:
                    kept = scheduler._price(k)
                    rung.price = None
                    rung.gains.clear()
                    assert scheduler._price(k) == kept
                    prices.add(kept)
        scheduler.tell(Finished(answer.trial, answer.until))
    assert len(prices) > 200
