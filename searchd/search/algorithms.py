"""The table of pairs: names in a study file → scheduler and searcher, with the options that each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from searchd.errors import SearchdError
from searchd.schedulers.events import Scheduler
from searchd.schedulers.orders import ORDERS, Single
from searchd.search import makers
from searchd.searchers.base import Searcher
from searchd.searchers.curves import FAMILIES
from spaces.study import Earlier, SearchSpec, Study
from spaces.suggest import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Several:
    """Two or more of these words, each once."""

    words: tuple[str, ...]


Allowed = tuple[str, ...] | int | float | Several | type[list[Any]] | type[str]
"""What an option may be: one of these words, a whole number from this one up, (a float) any number from it up, or
several of some words, or names of the user's own (`list`), or one (`str`)."""


@dataclass(frozen=True, slots=True)
class _SchedulerRow:
    """`brackets`: whether the study's `brackets` means something to it."""

    make: Callable[[SearchSpec, int | None, Mapping[str, Any]], Scheduler]
    options: Mapping[str, Allowed] = field(default_factory=dict)
    brackets: bool = False


@dataclass(frozen=True, slots=True)
class _SearcherRow:
    """`begin`: so many first trials are the best configs of earlier studies; 0: it looks at them itself."""

    make: Callable[[int, Mapping[str, Any]], Searcher]
    options: Mapping[str, Allowed] = field(default_factory=dict)
    begin: int = 4


def _fifo(spec: SearchSpec, limit: int | None, _: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.fifo import Fifo

    return Fifo(spec.R, eta=spec.eta, max_trials=limit)


def _auto(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.auto import Auto

    return Auto(spec.r, spec.R, spec.eta, max_trials=limit, **options)


def _asha(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.asha import Asha

    return Asha(spec.r, spec.R, spec.eta, max_trials=limit, **options)


def _pasha(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.pasha import Pasha

    return Pasha(spec.r, spec.R, spec.eta, max_trials=limit, **options)


def _stopping(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.stopping import Stopping

    return Stopping(spec.r, spec.R, spec.eta, max_trials=limit, **options)


def _acband(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.acband import AcBand

    return AcBand(spec.R, max_trials=limit, **options)


def _pbt(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.pbt import Pbt

    return Pbt(spec.r, spec.R, spec.eta, max_trials=limit, **options)


def _hyperband(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.hyperband import Hyperband

    return Hyperband(spec.r, spec.R, spec.eta, max_trials=limit, brackets=spec.brackets, **options)


def _async_hyperband(spec: SearchSpec, limit: int | None, options: Mapping[str, Any]) -> Scheduler:
    from searchd.schedulers.asha import Asha

    return Asha(spec.r, spec.R, spec.eta, max_trials=limit, brackets=spec.brackets, **options)


_ORDER: Mapping[str, Allowed] = {"order": (*ORDERS, "single"), "objective": str}
_PROMOTION: Mapping[str, Allowed] = {"promotion": ("asha", "delayed"), **_ORDER}
_HYPERBAND: Mapping[str, Allowed] = {
    "rounding": ("paper", "bohb"), "deepening": ("efficient", "preserving", "discarding"), **_ORDER,
}  # fmt: skip

SCHEDULERS: Mapping[str, _SchedulerRow] = {
    "auto": _SchedulerRow(_auto, _ORDER),
    "fifo": _SchedulerRow(_fifo),
    "asha": _SchedulerRow(_asha, _PROMOTION),
    "pasha": _SchedulerRow(_pasha, {"ranking": ("soft", "exact"), **_ORDER}),
    "acband": _SchedulerRow(_acband, {"alpha": 0.0, "delta": 0.0, "k": 2, "restarts": 1}),
    "pbt": _SchedulerRow(_pbt, {"population": 2, "quantile": 0.0}),
    "stopping": _SchedulerRow(_stopping, {"rule": ("floor", "quantile"), **_ORDER}),
    "hyperband": _SchedulerRow(_hyperband, _HYPERBAND, brackets=True),
    "async-hyperband": _SchedulerRow(_async_hyperband, {**_PROMOTION, "layout": ("shared", "bracket")}, brackets=True),
}

_TPE: Mapping[str, Allowed] = {"startup": 1, "candidates": 1}
_GP: Mapping[str, Allowed] = {"pending": ("fantasies", "believer"), "startup": 1, "rows": 10, "cost": 0.0}
_MORPH: Mapping[str, Allowed] = {"morph": 0.0, "grow": list}

SEARCHERS: Mapping[str, _SearcherRow] = {
    "auto": _SearcherRow(makers.auto, begin=0),
    "random": _SearcherRow(makers.random),
    "sobol": _SearcherRow(makers.sobol),
    "tpe": _SearcherRow(makers.tpe, _TPE, begin=0),
    "optuna-tpe": _SearcherRow(makers.optuna_tpe, _TPE),
    "priorband": _SearcherRow(makers.priorband),
    "bohb": _SearcherRow(makers.bohb, {"random_fraction": 0.0}),
    "evolution": _SearcherRow(makers.evolution, {"population": 2, "tournament": 1, "startup": 1, **_MORPH}, begin=10),
    "mo-evolution": _SearcherRow(makers.mo_evolution, {"population": 2, "startup": 1, **_MORPH}, begin=10),
    "mobster": _SearcherRow(makers.mobster, {"kernel": FAMILIES, **_GP}),
    "gp": _SearcherRow(makers.gp, _GP),
    "config": _SearcherRow(makers.config, {"beta": 0.0, "startup": 1}),
    "scbo": _SearcherRow(makers.scbo, {"startup": 1}),
    "optuna-gp": _SearcherRow(makers.optuna_gp, {"startup": 1, "rows": 10}),
    "cma-es": _SearcherRow(makers.cma_es, {"population": 0, "startup": 1}, begin=10),
    "nsga2": _SearcherRow(makers.nsga2, {"population": 2}, begin=10),
    "smbo": _SearcherRow(makers.smbo, {"candidates": 1, "random_fraction": 0.0, "startup": 1}),
    "pbt": _SearcherRow(makers.pbt, {"explore": list, "resample": 0.0}),
    "mcts": _SearcherRow(makers.mcts, {"c": 0.0, "resolution": 1, "startup": 1}),
}
COMMON: Mapping[str, Allowed] = {"constants": 2, "max_resource": 1, "deepen_tol": 0.0, "balanced": str}
"""Options that every pair takes."""
ARMS = tuple(name for name in SEARCHERS if name != "pbt")
"""What a portfolio may choose among."""
DEFAULT_ARMS = ("random", "tpe", "mobster", "evolution")


def _portfolio(seed: int, options: Mapping[str, Any]) -> Searcher:
    from searchd.searchers.portfolio import PortfolioSearcher

    names, explore = options.get("arms", DEFAULT_ARMS), options.get("explore", 0.1)
    if explore > 1:
        raise SearchdError(f"search.options.explore is a share from 0 to 1, but is {explore!r}")
    return PortfolioSearcher(seed, {name: SEARCHERS[name].make(seed, {}) for name in names}, explore=explore)


SEARCHERS = {**SEARCHERS, "portfolio": _SearcherRow(_portfolio, {"arms": Several(ARMS), "explore": 0.0})}


def make_scheduler(spec: SearchSpec, max_trials: int | None, objectives: Sequence[str] = ()) -> Scheduler:
    """The scheduler that a study names; SearchdError for an unknown name or option, or an impossible ladder.

    `objectives`: the names of the study's, in their order; one of them may rank alone (`order: single`)."""
    row = find(SCHEDULERS, "scheduler", spec.scheduler)
    if spec.brackets not in (None, 1) and not row.brackets:
        several = " or ".join(name for name, other in SCHEDULERS.items() if other.brackets)
        raise SearchdError(f"{spec.scheduler} has one bracket, but brackets = {spec.brackets}: use {several}")
    try:
        return row.make(spec, max_trials, _ordered(_options(spec, row.options), objectives))
    except ValueError as error:
        raise SearchdError(str(error)) from None


def scheduler_of(study: Study) -> Scheduler:
    """The scheduler of a study as it is."""
    if (given := study.reproduces) is not None:
        from searchd.schedulers.lineage import Lineage

        return Lineage([t.until for t in given.trials], [t.begins == "copy" for t in given.trials])
    return make_scheduler(study.search, study.budget.trials, [o.name for o in study.objectives])


def _ordered(options: dict[str, Any], objectives: Sequence[str]) -> dict[str, Any]:
    """The options with the objective that ranks alone in the place of its name."""
    alone = options.pop("objective", None)
    if options.get("order") == "single":
        if alone not in objectives:
            said = "needs objective: NAME" if alone is None else f"by {alone!r}"
            raise SearchdError(f"search.options.order: single {said}: {did_you_mean(str(alone), objectives)}")
        options["order"] = Single(objectives.index(alone))
    elif alone is not None:
        raise SearchdError(f"search.options.objective = {alone!r} goes with order: single; write both or leave it out")
    return options


def searcher_of(study: Study, seed: int) -> Searcher:
    """The searcher of a study as it is, with another seed than its own."""
    if (given := study.reproduces) is not None:
        from searchd.searchers.lineage import Given

        return Given(given.trials)
    return make_searcher(study.search, seed, study.earlier)


def make_searcher(spec: SearchSpec, seed: int, earlier: Sequence[Earlier] = ()) -> Searcher:
    """The searcher that a study names, and that begins with what `earlier` ones found, if there are any; SearchdError
    for an unknown name or option, Missing for a missing part."""
    row = find(SEARCHERS, "searcher", spec.searcher)
    options, common = _options(spec, row.options), _options(spec, COMMON)

    def make() -> Searcher:
        searcher = row.make(seed, options)
        if earlier and row.begin:
            from searchd.searchers.beginning import Beginning

            searcher = Beginning(row.begin, searcher)
        if "constants" in common:
            from searchd.searchers.constants import Constants

            searcher = Constants(common["constants"], searcher)
        return searcher

    if "balanced" not in common:
        return make()
    from searchd.searchers.balanced import Balanced

    return Balanced(common["balanced"], make)


def check_options(spec: SearchSpec) -> None:
    """SearchdError that names every option that neither of the pair takes, or whose value breaks its rule."""
    known = {
        **COMMON,
        **find(SCHEDULERS, "scheduler", spec.scheduler).options,
        **find(SEARCHERS, "searcher", spec.searcher).options,
    }
    pair = f"{spec.scheduler} × {spec.searcher}"
    found = [
        _problem(name, value, known[name]) if name in known
        else f"search.options: {pair} has no option {name!r}: {did_you_mean(name, known)}"
        for name, value in spec.options.items()
    ]  # fmt: skip
    if said := [problem for problem in found if problem is not None]:
        raise SearchdError("; ".join(said))


def _options(spec: SearchSpec, allowed: Mapping[str, Allowed]) -> dict[str, Any]:
    chosen = {name: spec.options[name] for name in allowed if name in spec.options}
    for name, value in chosen.items():
        if (problem := _problem(name, value, allowed[name])) is not None:
            raise SearchdError(problem)
    return chosen


def _problem(name: str, value: Any, rule: Allowed) -> str | None:
    """What is wrong with an option's value; None when nothing is."""
    at = f"search.options.{name}"
    if rule is str:
        if not isinstance(value, str) or not value:
            return f"{at} needs a name, but is {value!r}"
    elif isinstance(rule, type):
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            return f"{at} needs a list of names, but is {value!r}"
    elif isinstance(rule, int):
        if isinstance(value, bool) or not isinstance(value, int) or value < rule:
            return f"{at} needs a whole number from {rule} up, but is {value!r}"
    elif isinstance(rule, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not rule <= value < float("inf"):
            return f"{at} needs a number from {rule:g} up, but is {value!r}"
    elif isinstance(rule, Several):
        given = value if isinstance(value, list | tuple) else [value]
        for one in given:
            if one not in rule.words:
                return f"{at} has {one!r}: {did_you_mean(str(one), rule.words)}"
        if len(given) < 2 or len(set(given)) < len(given):
            return f"{at} needs two or more, each once, but is {value!r}"
    elif value not in rule:
        return f"{at} = {value!r}: {did_you_mean(str(value), rule)}"
    return None


def find(table: Mapping[str, T], what: str, name: str) -> T:
    """The row of a scheduler or searcher; SearchdError with the name that was probably meant."""
    if name not in table:
        raise SearchdError(f"there is no {what} {name!r}: {did_you_mean(name, table)}")
    return table[name]
