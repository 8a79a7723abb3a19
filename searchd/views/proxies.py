"""May a zero-cost proxy be trusted in a study? Its rank correlation with what training found, beside two baselines.

A proxy may veto only where it beats log-MACs and log-params in Kendall's tau over at least 30 trials (Lazarevich et
al., 2023, YOLOBench: the count of MACs beats most proxies), and ranks with Spearman at least .6 (Dong et al., 2023,
EMQ).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from searchd.views.agreement import spearman

BASELINES = ("log_macs", "log_params")
LEAST = 30
POOR = 0.6
DRAWS = 400


def kendall(a: ArrayLike, b: ArrayLike) -> float | None:
    """Kendall's tau-b of two sequences [n]; None without spread in one of them."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    upper = np.triu_indices(len(x), 1)
    dx, dy = (np.sign(v[:, None] - v[None, :])[upper] for v in (x, y))
    scale = float(np.sqrt((dx != 0).sum() * (dy != 0).sum()))
    return float((dx * dy).sum()) / scale if scale > 0 else None


def verdicts(scores: Sequence[Mapping[str, float | None]], accuracies: Sequence[float]) -> list[dict[str, Any]]:
    """`[{"proxy", "baseline", "trials", "tau", "spearman", "beats", "may_veto", "why"}]`, the largest tau first.

    `scores`: by proxy, more is better; a proxy that has no value for one of the trials is judged on none. `beats`: the
    share of `DRAWS` resamples of the trials in which it beats both baselines, whatever their sign (a baseline that is
    wrong in all pairs is a good one turned).
    """
    names = list(scores[0]) if scores else []
    columns = {n: [s[n] for s in scores] for n in names}
    taus = {n: None if None in c else kendall(np.asarray(c, float), accuracies) for n, c in columns.items()}
    to_beat = max((abs(taus[n] or 0.0) for n in BASELINES if n in taus), default=0.0)
    whole = {n: np.asarray(c, float) for n, c in columns.items() if None not in c}
    shares = _shares(whole, np.asarray(accuracies, float))
    found = []
    for name in names:
        tau, baseline = taus[name], name in BASELINES
        rho = None if tau is None else spearman(np.asarray(columns[name], float), accuracies)
        why = _why(tau, rho, len(scores), to_beat, baseline)
        found.append({
            "proxy": name, "baseline": baseline, "trials": len(scores), "tau": tau, "spearman": rho,
            "beats": None if baseline else shares.get(name), "may_veto": why == "", "why": why,
        })  # fmt: skip
    return sorted(found, key=lambda row: -2.0 if row["tau"] is None else row["tau"], reverse=True)


def _why(tau: float | None, rho: float | None, trials: int, to_beat: float, baseline: bool) -> str:
    """Why a proxy may not veto; empty when it may."""
    if baseline:
        return "a baseline"
    if trials < LEAST:
        return f"{trials} trials, {LEAST} are needed"
    if tau is None or rho is None:
        return "no rank correlation: a value is missing, or all are equal"
    if tau <= to_beat:
        return f"tau {tau:.3f} does not beat the baselines' {to_beat:.3f}"
    if rho < POOR:
        return f"Spearman {rho:.2f} is below {POOR:g}"
    return ""


def _shares(columns: Mapping[str, np.ndarray[Any, Any]], accuracies: np.ndarray[Any, Any]) -> dict[str, float]:
    """How often each proxy beats both baselines when the trials are drawn again with replacement; seeded."""
    n = len(accuracies)
    if n < LEAST:
        return {}
    rng = np.random.default_rng(0)
    wins = dict.fromkeys(columns, 0)
    for _ in range(DRAWS):
        index = rng.integers(n, size=n)
        taus = {name: kendall(column[index], accuracies[index]) or 0.0 for name, column in columns.items()}
        limit = max((abs(taus[b]) for b in BASELINES if b in taus), default=0.0)
        for name, tau in taus.items():
            wins[name] += tau > limit
    return {name: count / DRAWS for name, count in wins.items()}
