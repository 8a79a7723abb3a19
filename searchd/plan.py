"""What a study will cost, before anything is spent: brackets, trials a rung, steps, sub-spaces, doubtful spots.

Exact for synchronous Hyperband and fifo. Where the course of a search depends on losses the numbers are expected ones:
medians and the range of rehearsals in made-up worlds (`searchd.rehearsal`); the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from numpy.random import Generator, Philox

from searchd.errors import Missing
from searchd.rehearsal import Rehearsal, rehearse
from searchd.schedulers.acband import AcBand
from searchd.schedulers.events import Finished, Losses, Reported, Resume, Start
from searchd.schedulers.pbt import Pbt
from searchd.schedulers.rungs import BracketPlan, Round, Rounding, bracket_table, bracket_weights, ladder
from searchd.search.algorithms import check_options, make_searcher, scheduler_of
from searchd.search.points import broken_bound
from searchd.words import count
from spaces.describe import describe
from spaces.errors import SpaceError
from spaces.lint import lint_study
from spaces.raising import TOLERANCE
from spaces.study import SearchSpec, Study

DRAWS = 512
"""Configs drawn for the acceptance rates."""


def plan(study: Study) -> dict[str, Any]:
    """The plan as JSON: `trials`, `steps` (promoted trials go on), `steps_range` [fewest, most], `steps_restart` (they
    start over), `brackets` [{"rungs": [{"trials", "step"}]}], `exact`, `scheduler`, `searcher`, `size` (None: endless),
    `acceptance` (share of draws that the constraints allow), `subspaces`, `lint`, `notes`. Counts are None where the
    budget sets no end. SearchdError for a search that cannot be built."""
    spec = study.search
    notes: list[str] = []
    check_options(spec)
    scheduler_of(study)
    try:
        make_searcher(spec, study.seed)
    except Missing as missing:  # planned here, run elsewhere
        notes.append(f"not to be run by this installation: {missing}")
    cost = _cost(study, notes)
    trials = cost.trials
    if trials is None:
        ends = " or ".join(_ends(study)) or "until it is stopped"
        said = f"no budget.trials: the search goes on {ends}; the rungs are those of {eta_top(study)} trials"
        notes.insert(0, said)
    _budget_notes(study, cost, notes)
    _raising_note(study, notes)
    acceptance = study.space.acceptance(Generator(Philox(key=0)), DRAWS)
    notes.extend(bound_notes(study))
    return {
        "trials": trials,
        "steps": None if trials is None else cost.steps,
        "steps_range": None if trials is None else [cost.fewest, cost.most],
        "steps_restart": None if trials is None else cost.restart,
        "brackets": [{"rungs": [{"trials": n, "step": step} for n, step in b.rungs]} for b in cost.brackets],
        "exact": spec.scheduler in ("hyperband", "fifo", "acband"),
        "scheduler": spec.scheduler,
        "searcher": spec.searcher,
        "unit": spec.unit,
        "size": study.space.size() if isfinite(study.space.size()) else None,
        "acceptance": acceptance,
        "subspaces": _subspaces(study),
        "lint": [str(finding) for finding in lint_study(study)],
        "notes": notes,
    }


def eta_top(study: Study) -> int:
    """So many trials that one of the first bracket reaches R: what the rungs of an endless search are shown for."""
    spec = study.search
    return 1 if spec.scheduler == "fifo" else int(spec.eta ** (len(ladder(spec.r, spec.R, spec.eta)) - 1))


@dataclass(frozen=True, slots=True)
class _Cost:
    """`trials`: None where nothing limits them. `fewest` and `most` steps are `steps` where losses change nothing."""

    trials: int | None
    brackets: list[BracketPlan]
    steps: int
    restart: int
    fewest: int
    most: int


def _cost(study: Study, notes: list[str]) -> _Cost:
    spec, limit = study.search, study.budget.trials
    if _depends_on_losses(spec):
        top = eta_top(study) if limit is None else limit
        seen = rehearse(study, top)
        _say_how(study, seen, notes)
        fewest = seen.low
        if spec.scheduler in ("asha", "async-hyperband"):  # where short training tells all, nobody is overtaken
            fewest = min(fewest, sum(b.resume_cost for b in _quotas(study, top)))
        begun = dict(enumerate(_dealt(spec, top)))
        brackets = [
            BracketPlan(len(rungs) - 1, ((begun[at], rungs[0][1]), *rungs[1:])) for at, rungs in seen.rungs.items()
        ]
        return _Cost(limit, brackets, seen.steps, seen.restart, fewest, seen.high)
    brackets = _brackets(study, notes)
    bounded = limit is not None or spec.scheduler in ("hyperband", "acband", "pbt")
    races = spec.scheduler == "acband"
    steps = _runs(study) if races else sum(b.resume_cost for b in brackets)
    restart = steps if races else sum(b.restart_cost for b in brackets)
    if spec.options.get("promotion") == "delayed":
        notes.append("expected numbers: trials that fail or diverge leave room for others")
    return _Cost(sum(b.trials for b in brackets) if bounded else None, brackets, steps, restart, steps, steps)


def _depends_on_losses(spec: SearchSpec) -> bool:
    if spec.scheduler in ("asha", "async-hyperband"):
        return spec.options.get("promotion") != "delayed"
    return spec.scheduler in ("auto", "pasha", "stopping")


def _say_how(study: Study, seen: Rehearsal, notes: list[str]) -> None:
    spec, limit = study.search, study.budget.trials
    who = "" if seen.searcher == spec.searcher else f", {seen.searcher} in place of {spec.searcher}"
    notes.append(f"expected numbers: medians of {seen.runs} rehearsals in made-up worlds{who}; your losses decide")
    if spec.scheduler == "stopping":
        notes.append("a stop reaches a trial at its next report: steps that are done by then come on top")
    if limit is not None and spec.scheduler in ("auto", "stopping"):
        notes.append(f"the most it could take: {limit * spec.R} {spec.unit}s, if everyone trained to R = {spec.R}")


def _brackets(study: Study, notes: list[str]) -> list[BracketPlan]:
    spec = study.search
    trials = eta_top(study) if study.budget.trials is None else study.budget.trials
    match spec.scheduler:
        case "fifo":
            return [BracketPlan(0, ((trials, spec.R),))]
        case "hyperband":
            return _iterations(study, notes)
        case "pbt":
            return [_population(study, notes)]
        case "acband":
            return _epochs(study, notes)
        case _:
            return _quotas(study, trials)


def _quotas(study: Study, trials: int) -> list[BracketPlan]:
    """Brackets of ASHA in which each rung passes on floor(n / eta), the trials dealt out as the scheduler does."""
    spec = study.search
    steps = ladder(spec.r, spec.R, spec.eta)
    return [_expected(n, steps[s:], spec.eta) for s, n in enumerate(_dealt(spec, trials)) if n]


def _dealt(spec: SearchSpec, trials: int) -> list[int]:
    """How many trials begin in each bracket."""
    if spec.scheduler != "async-hyperband":
        return [trials]
    weights = bracket_weights(ladder(spec.r, spec.R, spec.eta), spec.brackets)
    turns = Round(weights)
    counts = [0] * len(weights)
    for _ in range(trials):
        counts[turns.take()] += 1
    return counts


def _population(study: Study, notes: list[str]) -> BracketPlan:
    """The members train to R side by side; how many copies there will be is up to what they report."""
    spec = study.search
    options = {name: spec.options[name] for name in ("population", "quantile") if name in spec.options}
    scheduler = Pbt(spec.r, spec.R, spec.eta, **options)
    notes.append(f"{scheduler.population} members; each that gives up its place to a copy counts one trial more")
    return BracketPlan(0, tuple((scheduler.population, step) for step in scheduler.ladders()[0]))


def _epochs(study: Study, notes: list[str]) -> list[BracketPlan]:
    """An epoch of AC-Band as a bracket of one rung: its fresh configs, and its instances."""
    scheduler = _acband(study)
    for epoch in scheduler.table:
        name = "the winners" if epoch.final else f"epoch {epoch.number}"
        notes.append(f"{name}: {epoch.trials} configs race on {count(epoch.instances, 'instance')} "
                     f"in {count(epoch.rounds, 'round')}")  # fmt: skip
    known = len(study.task.instances)
    if known < study.search.R:
        notes.append(f"R = {study.search.R} instances to spend, and the task has {known}: each comes up again, "
                     "with another seed")  # fmt: skip
    return [BracketPlan(0, ((epoch.fresh, epoch.instances),)) for epoch in scheduler.table]


def _acband(study: Study) -> AcBand:
    scheduler = scheduler_of(study)
    if not isinstance(scheduler, AcBand):
        raise TypeError(f"this is a bug: acband is planned, but {study.search.scheduler} was made")
    return scheduler


def _runs(study: Study) -> int:
    """How many runs on an instance AC-Band asks for when nothing fails: counted, with the lower trial always faster."""
    scheduler = _acband(study)
    runs = 0
    while isinstance(answer := scheduler.ask(), Start | Resume):
        runs += 1
        scheduler.tell(Reported(answer.trial, answer.until, (Losses((float(answer.trial),)),)))
        scheduler.tell(Finished(answer.trial, answer.until))
    return runs


def _expected(trials: int, steps: tuple[int, ...], eta: int) -> BracketPlan:
    """Each rung passes on floor(n / eta); rungs that nobody reaches are left out."""
    rungs = [(trials // eta**i, step) for i, step in enumerate(steps)]
    return BracketPlan(len(steps) - 1, tuple(r for r in rungs if r[0]) or ((trials, steps[0]),))


def _iterations(study: Study, notes: list[str]) -> list[BracketPlan]:
    spec, limit = study.search, study.budget.trials
    rounding: Rounding = "bohb" if spec.options.get("rounding") == "bohb" else "paper"
    table = bracket_table(spec.r, spec.R, spec.eta, rounding)[: spec.brackets]
    whole = sum(b.trials for b in table)
    if limit is None:
        return list(table)
    found: list[BracketPlan] = []
    left = limit
    while left > 0:
        bracket = table[len(found) % len(table)]
        n = min(left, bracket.trials)
        rungs = tuple((max(1, n // spec.eta**i), step) for i, (_, step) in enumerate(bracket.rungs))
        found.append(bracket if n == bracket.trials else BracketPlan(bracket.s, rungs))
        left -= n
    if limit % whole:
        notes.append(f"one iteration of the table has {whole} trials; budget.trials = {limit} cuts the last one short")
    return found


def _ends(study: Study) -> list[str]:
    budget = study.budget
    found = [f"for {budget.hours:g} hours"] if budget.hours is not None else []
    return found + ([f"for {budget.steps} {study.search.unit}s"] if budget.steps is not None else [])


def _budget_notes(study: Study, cost: _Cost, notes: list[str]) -> None:
    spec, budget, steps = study.search, study.budget, cost.steps
    top = max((b.steps[-1] for b in cost.brackets), default=0)
    if budget.trials is not None and top < spec.R:
        notes.append(f"no trial reaches R = {spec.R}, the deepest rung is {top}: more trials, or a smaller R or eta")
    if budget.trials is not None and budget.steps is not None and budget.steps < steps:
        notes.append(f"the trials would take {steps} {spec.unit}s, and the budget ends after {budget.steps}")
    if budget.trials is not None and budget.hours is not None:
        notes.append(f"whichever comes first: these trials, or {budget.hours:g} hours")


def _raising_note(study: Study, notes: list[str]) -> None:
    """What it takes if R is raised as far as the study allows: the price of a search that began there."""
    spec = study.search
    most = spec.options.get("max_resource")
    if most is None:
        return
    if most <= spec.R:
        notes.append(f"max_resource = {most} is not above R = {spec.R}: R is never raised")
        return
    share = f"{100 * spec.options.get('deepen_tol', TOLERANCE):.3g} %"
    deep = study.model_copy(update={"search": spec.model_copy(update={"R": most})})
    cost = _cost(deep, [])
    price = "" if cost.trials is None else f": then about {cost.steps} {spec.unit}s of {cost.trials} trials in all"
    notes.append(f"R is raised by eta, up to {most}, while the best trial improved by more than {share} since R / eta "
                 f"when the search is complete{price}")  # fmt: skip


def bound_notes(study: Study) -> list[str]:
    """Bounds on exact metrics are kept before a trial starts: says when few configs keep them."""
    if (task := study.task.built_in) is None:
        return []
    bounded = [o for o in study.objectives if o.at_most is not None or o.at_least is not None]
    if not any(o.name in task.exact for o in bounded):
        return []
    rng = Generator(Philox(key=1))
    kept = 0
    why = ""
    for _ in range(DRAWS):
        config = study.space.sample(rng)
        try:
            found = describe(study.task, study.space, config)
            broken = None if found is None else broken_bound(study.objectives, found.bounded)
        except SpaceError as error:
            broken = str(error)
        kept += broken is None
        why = broken or why
    if kept == 0:
        return [f"none of {DRAWS} configs drawn keeps the bounds ({why}), and none of those is started: loosen them"]
    if kept < DRAWS // 4:
        return [f"only {kept / DRAWS:.1%} of configs keep the bounds ({why}); the others are never started"]
    return []


def _subspaces(study: Study) -> list[str]:
    """The combinations of conditional options in words; none when nothing is conditional."""
    found = study.space.subspaces()
    if len(found) == 1 and not found[0].options:
        return []
    return [f"{', '.join(f'{k} = {v}' for k, v in s.options.items())}: {len(s.names)} parameters" for s in found]
