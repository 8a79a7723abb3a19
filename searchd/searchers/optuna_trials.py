"""Configs as Optuna's trials, and values by Optuna's define-by-run: what every sampler of Optuna's here needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from searchd.schedulers.events import Losses
from searchd.searchers.base import History
from spaces.config import Config
from spaces.domains import Choice, Const, Domain, Float, Int, Subset
from spaces.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

MARGIN = 0.1
"""A diverged trial counts as the worst of its rung and this share of the range beyond it."""

Distributions = dict[str, "BaseDistribution"]


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing of what is experimental in it, nor of every trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def ask(study: Study, history: History, rng: Generator, tries: int) -> Config:
    """A feasible suggestion, not one that was refused: the first of `tries`, else the last one repaired."""
    space = history.space
    refused = {c.digest for c in history.rejected}
    for _ in range(tries):
        asked = study.ask()
        config = space.walk(lambda name, domain, asked=asked: suggest_value(asked, name, domain))  # type: ignore[misc]
        if space.feasible(config) and config.digest not in refused:
            return config
    repaired = space.repair(config, rng)
    return repaired if repaired.digest not in refused else space.sample(rng)


def worst_point(points: list[Losses]) -> Losses:
    """What a diverged trial counts as: beyond the worst in every objective and in violation."""
    values = []
    for column in zip(*(p.values for p in points), strict=True):
        span = max(column) - min(column)
        values.append(max(column) + MARGIN * (span or abs(max(column)) or 1.0))
    return Losses(tuple(values), max(p.violation for p in points))


def as_trial(space: Space, config: Config, losses: Losses | None, *, bounded: bool = False) -> FrozenTrial:
    """A config as Optuna's trial: COMPLETE with its losses, or RUNNING without. `bounded`: with its violation even if
    that is 0, for samplers that want it of all trials or none."""
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
        system_attrs={"constraints": [losses.violation]} if bounded or losses.violation > 0 else {},
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


def suggest_value(trial: Trial, name: str, domain: Domain) -> Any:
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


