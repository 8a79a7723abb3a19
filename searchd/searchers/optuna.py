"""TPE from Optuna, in memory: the suggestion comes from the deepest rung that knows enough.

For each suggestion one Optuna study is built from the history: the trials that reported at the deepest rung step
with at least max(10, d + 1) of them (d searched parameters), by their best operating point, and the running trials
as RUNNING, which the sampler counts as bad (constant liar), so that parallel suggestions differ. Diverged and
failed trials count as worse than the worst. Bounds become one Optuna constraint. Below that many trials: random.

Building it anew costs milliseconds and keeps nothing that a restart could lose: Optuna's finished trials are
immutable, so one study could not follow a trial from rung to rung anyway.

Sources: Bergstra, Bardenet, Bengio, Kégl (2011), NeurIPS; Falkner, Klein, Hutter (2018), ICML, for the deepest
rung with enough trials; Ozaki et al. (2022), JAIR, several objectives; Watanabe (2023), arXiv:2304.11127.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.order import best_points
from searchd.searchers.base import History
from searchd.searchers.needs import need
from spaces.config import Config
from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

TRIES = 16
"""How often an infeasible suggestion is asked for again before the last one is repaired."""
MARGIN = 0.1
"""A diverged trial counts as the worst of its rung and this share of the range beyond it."""

Distributions = dict[str, "BaseDistribution"]


class OptunaTpe:
    """`startup`: a rung needs max(startup, d + 1) trials. `candidates`: drawn for each suggestion. Missing without
    optuna. Priors of the space are used while suggestions are still random."""

    def __init__(self, *, startup: int = 10, candidates: int = 24) -> None:
        need("optuna-tpe", "optuna", "tpe")
        self._startup = startup
        self._candidates = candidates

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        observed = self._deepest(history)
        if observed is None:
            return history.space.sample(rng)
        study = _study(history, observed, self._candidates, int(rng.integers(2**31)))
        for _ in range(TRIES):
            asked = study.ask()
            config = history.space.walk(lambda name, domain, asked=asked: _suggest(asked, name, domain))  # type: ignore[misc]
            if history.space.feasible(config):
                return config
        return history.space.repair(config, rng)

    def _deepest(self, history: History) -> dict[TrialId, Losses | None] | None:
        """The best point of each trial at the deepest rung that knows enough, None for a diverged one."""
        constants = {slot.name for slot in history.space.slots if isinstance(slot.domain, Const)}
        for step in reversed(history.steps()):
            entries = history.at(step)
            searched = max(len(history.records[t].config.keys() - constants) for t in entries)
            if len(entries) >= max(self._startup, searched + 1):
                best = best_points(entries)
                if any(point is not None for point in best.values()):
                    return best
        return None


def _study(history: History, observed: Mapping[TrialId, Losses | None], candidates: int, seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0, n_ei_candidates=candidates, multivariate=True, group=True, constant_liar=True, seed=seed
        )
    study = optuna.create_study(directions=["minimize"] * history.objectives, sampler=sampler)
    worst = _worst([p for p in observed.values() if p is not None])
    for record in history.records:
        if record.trial in observed:
            study.add_trial(_trial(history.space, record.config, observed[record.trial] or worst))
        elif record.state in ("waiting", "running"):
            study.add_trial(_trial(history.space, record.config, None))
    return study


def _worst(points: list[Losses]) -> Losses:
    """What a diverged trial counts as: beyond the worst in every objective and in violation."""
    values = []
    for column in zip(*(p.values for p in points), strict=True):
        span = max(column) - min(column)
        values.append(max(column) + MARGIN * (span or abs(max(column)) or 1.0))
    return Losses(tuple(values), max(p.violation for p in points))


def _trial(space: Space, config: Config, losses: Losses | None) -> FrozenTrial:
    """A config as Optuna's trial: COMPLETE with its losses, or RUNNING without."""
    import optuna

    params: dict[str, Any] = {}
    distributions: Distributions = {}

    def note(name: str, domain: Domain) -> Any:
        for key, value, distribution in _params(name, domain, config[name]):
            params[key], distributions[key] = value, distribution
        return config[name]

    space.walk(note)
    if losses is None:
        state = optuna.trial.TrialState.RUNNING
        return optuna.trial.create_trial(state=state, params=params, distributions=distributions)
    return optuna.trial.create_trial(
        params=params,
        distributions=distributions,
        values=losses.values,
        system_attrs={"constraints": [losses.violation]} if losses.violation > 0 else {},
    )


def _params(name: str, domain: Domain, value: Any) -> list[tuple[str, Any, BaseDistribution]]:
    """A value as Optuna's parameters: a choice by its number, a subset by one yes or no an item."""
    distributions = _distributions(name, domain)
    match domain:
        case Choice():
            return [(name, domain.index(value), distributions[name])]
        case Subset(items):
            yes = (int(item in value) for item in items)
            return [(key, one, d) for one, (key, d) in zip(yes, distributions.items(), strict=True)]
        case _:
            return [(key, value, distribution) for key, distribution in distributions.items()]


def _suggest(trial: Trial, name: str, domain: Domain) -> Any:
    """A value of the domain by Optuna's define-by-run: names that the past does not know are drawn at random."""
    found = {key: _draw(trial, key, distribution) for key, distribution in _distributions(name, domain).items()}
    match domain:
        case Choice(options):
            return options[found[name]]
        case Subset():
            return domain.decode([0.75 if yes else 0.25 for yes in found.values()])
        case _:
            return found[name]


def _draw(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case FloatDistribution():
            d = distribution
            return trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)
        case IntDistribution():
            i = distribution
            return trial.suggest_int(key, i.low, i.high, step=i.step, log=i.log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(key, choices)
        case _:
            raise TypeError(f"this is a bug: no Optuna distribution is called {type(distribution).__name__} here")


def _distributions(name: str, domain: Domain) -> Distributions:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match domain:
        case Float(low, high, log, step):
            top = high if step is None else domain.decode((1.0,))
            return {name: FloatDistribution(low, top, log=log and low < top, step=step if low < top else None)}
        case Int(low, high, log, step):
            return {name: IntDistribution(low, low + (int(domain.count()) - 1) * step, log=log, step=step)}
        case Choice(options, ordered):
            if ordered:
                return {name: IntDistribution(0, len(options) - 1)}
            return {name: CategoricalDistribution(tuple(range(len(options))))}
        case Subset(items):
            return {f"{name}#{i}": CategoricalDistribution((0, 1)) for i in range(len(items))}
        case Const():
            return {}


