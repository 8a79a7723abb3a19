"""Laws that every scheduler keeps with 1 to 9 workers while jobs are lost, fail, diverge, tie and are stopped."""

from __future__ import annotations

import copy

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Exhausted, Extended, Finished, Reported, Wait
from tests.support.fleets import SCHEDULERS, Fleet, havoc, losses_by

kinds = st.text("ntvpm", max_size=5)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(
    seed=st.integers(0, 10**6), workers=st.integers(1, 9), trials=st.integers(0, 40), kinds=kinds,
    shape=st.sampled_from([(1, 9, 3), (1, 8, 2), (2, 20, 3), (1, 1, 2), (1, 27, 3)]), turns=st.integers(0, 300),
)
@example(seed=413, workers=9, trials=39, kinds="p", shape=(1, 8, 2), turns=152)  # an `ask` in vain changed what came
@example(seed=325, workers=8, trials=40, kinds="tp", shape=(1, 9, 3), turns=58)  # later
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_fleet_any_trouble(
    name: str, seed: int, workers: int, trials: int, kinds: str, shape: tuple[int, int, int], turns: int
) -> None:
    """Whatever happens: the laws in `Fleet` hold, Exhausted is reached, and the same calls give the same answers."""
    r, R, eta = shape
    fleet = Fleet(SCHEDULERS[name](r, R, eta, trials), workers, losses_by(seed, kinds), trials)
    havoc(fleet, seed, turns, R, eta)
    fleet.drain()
    again = SCHEDULERS[name](r, R, eta, trials)
    for event, answer in fleet.calls:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert isinstance(again.ask(), Exhausted)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9), kinds=kinds, trials=st.integers(1, 30))
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_the_limit_is_used_up(name: str, seed: int, workers: int, kinds: str, trials: int) -> None:
    """A search without trouble starts exactly `max_trials` trials, and an extension exactly the rest."""
    fleet = Fleet(SCHEDULERS[name](1, 9, 3, trials), workers, losses_by(seed, kinds), trials)
    fleet.drain()
    assert fleet.started == trials
    fleet.extend(trials + 4)
    fleet.drain()
    assert fleet.started == trials + 4


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 9))
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_exhausted_holds_until_deepened_or_extended(name: str, seed: int, workers: int) -> None:
    """Exhausted is answered again and again, then something goes on once R is raised; some trial reaches the new R."""
    fleet = Fleet(SCHEDULERS[name](1, 9, 3, 27), workers, losses_by(seed, ""), 27)
    fleet.drain()
    assert isinstance(fleet.ask(), Exhausted)
    fleet.deepen(27)
    fleet.drain()
    assert 27 in fleet.paused.values()


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seed=st.integers(0, 10**6), trials=st.integers(1, 30), kinds=kinds, turns=st.integers(0, 120))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_wait_and_exhausted_change_nothing(name: str, seed: int, trials: int, kinds: str, turns: int) -> None:
    """A copy that was asked in vain ten times goes on as the original does, while jobs run and after the end."""
    fleet = Fleet(SCHEDULERS[name](1, 9, 3, trials), 9, losses_by(seed, kinds), trials)
    havoc(fleet, seed, turns, 9, 3)
    while not isinstance(fleet.scheduler.peek(), Wait | Exhausted):
        fleet.ask()
    for end in (False, True):
        if end:
            fleet.drain()
        twin, original = copy.deepcopy(fleet.scheduler), copy.deepcopy(fleet.scheduler)
        for _ in range(10):
            assert isinstance(twin.ask(), Wait | Exhausted)
        for trial, job in sorted(fleet.jobs.items()):
            for scheduler in (twin, original):
                scheduler.tell(Reported(trial, job.until, fleet.loss(trial, job.until)))
                scheduler.tell(Finished(trial, job.until))
        for scheduler in (twin, original):
            scheduler.tell(Extended(fleet.started + 1))
        assert [twin.ask() for _ in range(5)] == [original.ask() for _ in range(5)]
