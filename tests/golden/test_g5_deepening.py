"""G5 (ALGORITHMS 5.3): what Iterative Deepening Hyperband costs, and that it is the algorithm as it was published."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.deepening import Deepening
from searchd.schedulers.events import Losses, Resume, Start
from searchd.schedulers.hyperband import Hyperband
from searchd.schedulers.rungs import bracket_table
from tests.support.fleets import Fleet, LossOf

RULES: tuple[Deepening, ...] = ("efficient", "discarding", "preserving")
calm = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])


def noisy(seed: int) -> LossOf:
    """A trial's quality and noise at each step, so that deeper rungs rank otherwise."""

    def loss(trial: int, step: int) -> tuple[Losses, ...]:
        quality = Random(f"{seed} {trial}").random()
        return (Losses((quality + 0.3 * Random(f"{seed} {trial} {step}").random(),)),)

    return loss


def deepened(rule: Deepening, R: int, eta: int, times: int, seed: int, workers: int = 1) -> Fleet:
    """One search, run to its end at R and again after each deepening."""
    fleet = Fleet(Hyperband(1, R, eta, deepening=rule), workers, noisy(seed), None)
    fleet.drain()
    for _ in range(times):
        R *= eta
        fleet.deepen(R)
        fleet.drain()
    return fleet


def jobs(fleet: Fleet) -> list[Start | Resume]:
    return [answer for _, answer in fleet.calls if isinstance(answer, Start | Resume)]


def restart_cost(fleet: Fleet) -> int:
    """The paper's account: each evaluation costs its whole resource."""
    return sum(job.until for job in jobs(fleet))


@pytest.mark.parametrize(
    ("R", "eta", "extra_evaluations", "extra_steps", "fresh_evaluations", "fresh_steps"),
    [(16, 2, 80, 756, 152, 1128), (9, 3, 47, 345, 69, 423), (27, 3, 137, 1479, 206, 1902),
     (81, 3, 405, 6555, 611, 8457)],
)  # fmt: skip
def test_efficient_to_the_digit(
    R: int, eta: int, extra_evaluations: int, extra_steps: int, fresh_evaluations: int, fresh_steps: int
) -> None:
    """The table of 5.3: extra evaluations and steps; together with the first run exactly one fresh Hyperband."""
    fleet = deepened("efficient", R, eta, 0, 3)
    before, spent = len(jobs(fleet)), restart_cost(fleet)
    fleet.deepen(R * eta)
    fleet.drain()
    assert (len(jobs(fleet)) - before, restart_cost(fleet) - spent) == (extra_evaluations, extra_steps)
    assert (len(jobs(fleet)), restart_cost(fleet)) == (fresh_evaluations, fresh_steps)


@pytest.mark.parametrize(("rule", "most"), [("efficient", 1479), ("discarding", 1569), ("preserving", 1560)])
def test_27_to_81_lies_in_the_published_range(rule: Deepening, most: int) -> None:
    """27 → 81 costs 1479 and, where promotions are revised, a few re-rankings more."""
    for seed in range(3):
        fleet = deepened(rule, 27, 3, 1, seed)
        assert 1479 <= restart_cost(fleet) - 423 <= most


@calm
@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(9, 3), (8, 2), (27, 3), (200, 6)]), times=st.integers(1, 2))
def test_the_laws_of_deepening(seed: int, shape: tuple[int, int], times: int) -> None:
    """Efficient = one fresh run at the deeper R; no rule costs less; no (trial, step) is evaluated twice (`Fleet`)."""
    R, eta = shape
    costs = {rule: restart_cost(deepened(rule, R, eta, times, seed)) for rule in RULES}
    fresh = Fleet(Hyperband(1, R * eta**times, eta), 1, noisy(seed), None)
    fresh.drain()
    assert costs["efficient"] == restart_cost(fresh)
    assert costs["efficient"] <= min(costs["discarding"], costs["preserving"])


def passes(rule: Deepening, pools: list[list[list[int]]], R: int, eta: int, loss: LossOf) -> set[tuple[int, int]]:
    """The published pseudo-code, list by list: `pools[k][b]` is the pool of bracket b in the k-th run.

    Answers every (trial, step) that was ever evaluated.
    """
    done: set[tuple[int, int]] = set()
    for k, brackets in enumerate(pools):
        for plan, pool in zip(bracket_table(1, R * eta**k, eta), brackets, strict=True):
            listed = pool
            for i, step in enumerate(plan.steps):
                done |= {(trial, step) for trial in listed}
                places = max(1, len(pool) // eta ** (i + 1))
                above = {t for t, s in done if i + 1 < len(plan.steps) and s == plan.steps[i + 1]} & set(pool)
                candidates = [t for t in pool if (t, step) in done] if rule == "preserving" else list(listed)
                candidates.sort(key=lambda t, step=step: (loss(t, step)[0].values, t))  # type: ignore[misc]
                if rule == "efficient":
                    rest = [t for t in candidates if t not in above]
                    listed = [*above, *rest[: places - len(above)]]
                else:
                    listed = candidates[:places]
    return done


@pytest.mark.parametrize("rule", RULES)
@calm
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9), R=st.sampled_from([(9, 3), (8, 2), (27, 3)]))
def test_it_is_the_published_algorithm(rule: Deepening, seed: int, workers: int, R: tuple[int, int]) -> None:
    """With any number of workers exactly those (trial, step) are evaluated that the plain pseudo-code evaluates."""
    fleet = Fleet(Hyperband(1, R[0], R[1], deepening=rule), workers, noisy(seed), None)
    pools: list[list[list[int]]] = []
    at: dict[int, int] = {}
    for k in range(3):
        if k:
            fleet.deepen(R[0] * R[1] ** k)
        fleet.drain()
        at |= {a.trial: a.bracket for a in jobs(fleet) if isinstance(a, Start)}
        count = max(at.values()) + 1
        pools.append([[t for t, b in at.items() if b == bracket] for bracket in range(count)])
    assert fleet.pairs == passes(rule, pools, *R, noisy(seed))


@pytest.mark.parametrize("rule", RULES)
def test_deepening_in_the_middle(rule: Deepening) -> None:
    """Raised while jobs run: they go on, the search ends at the new R, and nothing is evaluated twice (`Fleet`)."""
    for turns in range(0, 60, 7):
        fleet = Fleet(Hyperband(1, 9, 3, deepening=rule), 3, noisy(turns), None)
        for _ in range(turns):
            while len(fleet.jobs) < 3 and isinstance(fleet.ask(), Start | Resume):
                pass
            if fleet.jobs:
                fleet.advance(next(iter(fleet.jobs)))
        fleet.deepen(27)
        fleet.drain()
        assert 27 in fleet.paused.values()
        assert fleet.started == sum(b.trials for b in bracket_table(1, 27, 3))
