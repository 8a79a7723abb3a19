"""How far suggestions keep from what was tried where neighbours come out alike, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.searchers.apart import apart, nearest

CELL = 0.25


def cells(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` random configs of two parameters that a task rounds to cells of 0.25, and what they report at three rungs."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2))
    of = (x // CELL).astype(int) @ [4, 1]
    return x, np.random.default_rng(7).random((16, 3))[of]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_about_the_size_of_a_cell(seed: int) -> None:
    """Most points nearer than this to a trial are its twins, and most further away are not."""
    x, losses = cells(60, seed)
    assert CELL / 4 < apart(x, losses) < CELL * 1.5


def test_trials_that_stopped_early_count_as_far_as_they_came() -> None:
    """NaN where a trial did not come says nothing against it; one that diverged is nobody's twin."""
    x, losses = cells(60, 1)
    short = losses.copy()
    short[::3, 2] = np.nan
    short[::5, 1:] = np.nan
    assert apart(x, short) > CELL / 4
    assert apart(x, np.full_like(losses, np.inf)) == 0.0


@pytest.mark.parametrize("samples", [20, 100, 360])
def test_equal_by_chance_is_not_alike(samples: int) -> None:
    """Errors on so many samples are often equal at one rung, and no longer at the next."""
    rng = np.random.default_rng(samples)
    x, ends = rng.random((90, 3)), 0.4 * rng.random((90, 1))
    for _ in range(20):
        assert apart(x, rng.binomial(samples, np.repeat(ends, 4, axis=1)) / samples) == 0.0


def test_guessing_is_not_alike() -> None:
    """Most are stuck where guessing gets them, at every rung; that says nothing of good ones."""
    rng = np.random.default_rng(0)
    losses = rng.random((90, 4)) * 0.5
    losses[rng.random(90) < 0.6] = 0.9
    assert apart(rng.random((90, 3)), losses) == 0.0


def test_standing_still_is_not_alike() -> None:
    """Some say the same class whatever they see, and are better for it than many that learn."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        losses = rng.binomial(360, np.repeat(0.02 + 0.4 * rng.random((90, 1)), 4, axis=1)) / 360
        losses[rng.random(90) < 0.3] = 0.1
        assert apart(rng.random((90, 3)), losses) == 0.0


def test_one_rung_tells_nothing() -> None:
    """Whether equal losses stay equal is not seen where there is one rung."""
    x, losses = cells(60, 2)
    assert apart(x, losses[:, :1]) == 0.0


def test_nearest() -> None:
    """The Euclidean distance to the nearest column; infinite where there is none."""
    rng = np.random.default_rng(4)
    x, tried = rng.random((6, 3)), rng.random((3, 9))
    far = np.linalg.norm(x[:, None] - tried.T[None], axis=2).min(axis=1)
    assert nearest(x, tried) == pytest.approx(far)
    assert np.isinf(nearest(x, np.zeros((3, 0)))).all()
