"""From a table of operators and whole measured architectures to a `Predictor`.

The affine correction is a least squares with Huber's weights, because what else runs on a machine now and then makes a
figure twice as large. Errors count in milliseconds, relative to the latency, or between the two (`POWERS`): where a few
small networks are far off, relative ones would fit those alone. What is left gets a Gaussian process:

    k = l² Σ_k n_k n'_k t_k² + Σ_g (c² S_g S'_g + e² m² N_g N'_g) + s² exp(−|φ − φ'|² / 2)

an operator k may be off by a share l of its own time t_k; all operators of a kind g (`kind`: op and bits) by a common
share c of their time S_g and by a common part e of a mean operator's time m each (N_g of them); the whole by its size
φ = (table sum, number of operators). Where widths vary, hardly an operator is met twice: what is learned is that of its
kind. Shares, s, noise and power are chosen on a small grid by leave-one-out errors (closed form: Rasmussen and
Williams, 2006, eq. 5.12); no process at all is one of the choices, and wins unless another is better by a margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from searchd.errors import Refused
from searchd.threads import one_thread
from spaces.predictor import Counts, Predictor, radial
from spaces.rules import kind, rules

LEAST = 4
"""Whole architectures below which nothing is corrected."""
LEAST_FOR_PROCESS = 10
POWERS = (0.0, 0.5, 1.0)
OWN = (0.0, 0.1, 0.3)
COMMON = (0.0, 0.1, 0.3, 1.0)
EVEN = (0.0, 0.1, 0.5)
RADIAL = (0.0, 0.1, 0.3)
NOISE = (0.01, 0.03, 0.1)
MARGIN = 0.95
"""A process must bring the leave-one-out error down to this share of the error without one."""
HUBER = 1.345
ROUNDS = 8
CUT = 0.5
"""One relative error counts at most this much: an outlier must not choose the process."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A whole network that was measured: its operators' counts, and milliseconds of one sample."""

    counts: Counts
    ms: float


def fit(table: Mapping[str, float], measured: Sequence[Architecture]) -> Predictor:
    """The predictor that a table and measured architectures make. Refused when a figure is no positive number."""
    bad = [a.ms for a in measured if not np.isfinite(a.ms) or a.ms <= 0]
    if bad:
        raise Refused(f"an architecture was measured at {bad[0]!r} ms, but latency is a positive number: measure again")
    bare = Predictor(dict(table), rules=rules(table))
    if len(measured) < LEAST:
        return bare
    keys = sorted({*table, *(key for a in measured for key in a.counts)})
    counts = np.array([[a.counts.get(key, 0.0) for key in keys] for a in measured], dtype=np.float64)
    own = np.array([bare.alone(key) for key in keys], dtype=np.float64)
    y = np.array([a.ms for a in measured], dtype=np.float64)
    where = np.stack([[bare.table_sum(a.counts) for a in measured], counts.sum(axis=1)], axis=1)
    found: list[tuple[float, Predictor]] = []
    for power in POWERS:
        unit = y**power * float(np.median(y)) ** (1 - power)
        scale, each, once = _affine(where, y, unit)
        corrected = replace(bare, scale=scale, each=each, once=once)
        left = y - (where @ (scale, each) + once)
        found.append((_mean_error(left, y), corrected))
        if len(measured) >= LEAST_FOR_PROCESS:
            with one_thread():
                off, process = _process(corrected, keys, counts, own, where, y, left, unit)
            found.append((off / MARGIN, process))
    return min(found, key=lambda f: f[0])[1]


def _kinds(keys: Sequence[str]) -> Floats:
    """Which operator [K] is of which kind [G]: ones and zeros."""
    kinds = sorted({kind(key) for key in keys})
    return np.array([[float(kind(key) == k) for k in kinds] for key in keys])


def _mean_error(off: Floats, y: Floats) -> float:
    return float(np.minimum(np.abs(off) / y, CUT).mean())


def _affine(where: Floats, y: Floats, unit: Floats) -> tuple[float, float, float]:
    """(scale, each, once) of least errors in `unit`s; a column that does not vary is left out."""
    columns = [where[:, 0]] + ([where[:, 1]] if np.ptp(where[:, 1]) > 0 else []) + [np.ones_like(y)]
    x, aim = np.stack(columns, axis=1) / unit[:, None], y / unit
    weights: Floats = np.ones(len(y))
    best: Floats = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        weighted = x * weights[:, None]
        best = np.asarray(np.linalg.lstsq(weighted.T @ x, weighted.T @ aim, rcond=1e-12)[0], dtype=np.float64)
        off = np.abs(aim - x @ best)
        size = HUBER * 1.4826 * float(np.median(off)) + 1e-12
        weights = np.asarray(np.minimum(1.0, size / np.maximum(off, 1e-15)), dtype=np.float64)
    if best[0] < 0:  # a table that means nothing here: the middle is the better guess
        return 0.0, 0.0, float(np.median(y))
    return float(best[0]), float(best[1]) if len(columns) == 3 else 0.0, float(best[-1])


def _process(
    corrected: Predictor, keys: Sequence[str], counts: Floats, own: Floats, where: Floats, y: Floats, left: Floats,
    unit: Floats,
) -> tuple[float, Predictor]:  # fmt: skip
    """`corrected` with the Gaussian process that leaves the least, and its leave-one-out error."""
    mean = float(np.median(y / np.maximum(where[:, 1], 1.0)))
    belongs = _kinds(keys)
    times, numbers = (counts * own) @ belongs, mean * (counts @ belongs)
    shares, commons, evens = (counts * own) @ (counts * own).T, times @ times.T, numbers @ numbers.T
    middle, spread = where.mean(axis=0), where.std(axis=0)
    spread[spread == 0] = 1.0
    at = (where - middle) / spread
    bumps = radial(at, at) * float(np.median(y)) ** 2
    best: tuple[float, tuple[float, float, float, float], Floats] | None = None
    for share, common, even, size, noise in product(OWN, COMMON, EVEN, RADIAL, NOISE):
        if share == common == even == size == 0:
            continue
        k = share**2 * shares + common**2 * commons + even**2 * evens + size**2 * bumps
        k[np.diag_indices_from(k)] += (noise * unit) ** 2
        inverse = np.linalg.inv(k)
        weights = inverse @ left
        off = _mean_error(weights / np.diag(inverse), y)
        if best is None or off < best[0]:
            best = off, (share, common, even, size), weights
    if best is None:
        raise RuntimeError("the grid of processes is empty: a bug")
    (share, common, even, size), weights = best[1], best[2]
    change = share**2 * own**2 * (counts.T @ weights)
    change += common**2 * own * (belongs @ (times.T @ weights)) + even**2 * mean * (belongs @ (numbers.T @ weights))
    high = float(np.median(y)) ** 2 * size**2
    bumps_at = tuple((float(a), float(b), float(high * w)) for (a, b), w in zip(at, weights, strict=True))
    return best[0], replace(
        corrected, change={key: float(c) for key, c in zip(keys, change, strict=True) if c != 0.0},
        bumps=bumps_at if size else (), middle=(float(middle[0]), float(middle[1])),
        spread=(float(spread[0]), float(spread[1])),
    )  # fmt: skip
