"""searchd's own methods on the same problems, through `searchd.simulator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.quality.elastic import Elastic
from bench.quality.outcome import Outcome, Watch
from bench.quality.spec import Curve, Param, Problem, active
from bench.quality.tables import Nas201

OPTIONS: dict[str, dict[str, Any]] = {}
"""What a name beyond `SCHEDULER+SEARCHER` stands for."""


def domain(param: Param, space: tuple[Param, ...]) -> dict[str, Any]:
    """A parameter as a study file has it, those that live under its options with it."""
    if param.kind != "choice":
        low, high = (int(param.low), int(param.high)) if param.kind == "int" else (param.low, param.high)
        return {param.kind: [low, high], **({"log": True} if param.log else {})}
    inside: dict[str, dict[str, Any]] = {
        option: {
            p.name.removeprefix(f"{param.name}.{option}."): domain(p, space)
            for p in space
            if p.when == (param.name, option)
        }
        for option in param.options
    }
    return {"choice": inside if any(inside.values()) else list(param.options)}


def study(problem: Problem, method: str) -> dict[str, Any]:
    """The study file of a problem under `SCHEDULER+SEARCHER`."""
    scheduler, _, searcher = method.partition("+")
    objectives = {"loss": "minimize"} if problem.objectives == 1 else {"error": "minimize", "latency": "minimize"}
    search = {"scheduler": scheduler, "searcher": searcher or "random", "r": 1, "R": problem.steps, "eta": 3}
    options = OPTIONS.get(method, {})
    return {
        "study": "quality",
        "space": {p.name: domain(p, problem.space) for p in problem.space if p.when is None},
        "objectives": objectives,
        "search": {**search, **options},
        "budget": {"trials": 100_000},  # or one pass of hyperband would be all
        "task": "bench.quality:nothing",
    }


class Recorded:
    """A `World`: the curves of a problem. NaN is reported as it is. The curve of a trial is kept for its next rung."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.curves: dict[int, Curve] = {}

    def curve(self, trial: int, config: Mapping[str, Any]) -> Curve:
        """The whole training of a trial."""
        if trial not in self.curves:
            self.curves[trial] = self.problem.curve(active(self.problem.space, {**config}))
        return self.curves[trial]

    def train(self, trial: int, config: Mapping[str, Any], since: int, until: int) -> Iterator[Any]:
        """The steps of a job."""
        from searchd.simulator import Step

        curve = self.curve(trial, config)
        before = float(curve.seconds[since - 1]) if since else 0.0
        for step in range(since + 1, until + 1):
            at = float(curve.seconds[step - 1])
            losses = curve.losses[step - 1]
            if self.problem.objectives == 1:
                metrics = {"loss": float(losses)}
            else:
                metrics = {"error": float(losses[0]), "latency": float(losses[1])}
            yield Step(step, at - before, metrics)
            before = at


class Foretold:
    """A searcher that may ask for the latency of any architecture."""

    def __init__(self, inner: Any, problem: Nas201 | Elastic) -> None:
        self._inner, self._problem = inner, problem

    def suggest(self, trial: int, history: Any, rng: Any) -> Any:
        """What the searcher itself suggests."""
        return self._inner.suggest(trial, replace(history, describer=self._describe), rng)

    def _describe(self, config: Mapping[str, Any]) -> Any:
        from spaces.describe import Description

        return Description({"latency": self._problem.latency(config)})


def run_ours(problem: Problem, method: str, seed: int, budget: float, workers: int) -> Outcome:
    """A run until the budget (seconds of simulated time, each worker) is spent."""
    from searchd.search.algorithms import make_searcher
    from searchd.simulator import simulate
    from spaces.study import Study

    world = Recorded(problem)
    parsed = Study.parse(study(problem, method))
    searcher = None
    if isinstance(problem, Nas201 | Elastic) and problem.describes:
        searcher = Foretold(make_searcher(parsed.search, seed, ()), problem)
    run = simulate(parsed, world, workers=workers, seconds=budget, seed=seed, searcher=searcher)
    watch = Watch(problem, budget)
    full = 0
    for seen in run.trace:
        curve = world.curves[seen.trial]
        watch.see(seen.seconds, seen.step, curve.losses[seen.step - 1], curve.truth)
        full += seen.step == problem.steps
    return watch.outcome(cpu=run.decision_cpu_s, trials=len(run.search.trials), full=full, cut=False)
