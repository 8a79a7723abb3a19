"""Peers behind three calls. Each library is imported only when one of its methods is made: see README.md for the
environments that hold them.

A peer is told NaN as the problem's worst loss: most of them take none.
"""
# ruff: noqa: ARG002, ARG005
# mypy: disable-error-code="import-not-found, no-untyped-call, misc"

from __future__ import annotations

import logging
import tempfile
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench.quality.spec import Problem, active, sample


class Asked(NamedTuple):
    """What to train next: from a step (the trial's checkpoint) to a step. `handle` is the peer's own."""

    handle: Any
    values: dict[str, Any]
    since: int
    until: int


class Peer(Protocol):
    """Asked for a job when a worker is free; None: nothing now. Told every step of it until it says stop."""

    def ask(self) -> Asked | None: ...

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        """Whether to stop here."""
        ...

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None: ...


class Random:
    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.rng = problem, np.random.default_rng(seed)

    def ask(self) -> Asked:
        return Asked(None, sample(self.problem.space, self.rng), 0, self.problem.steps)

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        return False

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        pass


class Optuna:
    """`optuna-SAMPLER[-PRUNER]`. Define by run, so conditions are its own."""

    def __init__(self, problem: Problem, seed: int, sampler: str, pruner: str = "none") -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.problem, self.states = problem, optuna.trial.TrialState
        samplers = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
            "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
            "nsga2p20": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
        }
        pruners = {
            "none": optuna.pruners.NopPruner,
            "hb": lambda: optuna.pruners.HyperbandPruner(1, problem.steps, 3),
            "sh": lambda: optuna.pruners.SuccessiveHalvingPruner(1, 3),
        }
        self.prunes = pruner != "none"
        # the Hyperband pruner draws a trial's bracket from the study's name
        self.study = optuna.create_study(
            study_name=f"{problem.name}-{seed}",
            directions=["minimize"] * problem.objectives,
            sampler=samplers[sampler](),
            pruner=pruners[pruner](),
        )

    def ask(self) -> Asked:
        trial = self.study.ask()
        values: dict[str, Any] = {}
        for p in self.problem.space:
            if p.when is not None and values.get(p.when[0]) != p.when[1]:
                continue
            if p.kind == "choice":
                values[p.name] = trial.suggest_categorical(p.name, p.options)
            elif p.kind == "int":
                values[p.name] = trial.suggest_int(p.name, int(p.low), int(p.high), log=p.log)
            else:
                values[p.name] = trial.suggest_float(p.name, p.low, p.high, log=p.log)
        return Asked(trial, values, 0, self.problem.steps)

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        if not self.prunes:
            return False
        handle.report(losses[0], step)
        return step < self.problem.steps and bool(handle.should_prune())

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        if stopped:
            self.study.tell(handle, state=self.states.PRUNED)
        else:
            self.study.tell(handle, losses)


def syne_space(problem: Problem) -> dict[str, Any]:
    """The space for Syne Tune."""
    from syne_tune import config_space

    space: dict[str, Any] = {}
    for p in problem.space:
        if p.kind == "choice":
            space[p.name] = config_space.choice(list(p.options))
        elif p.kind == "int":
            space[p.name] = (config_space.lograndint if p.log else config_space.randint)(int(p.low), int(p.high))
        else:
            space[p.name] = (config_space.loguniform if p.log else config_space.uniform)(p.low, p.high)
    return space


class SyneTune:
    """`st-KIND[-BRACKETS[-GRACE]]`, Syne Tune 0.16. Its spaces are flat: parameters that do not exist are drawn too.

    Some of its schedulers draw from the global generators, whatever seed they are given: both are seeded.
    """

    MULTI_FIDELITY = ("ASHA", "BOHB", "ASHABORE", "ASHACQR")

    def __init__(self, problem: Problem, seed: int, kind: str, brackets: str = "1", grace: str = "1") -> None:
        import datetime
        import random

        logging.disable(logging.CRITICAL)
        from syne_tune.backend.trial_status import Trial
        from syne_tune.optimizer import baselines

        self.problem, self.trial, self.now, self.count = problem, Trial, datetime.datetime.now(), 0
        random.seed(seed)
        np.random.seed(seed)
        space = syne_space(problem)
        self.stops = kind in self.MULTI_FIDELITY
        if problem.objectives > 1:
            from syne_tune.optimizer.schedulers import multiobjective, single_fidelity_scheduler

            searcher = multiobjective.multi_objective_regularized_evolution.MultiObjectiveRegularizedEvolution(
                space, random_seed=seed
            )
            self.scheduler: Any = single_fidelity_scheduler.SingleFidelityScheduler(
                space, metrics=["y0", "y1"], searcher=searcher, random_seed=seed
            )
        elif self.stops:
            self.scheduler = getattr(baselines, kind)(
                space, metric="y0", time_attr="epoch", max_t=problem.steps, random_seed=seed,
                grace_period=int(grace), reduction_factor=3, brackets=int(brackets),
            )  # fmt: skip
        else:
            self.scheduler = getattr(baselines, kind)(space, metric="y0", random_seed=seed)

    def ask(self) -> Asked | None:
        said = self.scheduler.suggest()
        if said is None:
            return None
        trial = self.trial(self.count, said.config, self.now)
        self.count += 1
        self.scheduler.on_trial_add(trial)
        return Asked(trial, active(self.problem.space, said.config), 0, self.problem.steps)

    def _result(self, step: int, losses: list[float]) -> dict[str, float]:
        return {**{f"y{i}": float(loss) for i, loss in enumerate(losses)}, "epoch": step}

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        if not self.stops or step >= self.problem.steps:
            return False
        return bool(self.scheduler.on_trial_result(handle, self._result(step, losses)) != "CONTINUE")

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        if stopped:
            self.scheduler.on_trial_remove(handle)
        else:
            self.scheduler.on_trial_complete(handle, self._result(step, losses))


class SyneTune13:
    """`st13-MOBSTER` (stops trials) or `st13-ASHAprom` (pauses them, and goes on from their checkpoints), Syne Tune
    0.13, the last that has them. Its spaces are flat, too."""

    def __init__(self, problem: Problem, seed: int, kind: str) -> None:
        import datetime

        logging.disable(logging.CRITICAL)
        from syne_tune.backend.trial_status import Trial
        from syne_tune.optimizer import baselines

        self.problem, self.trial, self.now = problem, Trial, datetime.datetime.now()
        self.trials: list[Any] = []
        self.at: list[int] = []
        np.random.seed(seed)
        name = kind.removesuffix("prom")
        self.scheduler: Any = getattr(baselines, name)(
            {**syne_space(problem), "max_epoch": problem.steps}, metric="y0", mode="min", resource_attr="epoch",
            max_resource_attr="max_epoch", random_seed=seed, grace_period=1, reduction_factor=3, brackets=1,
            type="stopping" if name == kind else "promotion", search_options={"debug_log": False},
        )  # fmt: skip

    def ask(self) -> Asked | None:
        said = self.scheduler.suggest(len(self.trials))
        if said is None:
            return None
        if said.spawn_new_trial_id:
            trial = self.trial(len(self.trials), said.config, self.now)
            self.trials.append(trial)
            self.at.append(0)
            self.scheduler.on_trial_add(trial)
        else:
            trial = self.trials[said.checkpoint_trial_id]
            trial.config = said.config or trial.config  # until its next rung
        values = active(self.problem.space, trial.config)
        return Asked(trial, values, self.at[trial.trial_id], self.problem.steps)

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        self.at[handle.trial_id] = step
        if step >= self.problem.steps:
            return False
        return bool(self.scheduler.on_trial_result(handle, {"y0": losses[0], "epoch": step}) != "CONTINUE")

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        if stopped:
            self.scheduler.on_trial_remove(handle)
        else:
            self.scheduler.on_trial_complete(handle, {"y0": losses[0], "epoch": step})


def config_space(problem: Problem, seed: int, *, conditions: bool) -> Any:
    """The space for SMAC and DEHB."""
    from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, Integer

    space = ConfigurationSpace(seed=seed)
    for p in problem.space:
        if p.kind == "choice":
            space.add(Categorical(p.name, list(p.options)))
        elif p.kind == "int":
            space.add(Integer(p.name, (int(p.low), int(p.high)), log=p.log))
        else:
            space.add(Float(p.name, (p.low, p.high), log=p.log))
        if conditions and p.when is not None:
            space.add(EqualsCondition(space[p.name], space[p.when[0]], p.when[1]))
    return space


class Smac:
    """`smac-mf` (Hyperband) or `smac-hpo` (whole trainings), SMAC 3. A config goes on from its checkpoint."""

    def __init__(self, problem: Problem, seed: int, kind: str) -> None:
        logging.disable(logging.CRITICAL)
        from smac import HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario
        from smac.runhistory.dataclasses import TrialValue

        self.problem, self.value = problem, TrialValue
        self.at: dict[Any, int] = {}
        self.multi = kind == "mf"
        facade: Any = MultiFidelityFacade if self.multi else HyperparameterOptimizationFacade
        budgets = {"min_budget": 1, "max_budget": problem.steps} if self.multi else {}
        scenario = Scenario(
            config_space(problem, seed, conditions=True), deterministic=True, n_trials=100000, seed=seed,
            output_directory=tempfile.mkdtemp(), **budgets,
        )  # fmt: skip
        halving = {"intensifier": facade.get_intensifier(scenario, eta=3)} if self.multi else {}
        target = (lambda config, seed=0, budget=0: 0.0) if self.multi else (lambda config, seed=0: 0.0)
        self.smac = facade(scenario, target, overwrite=True, logging_level=False, **halving)

    def ask(self) -> Asked:
        info = self.smac.ask()
        until = max(1, min(self.problem.steps, round(info.budget))) if self.multi else self.problem.steps
        since = self.at.get(info.config, 0)
        return Asked(info, active(self.problem.space, dict(info.config)), since if since < until else 0, until)

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        return False

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        self.at[handle.config] = max(step, self.at.get(handle.config, 0))
        self.smac.tell(handle, self.value(cost=float(losses[0]), time=1.0))


class Dehb:
    """`dehb`, ask and tell. Its spaces are flat: parameters that do not exist are drawn too."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from dehb import DEHB
        from loguru import logger

        logger.remove()
        self.problem = problem
        self.at: dict[Any, int] = {}
        self.dehb = DEHB(
            f=lambda *a, **k: None, cs=config_space(problem, seed, conditions=False), min_fidelity=1,
            max_fidelity=problem.steps, eta=3, n_workers=1, seed=seed, output_path=tempfile.mkdtemp(), save_freq="end",
        )  # fmt: skip

    def ask(self) -> Asked:
        job = self.dehb.ask()
        config = {k: (v.item() if hasattr(v, "item") else v) for k, v in dict(job["config"]).items()}
        until = max(1, min(self.problem.steps, round(float(job["fidelity"]))))
        key = tuple(config.values())
        since = self.at.get(key, 0)
        return Asked((job, key), active(self.problem.space, config), since if since < until else 0, until)

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        return False

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        job, key = handle
        self.at[key] = max(step, self.at.get(key, 0))
        self.dehb.tell(job, {"fitness": float(losses[0]), "cost": 1.0, "info": {}})


PEERS: dict[str, Any] = {
    "random": Random, "optuna": Optuna, "st": SyneTune, "st13": SyneTune13, "smac": Smac, "dehb": Dehb,
}  # fmt: skip


def make_peer(name: str, problem: Problem, seed: int) -> Peer:
    """`random`, `optuna-tpe-hb`, `st-ASHA-1-5`, …: the library, then its own words."""
    library, *words = name.split("-")
    peer: Peer = PEERS[library](problem, seed, *words)
    return peer
