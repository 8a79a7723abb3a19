"""A study as an Optuna study, so that optuna-dashboard and Optuna's own tools open it. Optuna is loaded lazily.

Optuna has one value a trial and objective, we have operating points: every point becomes one Optuna trial (with our
trial and point as attributes); a trial without points becomes one that failed or was pruned.
"""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

from searchd.client import Client
from searchd.errors import Missing, Refused, Unreachable
from spaces.domains import Choice, Float, Int
from spaces.study import Study


def write(client: Client, name: str, url: str) -> tuple[str, int]:
    """Write study `name` to the database at `url`; answers Optuna's study name and the number of trials.

    Raises Missing without Optuna, Refused when a study of that name is there, Unreachable for a database that is not.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise Missing("--optuna needs Optuna and SQLAlchemy: pip install 'searchd[server]'") from error
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = Study.parse(client.spec(name))
    details = [client.trial(name, t["trial"]) for t in client.trials(name)]
    made = list(_trials(optuna, study, details))
    try:
        target = optuna.create_study(
            storage=url, study_name=study.name, directions=[o.goal for o in study.objectives], load_if_exists=False
        )
    except optuna.exceptions.DuplicatedStudyError as error:
        raise Refused(f"{url} has a study {study.name!r} already; give another URL, or delete it there") from error
    except (ArgumentError, SQLAlchemyError, ModuleNotFoundError, ImportError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise Unreachable(f"cannot write an Optuna study to {url!r}: {first}; a URL is like sqlite:///f.db") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        target.set_metric_names([o.name for o in study.objectives])
    target.add_trials(made)
    return study.name, len(made)


def _trials(optuna: Any, study: Study, details: list[dict[str, Any]]) -> Any:
    state = optuna.trial.TrialState
    subsets = _subsets(details)
    for t in details:
        params, spread = _params(optuna, study, t["config"], subsets)
        attributes = {"trial": t["trial"], "step": t["step"], "status": t["status"]}
        points = [p for p in t["points"] if all(_finite(_metric(p, o.name)) for o in study.objectives)]
        for p in points:
            yield optuna.trial.create_trial(
                state=state.COMPLETE,
                params=params,
                distributions=spread,
                values=[_metric(p, o.name) for o in study.objectives],
                user_attrs={**attributes, "point": p.get("point", 0), "metrics": json.dumps(p.get("metrics", p))},
            )
        if not points:
            ended = state.FAIL if t["status"] in {"failed", "vetoed"} else state.PRUNED
            yield optuna.trial.create_trial(
                state=ended, params=params, distributions=spread, user_attrs={**attributes, "reason": t["reason"]}
            )


def _metric(point: dict[str, Any], name: str) -> Any:
    return point.get("metrics", point).get(name)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _subsets(details: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Optuna has no subsets: every subset that occurred, as text, is a category."""
    seen: dict[str, set[str]] = {}
    for t in details:
        for name, value in t["config"].items():
            if isinstance(value, list):
                seen.setdefault(name, set()).add(json.dumps(value))
    return {name: sorted(values) for name, values in seen.items()}


def _params(
    optuna: Any, study: Study, config: dict[str, Any], subsets: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    d = optuna.distributions
    params: dict[str, Any] = {}
    spread: dict[str, Any] = {}
    for name, value in config.items():
        domain = study.space[name].domain
        match domain:
            case Float():
                spread[name] = d.FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
            case Int():
                spread[name] = d.IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
            case Choice():
                spread[name] = d.CategoricalDistribution([*domain.options])
            case _ if name in subsets:
                spread[name] = d.CategoricalDistribution(subsets[name])
            case _:
                spread[name] = d.CategoricalDistribution([value])
        params[name] = json.dumps(value) if name in subsets else value
    return params, spread
