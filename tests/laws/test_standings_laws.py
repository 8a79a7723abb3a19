"""Laws of one rung: what it keeps says what looking at all its entries anew would say."""

from __future__ import annotations

from math import nan
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import Losses
from searchd.schedulers.order import DIVERGED, ranking
from searchd.schedulers.standings import Standings


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**9), grid=st.sampled_from([3, 1000]))
def test_one_objective(seed: int, grid: int) -> None:
    """Whatever comes, is offered, leaves or fails, in any order, with looks in between: ranks, and the best candidate
    within any quota, are those of the whole ranking; and a rung that was called settled stays so only while nobody's
    chance changes."""
    rng = Random(seed)
    rung = Standings(1)
    offered: set[int] = set()
    for trial in rng.sample(range(200), 40):
        loss = nan if rng.random() < 0.1 else rng.randint(0, grid) / grid
        rung.enter(trial, (Losses((loss,), rng.choice([0.0, 0.0, 0.0, 0.5])),))
        for _ in range(rng.randint(0, 3)):
            before = look(rung, offered, rng)
            rung.settled = True
            other = rng.choice(rung.trials())
            match rng.randint(0, 4):
                case 0 | 1:
                    rung.offer(other)
                    if other not in rung.taken and rung._entries[other][0] < DIVERGED:
                        offered.add(other)
                case 2:
                    if before is not None:
                        rung.take(before)
                        offered.discard(before)
                case 3:
                    rung.sink(other)
                    offered -= {other} - rung.taken
                case _:
                    if rng.random() < 0.1:
                        rung.reopen()
                        offered.clear()
            after = look(rung, offered, rng)
            assert not (rung.settled and before != after)


def look(rung: Standings, offered: set[int], rng: Random) -> int | None:
    """Compares what the rung says with its entries, ranked from nothing; the best candidate."""
    ranked = list(ranking(rung._entries))
    first = next(((t, rank) for rank, t in enumerate(ranked) if t in offered), None)
    quota = rng.randint(0, len(ranked))
    assert rung.best() == first
    assert rung.best(quota) == (first if first is not None and first[1] < quota else None)
    some = rng.choice(ranked)
    assert rung.rank(some) == ranked.index(some)
    return None if first is None else first[0]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**9), bent=st.sampled_from([1, 3, 5]))
def test_a_front_that_grows_beyond_its_range(seed: int, bent: int) -> None:
    """Where each trial stretches the scale, the order of a layer is that of the new scale: the old one is forgotten."""
    rng = Random(seed)
    rung = Standings(1)
    for trial, size in enumerate(sorted(rng.uniform(0.1, 3) for _ in range(15))):
        at = rng.choice([-1, 1]) * size if rng.random() < 0.7 else rng.uniform(-size, size)
        rung.enter(trial, (Losses((at, -(at**bent))),))
        ranked = list(ranking(rung._entries))
        some = rng.choice(ranked)
        assert rung.rank(some) == ranked.index(some)
