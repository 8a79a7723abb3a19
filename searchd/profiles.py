"""Time to a target over several workloads: performance profiles and their score, as in AlgoPerf; and RI.

    times = [[100, 200, 300, inf], [150, 100, 600, 50], [400, 390, 290, 100]]     # a row for each submission
    scores(times)                                                                 # .6638, .8693, .4250

Sources: Dahl and others (2023), arXiv:2306.07179, "Benchmarking neural network training algorithms"; Dolan and Moré
(2002), performance profiles; Yang, Esperança, Carlucci (2020), ICLR, "NAS evaluation is frustratingly hard".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from statistics import fmean, median

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searchd.errors import SearchdError

Floats = NDArray[np.float64]
R_MAX = 4.0
"""A submission that takes so many times the fastest one's time gets nothing for a workload."""


def workload_time(studies: Sequence[Sequence[float]]) -> float:
    """The time of one submission on one workload: the median over its studies of the fastest trial's time to the
    target, in any unit; inf where a trial missed it."""
    if not studies or not all(studies):
        raise SearchdError("a workload needs a study with a trial at least, but one is empty: leave it out")
    return float(median(min(trials) for trials in studies))


def ratios(times: ArrayLike) -> Floats:
    """Times [submissions, workloads] over the fastest of each workload; inf where a submission missed the target."""
    given = np.asarray(times, dtype=np.float64)
    if given.ndim != 2 or not given.size or np.isnan(given).any() or (given <= 0).any():
        raise SearchdError("times are a table of numbers above 0, rows for submissions, inf for a miss: check it")
    best = given.min(axis=0)
    known = np.isfinite(given) & np.isfinite(best)
    found: Floats = np.divide(given, best, out=np.full_like(given, inf), where=known)
    return found


def profile(times: ArrayLike, tau: ArrayLike) -> Floats:
    """The share of workloads [submissions, taus] that a submission ends within `tau` times the fastest one's time."""
    within = ratios(times)[:, :, None] <= np.atleast_1d(np.asarray(tau, dtype=np.float64))
    shares: Floats = within.mean(axis=1)
    return shares


def scores(times: ArrayLike, r_max: float = R_MAX) -> Floats:
    """The area under each submission's profile from 1 to `r_max`, over its greatest: [submissions], 1 for who is
    fastest everywhere. It is the mean over workloads of max(0, r_max - ratio) / (r_max - 1)."""
    if not r_max > 1:
        raise SearchdError(f"a profile runs from 1 to r_max, but r_max = {r_max:g}: raise it above 1")
    areas: Floats = np.maximum(0.0, r_max - ratios(times)).mean(axis=1) / (r_max - 1)
    return areas


def relative_improvement(method: float, random: Sequence[float]) -> float:
    """RI in percent: how much better a method's accuracy is than the mean of randomly drawn architectures of the same
    space, trained in the same way."""
    if not random or fmean(random) == 0:
        raise SearchdError("RI needs the accuracies of random architectures, not all 0: train 8 of them or more")
    return 100 * (method - fmean(random)) / fmean(random)
