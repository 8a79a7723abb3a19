"""`Study`: space, objectives, search, budget, task, seed. Read from a dict or a YAML file; dumps back to a dict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from spaces.balance import check_balanced
from spaces.bounds import check_bounds
from spaces.domains import Choice, Domain, Int
from spaces.errors import SpaceError, StudyError
from spaces.forms import Goal, ReproducesForm, StudyForm
from spaces.formulas import TRAIN_S, formula
from spaces.kernels import TORCH
from spaces.labels import check_needs, text
from spaces.latency import check_latency, check_runtime
from spaces.library import sub_space
from spaces.morphs import GROWS
from spaces.parse import read_space
from spaces.population import check_population
from spaces.problems import Path as KeyPath
from spaces.problems import Problems
from spaces.raising import check_raising
from spaces.reproduces import check_reproduces
from spaces.single import check_single
from spaces.space import Space
from spaces.suggest import did_you_mean
from spaces.task import Task, read_task

SCHEDULERS: tuple[str, ...] = (
    "auto", "fifo", "asha", "pasha", "stopping", "hyperband", "async-hyperband", "acband", "pbt",
)  # fmt: skip
SEARCHERS: tuple[str, ...] = (
    "auto", "random", "sobol", "tpe", "optuna-tpe", "bohb", "priorband",
    "evolution", "mo-evolution", "mcts", "smbo", "mobster", "pbt",
    "gp", "config", "scbo", "optuna-gp", "cma-es", "nsga2",
    "portfolio",
)  # fmt: skip
_FROZEN = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Objective(BaseModel):
    """One metric, which way is better, an optional bound in the metric's own unit; `formula`: what computes it."""

    model_config = _FROZEN

    name: str
    goal: Goal = "minimize"
    at_most: float | None = None
    at_least: float | None = None
    formula: str | None = None

    @property
    def reads(self) -> frozenset[str]:
        """The metrics that it is made of: its own, or those of its formula."""
        return frozenset({self.name}) if self.formula is None else formula(self.formula).reads


class SearchSpec(BaseModel):
    """The pair of algorithms and the resource: `r`, `R`, `eta` as in the Hyperband paper, in `unit`s of training."""

    model_config = _FROZEN

    scheduler: str = "auto"
    searcher: str = "auto"
    r: int = 1
    R: int = 27
    eta: int = 3
    unit: str = "epoch"
    brackets: int | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Budget(BaseModel):
    """No new trial once one of these is spent; None is without limit. `parallel`: jobs in flight."""

    model_config = _FROZEN

    trials: int | None = None
    hours: float | None = None
    steps: int | None = None
    parallel: int | None = None


class EarlierTrial(BaseModel):
    """A trial of an earlier study. `values`: its losses by the new study's objectives, None: it diverged."""

    model_config = _FROZEN

    config: dict[str, Any]
    values: tuple[float, ...] | None = None
    violation: float = 0.0


class Earlier(BaseModel):
    """What a `name` in `warm_start` stood for when the study was submitted: a study's id, and its trials at `step`."""

    model_config = _FROZEN

    name: str
    study: str
    step: int
    trials: tuple[EarlierTrial, ...]


class Study(BaseModel):
    """One study, complete: defaults filled in, library spaces merged, file paths absolute."""

    model_config = _FROZEN

    name: str
    space: Space
    objectives: tuple[Objective, ...]
    search: SearchSpec = SearchSpec()
    budget: Budget = Budget()
    task: Task
    device: str = "cpu"
    needs: dict[str, str] = Field(default_factory=dict)
    priority: float = 1.0
    latency: Literal["measured", "predicted"] = "measured"
    predictor: dict[str, Any] | None = None
    runtime: str = ""
    """What measures its models, where it was known when it was submitted; empty: ONNX Runtime, or what its device is
    registered with by then."""
    seed: int = 0
    warm_start: tuple[str, ...] = ()
    earlier: tuple[Earlier, ...] = ()
    reproduces: ReproducesForm | None = None

    @property
    def low_bit(self) -> bool:
        """Whether what is measured may run by kernels of few bits, and so is told apart by its bits. Not with a
        profile, which knows 8 and 32 bits, nor with `allocate`, whose networks share a figure."""
        plain = self.latency == "measured" and not self.task.options.get("allocate")
        return plain and self.runtime in TORCH

    @classmethod
    def parse(cls, said: Mapping[str, Any], base: str | Path | None = None) -> Study:
        """The study that a mapping describes; StudyError with every problem. Data paths count from folder `base`."""
        return _read(said, Problems(), None if base is None else Path(base))

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """The study in a YAML file; problems name file and line. Data paths count from the file's folder."""
        from spaces.load import read_file  # with a YAML parser, which a daemon that restarts does not need

        document = read_file(path)
        return _read(document.data, Problems(document.lines, document.file), Path(path).resolve().parent, typed=True)

    @classmethod
    def loads(cls, text: str | bytes, base: str | Path | None = None, file: str | None = None) -> Study:
        """The study in YAML text; `file` is the name that problems show."""
        from spaces.load import read_text

        document = read_text(text, file)
        return _read(document.data, Problems(document.lines, file), None if base is None else Path(base), typed=True)

    def dump(self) -> dict[str, Any]:
        """JSON-able, and `Study.parse(study.dump()) == study`: defaults written out, `use:` resolved."""
        objectives = {o.name: o.model_dump(exclude={"name"}, exclude_none=True) for o in self.objectives}
        warm: dict[str, Any] = {"warm_start": list(self.warm_start)} if self.warm_start else {}
        if self.latency != "measured":
            warm["latency"] = self.latency
        if self.predictor is not None:
            warm["predictor"] = dict(self.predictor)
        if self.runtime:
            warm["runtime"] = self.runtime
        if self.needs:
            warm["needs"] = dict(self.needs)
        if self.priority != 1:
            warm["priority"] = self.priority
        if self.earlier:
            warm["earlier"] = [e.model_dump(mode="json") for e in self.earlier]
        if self.reproduces is not None:
            warm["reproduces"] = self.reproduces.model_dump(mode="json")
        return {
            "study": self.name,
            "space": self.space.dump(),
            "constraints": [c.text for c in self.space.constraints],
            "objectives": objectives,
            "search": self.search.model_dump(mode="json"),
            "budget": self.budget.model_dump(mode="json"),
            "task": self.task.dump(),
            "device": self.device,
            "seed": self.seed,
            **warm,
        }

    @field_serializer("space")
    def _dump_space(self, space: Space) -> dict[str, Any]:
        return space.dump()


def _read(said: Any, problems: Problems, base: Path | None, *, typed: bool = False) -> Study:
    if not isinstance(said, Mapping):
        problems.add((), f"a study is a mapping with study, space and objectives, not {type(said).__name__}")
        problems.raise_any()
    try:
        form = StudyForm.model_validate(dict(said))
    except ValidationError as error:
        problems.add_all((), error, StudyForm, said)
        form = None
    merged, constraints = _merge(said, problems)
    space = read_space(merged, constraints, problems)
    task = read_task(said.get("task", "classify"), problems, base, typed=typed)
    _check_search(said.get("search"), problems)
    _check_objectives(said.get("objectives"), task, problems)
    if typed and task is not None and task.built_in is not None:
        check_bounds(said.get("objectives"), task.built_in.metrics, problems)
    if form is not None and not said.get("space") and not said.get("use"):
        problems.add(("space",), "there is nothing to search: give parameters, or use a library space")
    if form is None or space is None or task is None or problems.found:
        problems.raise_any()
        raise StudyError([])
    study = Study(
        name=form.study,
        space=space,
        objectives=tuple(Objective(name=n, **o.model_dump()) for n, o in form.objectives.items()),
        search=SearchSpec(**form.search.model_dump()),
        budget=Budget(**form.budget.model_dump()),
        task=task,
        device=form.device,
        needs={key: text(value) for key, value in form.needs.items()},
        priority=float(form.priority),
        latency=form.latency,
        predictor=form.predictor,
        runtime=form.runtime or "",
        seed=form.seed,
        warm_start=tuple(form.warm_start),
        earlier=tuple(Earlier.model_validate(e.model_dump()) for e in form.earlier),
        reproduces=form.reproduces,
    )
    if study.reproduces is not None:
        check_reproduces(study.reproduces, study.space, study.task, problems)
    if (known := task.built_in) is not None and known.check is not None:
        known.check(study.space, task.options, problems, typed)
    _check_instances(study, problems)
    check_latency(study.latency, task, study.objectives, problems)
    check_runtime(study.runtime, task, problems)
    check_needs(study.needs, problems)
    problems.raise_any()
    return study


def _merge(said: Mapping[str, Any], problems: Problems) -> tuple[Any, list[Any]]:
    """The space with its library parts below (the study's own names win), and the constraints of both."""
    own = said.get("space")
    used = said.get("use")
    constraints = said.get("constraints")
    own_constraints = list(constraints) if isinstance(constraints, list) else []
    if not isinstance(used, list) or not (own is None or isinstance(own, Mapping)):
        return own, own_constraints
    merged: dict[str, Any] = dict(own or {})
    more: list[Any] = []
    came_from: dict[str, str] = {}
    for i, name in enumerate(used):
        if not isinstance(name, str):
            continue
        part = sub_space(name)
        if isinstance(part, str):
            problems.add(("use", i), part)
            continue
        for key, spec in part.space.items():
            if key in came_from:
                problems.add(("use", i), f"{name} and {came_from[key]} both bring {key!r}: use one of them")
            elif key not in merged:
                came_from[key] = name
                merged[key] = spec
        more.extend(part.constraints)
    return merged, own_constraints + more


def _check_search(search: Any, problems: Problems) -> None:
    """Names that exist, and a ladder that stands; on what was written, so that it is told beside other problems."""
    if not isinstance(search, Mapping):
        return
    for key, known in (("scheduler", SCHEDULERS), ("searcher", SEARCHERS)):
        value = search.get(key, known[0])
        if isinstance(value, str) and value not in known:
            problems.add(("search", key), f"there is no {key} {value!r}: {did_you_mean(value, known)}")
    defaults = SearchSpec()
    r, R = search.get("r", defaults.r), search.get("R", defaults.R)
    if isinstance(r, int) and isinstance(R, int) and r > R:
        where: KeyPath = ("search", "r" if "r" in search else "R")
        problems.add(where, f"a ladder needs 1 <= r <= R, but r = {r} and R = {R}: lower r or raise R")


def _check_objectives(objectives: Any, task: Task | None, problems: Problems) -> None:
    for name, said in (objectives if isinstance(objectives, Mapping) else {}).items():
        bounds = said if isinstance(said, Mapping) else {}
        low, high = bounds.get("at_least"), bounds.get("at_most")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            problems.add(("objectives", name), f"at_least = {low} is above at_most = {high}: nothing fits; swap them")
        if bounds.get("formula") is not None:
            _check_formula(str(name), bounds["formula"], objectives, task, problems)
            continue
        known = None if task is None else task.built_in
        if known is None or name in known.metrics:
            continue
        if str(name).startswith("test"):
            why = f"{name!r} would search on the test data: use 'val_error'; the test error is shown at the end"
        else:
            why = f"the {known.name} task has no metric {name!r}: {did_you_mean(str(name), known.metrics)}"
        problems.add(("objectives", name), why)


def check_pair(study: Study) -> None:
    """StudyError where scheduler, searcher and task do not go together: a study that was not read but changed."""
    problems = Problems()
    _check_instances(study, problems)
    problems.raise_any()


def _check_formula(name: str, text: Any, objectives: Any, task: Task | None, problems: Problems) -> None:
    """An expression over metrics that there are, none of them computed itself."""
    at: KeyPath = ("objectives", name, "formula")
    if not isinstance(text, str):
        return  # the form says so
    try:
        reads = formula(text).reads
    except SpaceError as error:
        problems.add(at, str(error))
        return
    known = None if task is None else task.built_in
    if name == TRAIN_S or (known is not None and name in known.metrics):
        problems.add(at, f"{name!r} is measured already: give what the formula computes another name")
    for read in sorted(reads):
        said = objectives.get(read)
        if read == name or (isinstance(said, Mapping) and said.get("formula") is not None):
            problems.add(at, f"{read!r} is computed itself: write its formula out")
        elif known is not None and read not in known.metrics:
            problems.add(at, f"the {known.name} task has no metric {read!r}: {did_you_mean(read, known.metrics)}")


def _check_instances(study: Study, problems: Problems) -> None:
    """Races need instances, and instances are raced."""
    races = study.search.scheduler == "acband"
    if races and not study.task.instances:
        problems.add(("search", "scheduler"), "acband races configs on instances: give task: {command, instances}")
    elif study.task.instances and not races:
        said = f"{study.search.scheduler} trains in steps, but this task runs on instances: use scheduler: acband"
        problems.add(("task", "instances"), said)
    names = [o.name for o in study.objectives]
    check_single(study.search.options, names, problems)
    check_raising(study.search.scheduler, study.search.R, study.search.eta, study.search.options, names, problems)
    check_population(study.space, study.search, problems)
    _check_morph(study, problems)
    check_balanced(study.space, study.search, problems)
    if races and study.budget.steps is not None:
        problems.add(("budget", "steps"), "acband spends R instances: set search.R instead of budget.steps")


def _check_morph(study: Study, problems: Problems) -> None:
    """Trained weights follow what can grow: parameters of the space with larger values, which the task can morph."""
    options, names = study.search.options, study.space.names
    if not options.get("morph"):
        return
    if study.task.kind == "command":
        said = "a command cannot morph weights: use task: classify or a function that reads trial.parent"
        problems.add(("search", "options", "morph"), said)
    known = study.task.built_in
    if known is not None and not known.grows:
        problems.add(("search", "options", "morph"), f"the {known.name} task cannot morph weights: leave morph out")
        return
    grow = options.get("grow", list(GROWS))
    wanted = grow if isinstance(grow, list) else []
    for name in wanted if "grow" in options else ():
        at: KeyPath = ("search", "options", "grow")
        if name not in names:
            problems.add(at, f"{name!r} is no parameter of this space: {did_you_mean(str(name), names)}")
        elif not _can_grow(study.space[name].domain):
            problems.add(at, f"{name!r} has no larger and smaller values: name an int, or a choice that is ordered")
        elif known is not None and name not in known.grows:
            problems.add(at, f"the {known.name} task can grow {' and '.join(known.grows)}, not {name!r}: leave it out")
    if not any(name in names and _can_grow(study.space[name].domain) for name in wanted):
        said = f"nothing can grow, for the space has no {' or '.join(map(str, wanted))}: name int parameters in grow"
        problems.add(("search", "options", "morph"), said)


def _can_grow(domain: Domain) -> bool:
    return domain.count() > 1 and (isinstance(domain, Int) or (isinstance(domain, Choice) and domain.ordered))
