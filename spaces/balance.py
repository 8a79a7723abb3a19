"""A choice whose options get equally many trials (`search.options.balanced`): which can be one, and a space cut to one.

Options that are to be compared fairly, such as optimizers, each need as many trials with ranges of their own (Wen and
others, 2025): a searcher that is free goes to the option that looks good early.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from numpy.random import Generator, Philox

from spaces.checks import Scalar
from spaces.domains import Choice
from spaces.errors import SpaceError
from spaces.problems import Path, Problems
from spaces.space import Space
from spaces.suggest import did_you_mean
from spaces.tree import Node


class Search(Protocol):
    """The parts of a study's search that matter here."""

    @property
    def scheduler(self) -> str: ...

    @property
    def options(self) -> dict[str, Any]: ...


def choices(space: Space) -> dict[str, tuple[Scalar, ...]]:
    """The parameters that can be balanced, with their options: choices on the first level, not repeated."""
    return {n.name: n.domain.options for n in space.nodes if isinstance(n.domain, Choice) and n.repeat is None}


def narrowed(space: Space, name: str, option: Scalar) -> Space:
    """The space in which choice `name` has this one option; every config of it is one of `space`."""

    def cut(node: Node) -> Node:
        if node.name != name or not isinstance(node.domain, Choice):
            return node
        options = None if node.options is None else {str(option): node.options[str(option)]}
        return replace(node, domain=Choice((option,), node.domain.ordered), options=options)

    return Space(tuple(cut(node) for node in space.nodes), space.constraints)


def check_balanced(space: Space, search: Search, problems: Problems) -> None:
    """A choice of two options or more, each of which has configs; and no scheduler that hands weights on."""
    if "balanced" not in search.options:
        return
    name, known = search.options["balanced"], choices(space)
    at: Path = ("search", "options", "balanced")
    if not isinstance(name, str):
        return  # told with the other options
    if name not in known:
        what = "is a parameter, but no choice on the first level" if name in space.names else "is no parameter"
        near = did_you_mean(name, known) if known else "this space has no choice"
        problems.add(at, f"{name!r} {what}: {near}")
    elif len(known[name]) < 2:
        problems.add(at, f"{name} has the one option {known[name][0]!r}: nothing is to be compared; leave balanced out")
    elif search.scheduler in ("pbt", "acband"):
        said = "hands weights on to other configs" if search.scheduler == "pbt" else "races configs on instances"
        problems.add(at, f"{search.scheduler} {said}, so no option has trials of its own: use fifo, or asha")
    else:
        for option in known[name]:
            try:
                narrowed(space, name, option).sample(Generator(Philox(key=0)))
            except SpaceError as error:
                problems.add(at, f"{name} = {option!r} has no config: {error}")
