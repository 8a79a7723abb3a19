"""An ε-net that is gone on with is the one found anew."""

from __future__ import annotations

from itertools import islice
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.schedulers.net import Net
from searchd.schedulers.orders import epsilon_net


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 10**9), m=st.integers(1, 4), grid=st.sampled_from([2, 4, 1000]))
def test_followed_is_found_anew(seed: int, m: int, grid: int) -> None:
    """Points come and go, any part of the order is read in between: it is `epsilon_net` of those who are there."""
    rng = Random(seed)
    points = {key: [rng.randint(0, grid) / grid for _ in range(m)] for key in rng.sample(range(200), 120)}
    inside = sorted(rng.sample(list(points), 10))
    net = Net(np.array([points[key] for key in inside]))
    for _ in range(15):
        rows = np.array([points[key] for key in inside])
        read = rng.randint(0, len(inside))
        assert list(islice(net, read)) == list(islice(epsilon_net(rows), read))
        stay = [key for key in inside if rng.random() < 0.95] or inside[:1]
        come = rng.sample([key for key in points if key not in inside], rng.randint(0, 4))
        after = sorted(stay + come)
        following = Net(np.array([points[key] for key in after]))
        places = np.array([after.index(key) if key in stay else -1 for key in inside])
        following.follow(net, places, np.array([after.index(key) for key in sorted(come)], dtype=np.intp))
        net, inside = following, after
    assert list(net) == list(epsilon_net(np.array([points[key] for key in inside])))
