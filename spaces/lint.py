"""What is allowed but odd in a study: findings that `searchd plan` shows before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from numpy.random import Generator, Philox

from spaces.builtin import BuiltIn
from spaces.domains import Choice, Float, Int, Subset
from spaces.lint_comparison import comparison, horizons, missing_parts
from spaces.scalarizers import better
from spaces.space import Space
from spaces.study import Study
from spaces.suggest import did_you_mean
from spaces.tree import Node, schedules

DRAWS = 256
LATENCY = ("latency_ms", "latency_p95_ms")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd at a dotted path, with what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def lint_study(study: Study) -> tuple[Finding, ...]:
    """Findings about the space, the budget, and what the task makes of both."""
    task = _user(study) if (known := study.task.built_in) is None else _built_in(study, known)
    scheduled = (*_schedules(study.space.nodes, "space", study.search.R), *_constants(study))
    compared = (Finding(path, said) for path, said in comparison(study))
    return (*lint_space(study.space), *scheduled, *_budget(study), *compared, *_goals(study), *task)


def lint_space(space: Space) -> tuple[Finding, ...]:
    """Findings about a space alone; draws DRAWS configs with a fixed seed."""
    return (*_domains(space.nodes, "space"), *_sampled(space))


def _domains(nodes: tuple[Node, ...], path: str) -> Iterator[Finding]:
    for node in nodes:
        at = f"{path}.{node.name}"
        match node.domain:
            case Choice(options=options, ordered=ordered):
                if len(options) == 1 and node.options is None:
                    yield Finding(at, f"a choice with the one option {options[0]!r}: say {{const: {options[0]!r}}}")
                numbers = all(isinstance(o, int | float) and not isinstance(o, bool) for o in options)
                if numbers and not ordered and len(options) > 2:
                    yield Finding(at, "numbers without 'ordered: true': a model cannot use their order")
            case Float(low=low, high=high) | Int(low=low, high=high) if low == high:
                yield Finding(at, f"the range holds only {low:g}: say {{const: {low:g}}}")
            case Float(low=low, high=high, log=True) | Int(low=low, high=high, log=True) if high < 2 * low:
                yield Finding(at, f"a log scale over [{low:g}, {high:g}], less than a factor of 2: leave log out")
            case Float(low=low, high=high, log=False, step=None) if low > 0 and high >= 1000 * low:
                yield Finding(at, f"[{low:g}, {high:g}] spans {high / low:.0f} times without log: add 'log: true'")
            case Subset(items=items, min=least, max=most) if least == most:
                all_of = least == len(items)
                yield Finding(at, "the subset is always the same: use const" if all_of or not least else _fixed(least))
            case _:
                pass
        if node.repeat in (0, 1):
            made = "no element" if node.repeat == 0 else "one element"
            yield Finding(at, f"repeat: {node.repeat} makes {made}: leave it out")
        if node.options is not None and not any(node.options.values()):
            yield Finding(at, "no option has parameters: a list of options is simpler to read in the task")
        for label, nested in (node.options or {}).items():
            yield from _domains(nested, f"{at}.{label}")


def _schedules(nodes: tuple[Node, ...], path: str, most: int) -> Iterator[Finding]:
    for node in nodes:
        at = f"{path}.{node.name}"
        if node.knots is not None and node.knots[-1] > most:
            said = f"the last knot, {node.knots[-1]}, lies beyond R = {most}: no trial gets there; move it"
            yield Finding(f"{at}.schedule", said)
        for label, nested in (node.options or {}).items():
            yield from _schedules(nested, f"{at}.{label}", most)


def _constants(study: Study) -> Iterator[Finding]:
    if "constants" in study.search.options and not schedules(study.space.nodes):
        yield Finding("search.options.constants", "no parameter has a schedule to make constant: leave it out")


def _fixed(size: int) -> str:
    return f"min = max = {size}: the size of the subset is not searched"


def _sampled(space: Space) -> Iterator[Finding]:
    rng = Generator(Philox(key=0))
    rate = space.acceptance(rng, DRAWS)
    if rate < 0.05:
        yield Finding("constraints", f"only {rate:.1%} of draws are feasible: narrow the ranges to where they hold")
    draws = [space.sample(rng) for _ in range(DRAWS)]
    seen: set[str] = {name for config in draws for name in config}
    lists: set[str] = set()
    for slot in space.slots:
        if slot.name in seen or (slot.parent is not None and slot.parent not in seen):
            continue
        if slot.index is not None:
            owner = slot.name.rpartition(".")[0]
            if owner in lists:
                continue
            lists.add(owner)
        yield Finding(f"space.{slot.name}", f"nothing activated it in {DRAWS} draws: it needs {slot.condition()}")
    if not space.constraints or rate < 1:
        yield from _never_bite(space)
    elif rate == 1:
        yield Finding("constraints", f"they held in all of {DRAWS} draws: they may say nothing")
    if space.size() == 1:
        yield Finding("space", "there is only one config: nothing is searched")


def _never_bite(space: Space) -> Iterator[Finding]:
    for i, constraint in enumerate(space.constraints):
        if Space(space.nodes, (constraint,)).acceptance(Generator(Philox(key=1)), DRAWS) == 1:
            yield Finding(f"constraints[{i}]", f"{constraint.text!r} held in all of {DRAWS} draws: it may say nothing")


def _budget(study: Study) -> Iterator[Finding]:
    budget = study.budget
    endless = budget.trials is None and budget.hours is None and budget.steps is None
    if endless and study.search.scheduler not in ("hyperband", "acband", "pbt"):
        yield Finding("budget", "nothing ends this study: give trials, hours or steps")
    size = study.space.size()
    if size < inf and budget.trials is not None and size < budget.trials:
        yield Finding("budget.trials", f"{budget.trials} trials for {size:.0f} configs: some run twice; lower it")


def _goals(study: Study) -> Iterator[Finding]:
    for objective in study.objectives:
        found = None if objective.formula is None else better(objective.formula)
        if found is not None and found[1] != objective.goal:
            more = "more" if found[1] == "maximize" else "less"
            yield Finding(f"objectives.{objective.name}", f"{more} of {found[0]} is better: say goal: {found[1]}")


def _user(study: Study) -> Iterator[Finding]:
    for objective in study.objectives:
        if objective.name in LATENCY:
            said = "is measured for built-in tasks only: this task has to report it itself"
            yield Finding(f"objectives.{objective.name}", said)


def _built_in(study: Study, task: BuiltIn) -> Iterator[Finding]:
    if "horizon" in task.reads:
        yield from (Finding(path, said) for path, said in horizons(study))
    if "optimizer" in task.reads:
        yield from (Finding(path, said) for path, said in missing_parts(study))
    for node in study.space.nodes:
        if node.name not in task.reads:
            near = did_you_mean(node.name, task.reads)
            yield Finding(f"space.{node.name}", f"the {task.name} task does not read it: {near}")
    reads = frozenset(name for objective in study.objectives for name in objective.reads)
    for at, message in () if task.lint is None else task.lint(study.space, reads):
        yield Finding(at, message)
