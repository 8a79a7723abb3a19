"""Several objectives: directions measure volume, what is far ahead of the front promises most, points take turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from searchd.schedulers.events import Losses
from searchd.schedulers.front import hypervolume
from searchd.searchers.base import History, Record, generator
from searchd.searchers.batches import Known
from searchd.searchers.judges import directions_of, lengths, scale_of
from searchd.searchers.several import Several
from spaces.space import Space

SPACE = Space.parse({"x": {"float": [0, 1]}})


@pytest.mark.parametrize("m", [2, 3, 4])
def test_directions_measure_the_dominated_volume(m: int) -> None:
    """The mean over directions of (farthest reach)^m is the hypervolume, up to the constant of the dimension and to
    what few directions can tell (a few per cent in two dimensions, a tenth above)."""
    constant = math.pi ** (m / 2) / (2**m * math.gamma(m / 2 + 1))
    rng = np.random.default_rng(m)
    for _ in range(5):
        points = rng.random((12, m))
        scale = (np.zeros(m), np.ones(m))
        found = constant * (lengths(points, scale).max(axis=0) ** m).mean()
        exact = hypervolume(points, [1.0] * m)
        assert abs(found - exact) < {2: 0.03, 3: 0.15, 4: 0.25}[m] * exact
    assert np.allclose(np.linalg.norm(directions_of(m), axis=1), 1)


def test_an_outlier_does_not_set_the_corner() -> None:
    """One loss of a million does not make all others look alike; equal losses still span a box."""
    losses = np.array([[1.0, 1.0], [2.0, 2.0], [1.5, 1.8], [1e6, 1.2]])
    best, corner = scale_of(losses)
    assert best.tolist() == [1.0, 1.0]
    assert corner[0] < 1e5
    assert corner[1] == 2.0
    best, corner = scale_of(np.ones((3, 2)))
    assert (corner > best).all()


def test_operating_points_take_turns() -> None:
    """A trial with two operating points speaks by either of them, as the batches go on; a diverged one by none."""
    records = []
    for trial in range(4):
        points = (Losses((0.1 + trial, 0.9)), Losses((0.9 + trial, 0.1))) if trial < 3 else (Losses((np.nan, 1.0)),)
        config = SPACE.sample(generator(0, trial))
        records.append(Record(trial, config, "paused", 1, 1, losses={1: points}))
    table = History(SPACE, tuple(records), 2, ((1,),)).table
    known = Known(table, 4, table.entered[:4])
    reader = Several()
    spoken = [reader.losses(known, turn)[:, 0] for turn in range(8, 24)]
    assert {tuple(values[1]) for values in spoken} == {(1.1, 0.9), (1.9, 0.1)}
    assert np.isinf(spoken[0][3]).all()
    assert np.array_equal(Several().losses(known, 9), reader.losses(known, 9))
    assert np.isnan(reader.losses(Known(table, 2, np.zeros((2, 1), dtype=bool)), 9)).all()
