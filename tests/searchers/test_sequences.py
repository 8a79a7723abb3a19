"""What is kept between suggestions, of random numbers and of Sobol's points, is only kept: it changes none of them."""

from __future__ import annotations

import copy
from random import Random

import numpy as np
import pytest
from numpy.random import Generator, Philox

from searchd.searchers.base import History, Stream, generator
from searchd.searchers.sobol import SobolSearcher
from spaces.space import Space

SPACE = Space.parse({"x": {"float": [0, 1]}, "k": {"int": [1, 9]}, "c": {"choice": ["a", "b", "c"]}})


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63])
def test_a_stream_is_a_generator_a_trial(seed: int) -> None:
    """For trials in any order, whatever was drawn of the one before: the numbers of Philox with key (seed, trial)."""
    stream = Stream(seed)
    order = Random(seed).choices(range(50), k=40)
    for trial in order:
        expected = Generator(Philox(key=np.array([seed % 2**64, trial], dtype=np.uint64)))
        for rng in (stream.at(trial), copy.deepcopy(stream).at(trial), generator(seed, trial)):
            fresh = copy.deepcopy(expected)
            assert [rng.integers(5) for _ in range(3)] == [fresh.integers(5) for _ in range(3)]
            assert (rng.random(trial % 7) == fresh.random(trial % 7)).all()


def test_a_point_is_the_same_in_any_order() -> None:
    """Point number `trial` of the sequence, whichever were asked for before, and in another space meanwhile."""
    pytest.importorskip("scipy")
    history, other = History(SPACE), History(Space.parse({"y": {"float": [0, 1]}}))
    kept = SobolSearcher(3)
    for trial in (5, 6, 0, 40, 40, 3, 4, 1, 100, 2):
        for asked in (history,) if trial != 4 else (history, other, history):
            anew = SobolSearcher(3).suggest(trial, asked, generator(0, trial))
            assert kept.suggest(trial, asked, generator(0, trial)) == anew
