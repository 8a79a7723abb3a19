"""Golden numbers of ALGORITHMS.md G13: HAWQ-V3's integer programs, the toy, and the bisection."""

from __future__ import annotations

import pytest

from spaces.allocation import Limit, Table, allocate, bisect

TRACE = [
    0.06857826, 0.03162379, 0.03298575, 0.01205663, 0.02222431, 0.00596336, 0.06931772, 0.00807129, 0.00372905,
    0.00530698, 0.00209011, 0.00737569, 0.00210454, 0.00151197, 0.00158041, 0.00078146, 0.00451841, 0.00098745,
    0.00072944,
]  # fmt: skip
D8 = [
    0.0235, 0.0125, 0.0102, 0.0082, 0.0145, 0.0344, 0.0023, 0.0287, 0.0148, 0.0333, 0.0682, 0.0027, 0.0448, 0.0336,
    0.0576, 0.1130, 0.0102, 0.0947, 0.0532,
]  # fmt: skip
D4 = [
    6.7430, 3.9691, 3.3281, 2.6796, 4.7277, 10.5966, 0.6827, 9.0942, 4.8857, 10.7599, 21.7546, 0.8603, 14.5324, 10.9651,
    18.7706, 36.4044, 3.1572, 29.6994, 17.4016,
]  # fmt: skip
PARAMS = [
    *[36864] * 4, 73728, 147456, 8192, 147456, 147456, 294912, 589824, 32768, 589824, 589824, 1179648, 2359296, 131072,
    2359296, 2359296,
]  # fmt: skip
LAT4 = [
    0.21094404, 0.21092674, 0.21104113, 0.21086851, 0.13642465, 0.19167506, 0.02532183, 0.19148203, 0.19142914,
    0.11395316, 0.20556011, 0.01917474, 0.20566918, 0.20566509, 0.13185102, 0.22287786, 0.01790088, 0.22304611,
    0.22286099,
]  # fmt: skip
LAT8 = [
    0.36189111, 0.36211718, 0.31141909, 0.30454471, 0.19184896, 0.38948934, 0.0334169, 0.38904905, 0.3892859,
    0.19134735, 0.34307431, 0.02802354, 0.34313329, 0.34310756, 0.21117103, 0.37376585, 0.02896843, 0.37398187,
    0.37405185,
]  # fmt: skip
MACS = [57.802752 if i in (4, 9, 14) else 6.422528 if i in (6, 11, 16) else 115.605504 for i in range(19)]
TIES = [(4, 6), (9, 11), (14, 16)]
LOSS = [[t * b, t * a] for t, a, b in zip(TRACE, D8, D4, strict=True)]
SIZE = [[p / 2**21, p / 2**20] for p in PARAMS]
BOPS = [[m / 64, m / 16] for m in MACS]
LATENCY = [list(row) for row in zip(LAT4, LAT8, strict=True)]


def halfway(table: Table) -> float:
    return sum(low + 0.5 * (high - low) for low, high in table)


@pytest.mark.parametrize(("table", "limit", "low", "cost", "loss"), [
    (SIZE, 7.9805, {15, 17, 18}, 7.2656, 0.074506),
    (BOPS, 66.2323, {3, 8, 12, 13, 14, 15, 16, 17, 18}, 65.0281, 0.215689),
    (LATENCY, 4.2462, {5, 8, 12, 13, 15, 17, 18}, 4.22010, 0.202674),
])  # fmt: skip
def test_hawq_v3(table: Table, limit: float, low: set[int], cost: float, loss: float) -> None:
    """ResNet-18, 19 layers at 4 or 8 bits, three ties, limits halfway: the layers at 4 bits, cost and loss."""
    assert halfway(table) == pytest.approx(limit, abs=1e-4)
    (found,) = allocate(LOSS, {"cost": Limit(table, halfway(table))}, ties=TIES)
    assert {i for i, c in enumerate(found.choice) if c == 0} == low
    assert found.costs["cost"] == pytest.approx(cost, abs=5e-5)
    assert found.loss == pytest.approx(loss, abs=5e-7)


def test_hawq_v3_ends() -> None:
    """All at 4: loss 1.307713, size 5.3203, latency 3.14867; all at 8: .004258, 10.6406, 5.34369."""
    free = {"size": Limit(SIZE, 1e9), "latency": Limit(LATENCY, 1e9)}
    (eight,) = allocate(LOSS, free)
    four = allocate(LOSS, free, fixed=dict.fromkeys(range(19), 0))[0]
    for found, loss, size, latency in ((four, 1.307713, 5.3203, 3.14867), (eight, 0.004258, 10.6406, 5.34369)):
        assert found.loss == pytest.approx(loss, abs=1e-6)
        assert found.costs["size"] == pytest.approx(size, abs=5e-5)
        assert found.costs["latency"] == pytest.approx(latency, abs=5e-6)


def test_toy() -> None:
    """Three layers, 5 MB: bits (8, 8, 4), loss .35."""
    limit = Limit([[0.5, 1], [1, 2], [2, 4]], 5)
    (found,) = allocate([[3, 0.1], [1, 0.05], [0.2, 0.01]], {"MB": limit})
    assert [(4, 8)[c] for c in found.choice] == [8, 8, 4]
    assert found.loss == pytest.approx(0.35)


def test_bisection() -> None:
    """Cumulative degradations, tolerance .5: 5 of 8 tensors, after 3 evaluations; two above are looked at once more."""
    rising = [0, 0.01, 0.03, 0.07, 0.15, 0.35, 0.85, 1.85, 3.85]
    assert bisect(8, rising.__getitem__, 0.5) == (5, 3)
    assert bisect(8, rising.__getitem__, 0.5, beyond=2) == (5, 4)
    dips = [0, 0.01, 0.03, 0.07, 0.15, 0.35, 0.85, 0.45, 3.85]
    assert bisect(8, dips.__getitem__, 0.5, beyond=2) == (7, 4)
    assert bisect(8, rising.__getitem__, 9) == (8, 4)
    assert bisect(8, rising.__getitem__, -1)[0] == 0
