"""Zeus' batch sizes: the golden posterior, the pruning by hand, and that the cheapest size wins."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from searchd.errors import SearchdError
from searchd.searchers.batch_sizes import BatchSizes, Posterior, Run, posterior

SIZES = (8, 16, 32, 64, 128)


def test_golden_posterior() -> None:
    """G17 (17.1): rewards -10, -12, -11: precision 4.5, mean -11, sd .471405."""
    found = posterior([-10, -12, -11])
    assert found.precision == pytest.approx(4.5, abs=1e-12)
    assert found.mean == -11
    assert round(found.sd, 6) == 0.471405


def test_posteriors_at_the_edges() -> None:
    """Nothing seen: the prior. One reward: known. A prior is weighed by its precision."""
    assert posterior([]) == Posterior(0.0, 0.0)
    assert posterior([]).sd == inf
    assert posterior([-3.0]) == Posterior(-3.0, inf)
    assert posterior([-10, -12, -11], Posterior(-2.0, 4.5)).mean == pytest.approx(-6.5)


def course(bandit: BatchSizes, cost: dict[int, float], count: int, seed: int = 0, noise: float = 0.0) -> list[Run]:
    """Runs of a job; a size without a cost misses the target."""
    rng, world, runs = np.random.default_rng(seed), np.random.default_rng(99), []
    for _ in range(count):
        size = bandit.next(runs, rng)
        runs.append(Run(size, cost.get(size, 1.0) + noise * world.standard_normal(), size in cost))
    return runs


def test_pruning_by_hand() -> None:
    """From 32 down (32, 16, 8 misses), then up (64, 128 too dear); again over what is left, from the cheapest: 16."""
    runs = course(BatchSizes(SIZES, 32), {16: 10.0, 32: 12.0, 64: 15.0, 128: 21.0}, 8)
    assert [r.size for r in runs] == [32, 16, 8, 64, 128, 16, 32, 64]


def test_a_default_that_misses_is_left_upwards() -> None:
    """The default fails: nothing below it is tried, the larger ones are."""
    runs = course(BatchSizes(SIZES, 16), {32: 10.0, 64: 9.0}, 6)
    assert [r.size for r in runs] == [16, 32, 64, 128, 64, 32]


def test_the_cheapest_size_wins() -> None:
    """After the pruning most runs have the best size, by noisy costs; another seed decides otherwise at times."""
    runs = course(BatchSizes(SIZES, 64), {16: 12.0, 32: 10.0, 64: 13.0, 128: 16.0}, 120, noise=0.7)
    late = [r.size for r in runs[-60:]]
    assert late.count(32) > 45


def test_a_window_follows_a_drift() -> None:
    """When the best size becomes the worst, a window leaves it; the belief in all runs holds on for longer."""

    def share(window: int | None) -> float:
        bandit, rng, runs = BatchSizes((16, 32), 16, window=window), np.random.default_rng(1), []
        world = np.random.default_rng(2)
        for i in range(90):
            size = bandit.next(runs, rng)
            dear = (size == 16) == (i >= 40)
            runs.append(Run(size, (16.0 if dear else 11.0) + world.standard_normal()))
        return float(np.mean([r.size == 32 for r in runs[50:]]))

    assert share(6) > share(None)


def test_the_same_runs_give_the_same_answer_and_odd_ones_are_refused() -> None:
    """A function of its arguments; runs out of order, no size at all, sizes that do not rise: told."""
    bandit = BatchSizes(SIZES, 32)
    runs = course(bandit, {16: 10.0, 32: 12.0, 64: 15.0}, 30, noise=0.5)
    assert bandit.next(runs, np.random.default_rng(3)) == bandit.next(runs, np.random.default_rng(3))
    with pytest.raises(SearchdError, match="run 0 had size 8, but 32 was due"):
        bandit.next([Run(8, 1.0)], np.random.default_rng(0))
    with pytest.raises(SearchdError, match="no batch size"):
        course(bandit, {}, 9)
    with pytest.raises(SearchdError, match="have to rise"):
        BatchSizes((32, 16), 16)
    with pytest.raises(SearchdError, match="above 1"):
        BatchSizes(SIZES, 16, beta=1.0)
