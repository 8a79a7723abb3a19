"""PASHA: the top of the ladder rises only while the ranking is unsettled."""

from __future__ import annotations

from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.asha import Asha
from searchd.schedulers.events import Losses, Reported
from searchd.schedulers.pasha import Pasha, Ranking
from tests.support.fleets import Fleet, LossOf

calm = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
RANKINGS: tuple[Ranking, ...] = ("soft", "exact")


def curves(noise: float, seed: int = 0) -> LossOf:
    """A quality for each trial, the same at every step but for `noise`."""

    def loss(trial: int, step: int) -> tuple[Losses, ...]:
        return (Losses((Random(f"{seed} {trial}").random() + noise * Random(f"{seed} {trial} {step}").random(),)),)

    return loss


def run(scheduler: Pasha | Asha, loss: LossOf, trials: int = 81) -> int:
    """Steps trained to the end, with four workers."""
    fleet = Fleet(scheduler, 4, loss, trials)
    fleet.drain()
    return sum(fleet.paused.values())


def test_a_settled_ranking_ends_early() -> None:
    """Where the second rung says what the first did, nobody goes beyond it; ASHA goes to R all the same."""
    pasha, asha = Pasha(1, 81, max_trials=81), Asha(1, 81, max_trials=81)
    assert run(pasha, curves(0.0)) < run(asha, curves(0.0)) / 2
    assert pasha.top == 3


@pytest.mark.parametrize("ranking", RANKINGS)
def test_an_unsettled_ranking_is_asha(ranking: Ranking) -> None:
    """Where every rung turns the order round, the top is R at the end."""
    pasha = Pasha(1, 27, max_trials=81, ranking=ranking)
    run(pasha, lambda trial, step: (Losses((float(trial if step in (1, 9) else -trial),)),))
    assert pasha.top == 27


def test_noise_is_no_reason_to_go_on() -> None:
    """Swaps within the noise of the curves open no rung; with exact ranks any swap does."""
    tops: dict[Ranking, list[int]] = {}
    for ranking in RANKINGS:
        for seed in range(5):
            pasha = Pasha(1, 729, max_trials=120, ranking=ranking)
            run(pasha, curves(0.05, seed), 120)
            tops.setdefault(ranking, []).append(pasha.top)
    assert all(soft <= exact for soft, exact in zip(tops["soft"], tops["exact"], strict=True))
    assert sum(tops["soft"]) < sum(tops["exact"]) / 2


def test_a_short_ladder_has_no_secret() -> None:
    """With one rung or two there is nothing to open."""
    for R, top in ((1, 1), (2, 2), (3, 3)):
        pasha = Pasha(1, R, 3, max_trials=9)
        run(pasha, curves(0.5), 9)
        assert pasha.top == top


def test_deepening_opens_all() -> None:
    """Who raises R wants it used: the winner of a settled search goes to the new R."""
    pasha = Pasha(1, 9, max_trials=27)
    fleet = Fleet(pasha, 2, curves(0.0), 27)
    fleet.drain()
    assert max(fleet.paused.values()) == 3
    fleet.deepen(27)
    fleet.drain()
    assert max(fleet.paused.values()) == 27


def noise_of(known: dict[int, list[float]]) -> float:
    """ε by its definition: the 90th percentile of the gaps at the top of pairs that criss-crossed on the way."""
    gaps = []
    for a, b in combinations(known, 2):
        d = [x - y for x, y in zip(known[a], known[b], strict=True)]
        crossed = any(
            d[i] * d[j] < 0 and d[j] * d[k] < 0
            for i in range(len(d)) for j in range(i + 1, len(d)) for k in range(j + 1, len(d))
        )  # fmt: skip
        if crossed:
            gaps.append(abs(d[-1]))
    return float(np.percentile(gaps, 90)) if gaps else 0.0


def settled(known: dict[int, list[float]], ranking: Ranking) -> bool:
    """The paper's rule: at each place, who stands there above was within ε of who stood there below."""
    above = sorted(known, key=lambda t: (known[t][-1], t))
    below = sorted(known, key=lambda t: (known[t][-2], t))
    if ranking == "exact":
        return above == below
    epsilon = noise_of(known)
    return all(a == b or abs(known[a][-2] - known[b][-2]) <= epsilon for a, b in zip(above, below, strict=True))


@calm
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 5), ranking=st.sampled_from(RANKINGS))
def test_the_top_rises_by_the_published_rule(seed: int, workers: int, ranking: Ranking) -> None:
    """Every rise, and every report that brought none, is what the plain definition says."""
    pasha = Pasha(1, 81, max_trials=60, ranking=ranking)

    def loss(trial: int, step: int) -> tuple[Losses, ...]:
        noise = 0.2 * Random(f"{seed} {trial} {step}").random()
        return (Losses((round(Random(f"{seed} {trial}").random() + noise, 2),)),)

    fleet = Fleet(pasha, workers, loss, 60)
    fleet.drain()
    steps, top = pasha.ladders()[0], 1
    seen: dict[int, list[float]] = {}
    for event, _ in fleet.calls:
        if not isinstance(event, Reported):
            continue
        seen.setdefault(event.trial, []).append(event.points[0].values[0])
        assert event.step <= steps[top]
        on_top = {t: v for t, v in seen.items() if len(v) == top + 1}
        if event.step == steps[top] and top + 1 < len(steps) and not settled(on_top, ranking):
            top += 1
    assert pasha.top == steps[top]
