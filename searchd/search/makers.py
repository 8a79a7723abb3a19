"""One function a searcher, `(seed, options)`, which brings the searcher's module when somebody asks for it: a process
waits for every import, and a study has one searcher of twenty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searchd.errors import SearchdError
from searchd.searchers.base import Searcher

Options = Mapping[str, Any]


def _morphing(options: Options) -> Options:
    if options.get("morph", 0) > 1:
        raise SearchdError(f"search.options.morph is a share from 0 to 1, but is {options['morph']!r}")
    return options


def auto(seed: int, _: Options) -> Searcher:
    from searchd.searchers.auto import AutoSearcher

    return AutoSearcher(seed)


def random(_: int, __: Options) -> Searcher:
    from searchd.searchers.random import RandomSearcher

    return RandomSearcher()


def sobol(seed: int, _: Options) -> Searcher:
    from searchd.searchers.sobol import SobolSearcher

    return SobolSearcher(seed)


def tpe(_: int, options: Options) -> Searcher:
    from searchd.searchers.tpe import TpeSearcher

    return TpeSearcher(**options)


def optuna_tpe(_: int, options: Options) -> Searcher:
    from searchd.searchers.optuna import OptunaTpe

    return OptunaTpe(**options)


def priorband(_: int, __: Options) -> Searcher:
    from searchd.searchers.priorband import PriorBandSearcher

    return PriorBandSearcher()


def bohb(_: int, options: Options) -> Searcher:
    from searchd.searchers.bohb import BohbSearcher

    return BohbSearcher(**options)


def evolution(_: int, options: Options) -> Searcher:
    from searchd.searchers.evolution import EvolutionSearcher

    return EvolutionSearcher(**_morphing(options))


def mo_evolution(_: int, options: Options) -> Searcher:
    from searchd.searchers.evolution import MoEvolutionSearcher

    return MoEvolutionSearcher(**_morphing(options))


def mobster(_: int, options: Options) -> Searcher:
    from searchd.searchers.mobster import MobsterSearcher

    return MobsterSearcher(**options)


def gp(_: int, options: Options) -> Searcher:
    from searchd.searchers.mobster import MobsterSearcher

    return MobsterSearcher(kernel="independent", **options)


def config(_: int, options: Options) -> Searcher:
    from searchd.searchers.optimistic import ConfigSearcher

    return ConfigSearcher(**options)


def scbo(_: int, options: Options) -> Searcher:
    from searchd.searchers.scbo import ScboSearcher

    return ScboSearcher(**options)


def optuna_gp(_: int, options: Options) -> Searcher:
    from searchd.searchers.optuna_gp import OptunaGp

    return OptunaGp(**options)


def cma_es(_: int, options: Options) -> Searcher:
    from searchd.searchers.evolution_strategy import CmaEsSearcher

    return CmaEsSearcher(**options)


def nsga2(_: int, options: Options) -> Searcher:
    from searchd.searchers.optuna_nsga2 import OptunaNsga2

    return OptunaNsga2(**options)


def smbo(_: int, options: Options) -> Searcher:
    from searchd.searchers.smbo import SmboSearcher

    return SmboSearcher(**options)


def pbt(_: int, options: Options) -> Searcher:
    from searchd.searchers.pbt import PbtSearcher

    return PbtSearcher(**options)


def mcts(_: int, options: Options) -> Searcher:
    from searchd.searchers.mcts import MctsSearcher

    return MctsSearcher(**options)
