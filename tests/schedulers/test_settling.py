"""What PASHA keeps of the trials on its top rung says the same as looking at all of them anew."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.schedulers.order import Standing, standing
from searchd.schedulers.settling import Percentile, Settling
from searchd.schedulers.standings import key_of

seeds = st.integers(0, 10**9)
calm = settings(deadline=None, max_examples=100)


@calm
@given(seed=seeds, grid=st.sampled_from([3, 1000]))
def test_a_percentile_of_what_came(seed: int, grid: int) -> None:
    """After each batch it is NumPy's percentile of everything so far, to the last digit."""
    rng, kept, seen = Random(seed), Percentile(), [0.0]
    kept.add(seen)
    for _ in range(20):
        batch = [rng.randint(0, grid) / grid for _ in range(rng.randint(0, 5))]
        kept.add(batch)
        seen += batch
        assert kept.value() == np.percentile(seen, 90.0)


def settled(known: dict[int, list[Standing]], out: set[int], soft: bool) -> bool:
    """The definition: pairs that overtook each other twice give the noise; swaps within it do not count."""
    curves = {t: [s[2][0][0] for s in k] for t, k in known.items() if all(s[2] for s in k)}
    gaps = [abs(a[-1] - b[-1]) for i, a in curves.items() for j, b in curves.items() if i < j and overtakes(a, b) >= 2]
    noise = float(np.percentile(gaps, 90.0)) if gaps and soft else 0.0
    inside = [t for t in known if t not in out]
    above, below = (sorted(inside, key=lambda t: key_of(t, known[t][at])) for at in (-1, -2))
    for a, b in zip(above, below, strict=True):
        one, other = known[a][-2], known[b][-2]
        if a != b and not (soft and one[:2] == other[:2] and abs(one[2][0][0] - other[2][0][0]) <= noise):
            return False
    return True


def overtakes(a: list[float], b: list[float]) -> int:
    signs = [s for s in np.sign(np.array(a) - np.array(b)) if s]
    return sum(x != y for x, y in pairwise(signs))


@calm
@given(seed=seeds, rungs=st.integers(2, 5), grid=st.sampled_from([4, 1000]), noise=st.sampled_from([0.0, 0.05, 1.0]),
       soft=st.booleans())  # fmt: skip
def test_kept_is_computed(seed: int, rungs: int, grid: int, noise: float, soft: bool) -> None:
    """After every trial that comes, and every one that is stopped: settled or not, as by the definition."""
    rng = Random(seed)
    kept, known, out = Settling(soft), dict[int, list[Standing]](), set[int]()
    for trial in rng.sample(range(100), 15):
        quality, violation = rng.random(), rng.choice([0.0, 0.0, 0.0, 0.5])
        curve = [round(grid * (quality + noise * rng.random())) / grid for _ in range(rungs)]
        known[trial] = [standing([Losses((loss,), violation)]) for loss in curve]
        kept.enter(trial, known[trial])
        if rng.random() < 0.3:
            gone = rng.choice(list(known))
            kept.leave(gone, known[gone])
            out.add(gone)
        assert kept.settled() == settled(known, out, soft)
