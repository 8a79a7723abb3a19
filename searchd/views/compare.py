"""The options of one choice side by side: how good their trials became at one step, and whether the best two differ.

Compared are the values at one step, the deepest that was reached unless another is named: in the middle of a decayed
schedule the order is another. A trial that diverged or failed counts as worse than any value. The test is that of Mann
and Whitney (1947), two-sided, over all trials of the two; it takes trials for independent, which `random` makes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any

import numpy as np

from searchd.errors import NotFound
from searchd.store.base import Reader, TrialRow
from searchd.views.plain import Goal, goals, number, the
from searchd.views.training import curves, reported
from spaces.domains import Float
from spaces.errors import SpaceError
from spaces.study import Study
from spaces.suggest import did_you_mean

LEVEL = 0.05
"""Below this p the best two are told apart."""
MOST = 64
"""More values of a parameter are no options to compare."""


def compare(
    reader: Reader, study: str, parameter: str, metric: str | None = None, step: int | None = None
) -> dict[str, Any]:
    """`{"parameter", "metric", "goal", "step", "unit", "options", "test"}`.

    `options`: `[{"option", "trials", "steps", "judged", "diverged", "failed", "best", "q1", "median", "q3", "trial"}]`,
    the best first; `judged` have a value at `step` or diverged or failed on the way; `q1` is the quartile on the good
    side; null where that lies among those that diverged. `trial` is the best one. `test`: `{"first", "second",
    "better", "p", "apart"}` of the best two, null with less than two trials of each. A metric that is no objective is
    minimised. SpaceError for what is no choice, NotFound for a metric that nobody reported.
    """
    row = the(reader, study)
    spec = Study.parse(dict(row.spec))
    _check(spec, parameter)
    found = goals(row)
    goal = found[0] if metric is None else next((g for g in found if g.name == metric), Goal(metric, "minimize"))
    values = curves(reader, study, goal.name)
    if not values:
        known = reported(reader, study)
        near = f": {did_you_mean(goal.name, known)}" if known else ", for nothing was reported yet"
        raise NotFound(f"no trial of {row.name} has a metric {goal.name!r}{near}")
    at = max(v["step"] for v in values) if step is None else step
    here = {v["trial"]: v["value"] for v in values if v["step"] == at}
    groups: dict[Any, list[TrialRow]] = defaultdict(list)
    for trial in reader.trials(study):
        if parameter in trial.config:
            groups[_plain(trial.config[parameter])].append(trial)
    losses = {option: _losses(trials, here, goal) for option, trials in groups.items()}
    options = [_option(option, groups[option], losses[option], goal) for option in groups]
    options.sort(key=lambda o: _rank(o, goal))
    return {
        "parameter": parameter, "metric": goal.name, "goal": goal.goal, "step": at, "unit": spec.search.unit,
        "options": options, "test": _test(options, losses),
    }  # fmt: skip


def _check(spec: Study, parameter: str) -> None:
    domain = spec.space[parameter].domain
    if isinstance(domain, Float) or domain.count() > MOST:
        raise SpaceError(f"{parameter} is a range of many values, and options are compared: name a choice")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _losses(trials: Sequence[TrialRow], here: Mapping[int, Any], goal: Goal) -> dict[int, float]:
    """Loss by trial of those that are judged: inf for a trial that diverged or failed."""
    out: dict[int, float] = {}
    for trial in trials:
        if trial.status == "failed":
            out[trial.trial] = inf
        elif trial.trial in here:
            value = number(here[trial.trial])
            out[trial.trial] = inf if value is None else goal.loss(value)
    return out


def _option(option: Any, trials: Sequence[TrialRow], losses: Mapping[int, float], goal: Goal) -> dict[str, Any]:
    ordered = sorted(losses.values())
    diverged = [t for t in trials if t.trial in losses and losses[t.trial] == inf and t.reason.startswith("diverged")]
    best = min(losses, key=lambda t: (losses[t], t), default=None)
    return {
        "option": list(option) if isinstance(option, tuple) else option,
        "trials": len(trials), "steps": sum(t.step for t in trials), "judged": len(ordered),
        "diverged": len(diverged), "failed": sum(loss == inf for loss in ordered) - len(diverged),
        **{name: _value(ordered, q, goal) for name, q in (("best", 0.0), ("q1", 0.25), ("median", 0.5), ("q3", 0.75))},
        "trial": best if best is not None and losses[best] < inf else None,
    }  # fmt: skip


def _value(ordered: Sequence[float], q: float, goal: Goal) -> float | None:
    """The quantile in the user's own sense, between two neighbours on a line; null beyond what is finite."""
    if not ordered:
        return None
    place = q * (len(ordered) - 1)
    low, part = ordered[int(place)], place - int(place)
    high = ordered[min(int(place) + 1, len(ordered) - 1)] if part else low
    loss = low + part * (high - low) if isfinite(high) else inf
    return goal.loss(loss) if isfinite(loss) else None  # a loss is its own inverse


def _rank(option: Mapping[str, Any], goal: Goal) -> tuple[float, float, str]:
    best, middle = (inf if option[k] is None else goal.loss(option[k]) for k in ("best", "median"))
    return best, middle, str(option["option"])


def _test(options: Sequence[Mapping[str, Any]], losses: Mapping[Any, Mapping[int, float]]) -> dict[str, Any] | None:
    if len(options) < 2:
        return None
    first, second = options[0]["option"], options[1]["option"]
    a, b = (list(losses[_plain(option)].values()) for option in (first, second))
    if min(len(a), len(b)) < 2:
        return None
    from scipy.stats import mannwhitneyu, rankdata

    p = 1.0 if len({*a, *b}) == 1 else float(mannwhitneyu(a, b, alternative="two-sided").pvalue)
    ranks = rankdata([*a, *b])
    better = first if np.mean(ranks[: len(a)]) <= np.mean(ranks[len(a) :]) else second
    return {"first": first, "second": second, "better": better, "p": p, "apart": p < LEVEL}
