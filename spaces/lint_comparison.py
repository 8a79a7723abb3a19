"""What makes a comparison unfair, or a schedule end at the wrong place: findings of `searchd plan`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from spaces.balance import choices
from spaces.domains import Choice, Const, Int
from spaces.optimizers import FAMILIES
from spaces.tree import Node

if TYPE_CHECKING:
    from spaces.study import Study

EQUAL = ("fifo",)
"""Schedulers under which every trial trains as long as any other."""


def comparison(study: Study) -> Iterator[tuple[str, str]]:
    """(path, message) of what is odd about `balanced`."""
    name = study.search.options.get("balanced")
    options = choices(study.space).get(str(name))
    if name is None or options is None:
        return
    if study.search.scheduler not in EQUAL:
        said = f"{study.search.scheduler} trains trials unequally long, so {name} is compared by unequal steps"
        yield "search.options.balanced", f"{said}: use fifo"
    trials = study.budget.trials
    if trials is not None and trials % len(options):
        upper = -(-trials // len(options)) * len(options)
        said = f"{trials} trials for {len(options)} options of {name}: say {upper}, so that each has equally many"
        yield "budget.trials", said


def horizons(study: Study) -> Iterator[tuple[str, str]]:
    """(path, message) of a schedule of the built-in task that does not end where the search does."""
    named = {node.name: node for node in study.space.nodes}
    node, R = named.get("schedule"), study.search.R
    if node is None:
        for name in ("horizon", "warmup"):
            if name in named:
                yield f"space.{name}", "nothing reads it without a schedule: say schedule: cosine, or leave it out"
        return
    for horizon in [n for n in (named.get("horizon"), *_below(node)) if n is not None and n.name == "horizon"]:
        match horizon.domain:
            case Const(value=int(end)):
                low = high = end
            case Int(low=low, high=high):
                pass
            case _:
                continue
        if low < R and _kinds(node) - {"cyclic"}:
            yield "space.horizon", f"the learning rate is 0 from step {low} on, but R = {R}: raise it, or lower R"
        if high > R:
            yield "space.horizon", f"no trial comes to the end of {high} steps, for R = {R}: lower it"


def missing_parts(study: Study) -> Iterator[tuple[str, str]]:
    """(path, message) of optimizers whose library is not installed here; the workers may have it."""
    node = next((n for n in study.space.nodes if n.name == "optimizer"), None)
    if node is None:
        return
    listed = node.domain.options if isinstance(node.domain, Choice) else ()
    for option in listed:
        family = FAMILIES.get(str(option))
        if family is not None and family.part and find_spec(family.part) is None:
            said = f"{option} needs {family.part}, which is not installed here: the workers need searchd[worker]"
            yield f"space.optimizer.{option}", said


def _below(node: Node) -> list[Node]:
    return [n for nested in (node.options or {}).values() for n in nested]


def _kinds(node: Node) -> set[str]:
    listed = node.domain.options if isinstance(node.domain, Choice) else (getattr(node.domain, "value", None),)
    return {str(kind) for kind in listed} - {"constant"}
