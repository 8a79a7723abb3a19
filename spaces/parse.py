"""The `space:` of a study file to a `Space` and back, with every problem at once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.random import Generator, Philox
from pydantic import ValidationError

from spaces import tree
from spaces.config import Config
from spaces.constraints import FUNCTIONS, Constraint
from spaces.domains import Choice, Const, Domain, Float, Int, Normal, Subset
from spaces.errors import SpaceError
from spaces.forms import KINDS, ChoiceForm, ConstForm, FloatForm, IntForm, NormalForm, SubsetForm
from spaces.problems import Path, Problems
from spaces.schedules import check_knots
from spaces.space import Space
from spaces.suggest import did_you_mean
from spaces.tree import Node

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
LABEL = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")
MOST_CONSTRAINTS = 64
UNREACHABLE = 3
"""So many unreachable constraints are looked for: each costs thousands of draws."""
DEEPEST = 16
"""Conditional choices inside each other."""


def parse_space(mapping: Any, constraints: Any = ()) -> Space:
    """The space, or StudyError with every problem; paths start at `space` and `constraints`."""
    problems = Problems()
    space = read_space(mapping, constraints, problems)
    problems.raise_any()
    if space is None:
        raise SpaceError("the space could not be read, and no problem was named: this is a bug in spaces.parse")
    return space


def read_space(mapping: Any, constraints: Sequence[Any], problems: Problems) -> Space | None:
    """The space, or None when a problem was added. Constraints that nothing satisfies are a problem too."""
    before = len(problems.found)
    nodes = _nodes(mapping, ("space",), problems, 0)
    if nodes is None or len(problems.found) > before:
        return None
    try:
        space = Space(nodes)
    except SpaceError as error:
        problems.add(("space",), str(error))
        return None
    parsed: list[Constraint] = []
    lists = list(space.lists)
    if len(constraints) > MOST_CONSTRAINTS:
        problems.add(("constraints",), f"{len(constraints)} constraints, more than {MOST_CONSTRAINTS}: join by 'and'")
    for i, text in enumerate(constraints[:MOST_CONSTRAINTS]):
        try:
            parsed.append(Constraint.parse(text, space.names, lists))
        except SpaceError as error:
            problems.add(("constraints", i), str(error))
    if len(problems.found) > before:
        return None
    space = Space(nodes, tuple(parsed))
    _reachable(space, problems)
    return None if len(problems.found) > before else space


def _reachable(space: Space, problems: Problems) -> None:
    """Adds a problem for a constraint that cannot be computed, or that no config of some thousands satisfies."""
    bad = 0
    for i, constraint in enumerate(space.constraints):
        if bad == UNREACHABLE:
            return
        try:
            Space(space.nodes, (constraint,)).sample(_rng())
        except SpaceError as error:
            bad += 1
            said = str(error) if "cannot be computed" in str(error) else None
            none = f"no config was found that satisfies {constraint.text!r} ({_span(space, constraint)})"
            problems.add(("constraints", i), said or f"{none}: widen a range, or relax it")
    if bad or not space.constraints:
        return
    try:
        space.sample(_rng())
    except SpaceError:
        texts = ", ".join(repr(c.text) for c in space.constraints)
        problems.add(("constraints",), f"each can hold, but no config was found for all of {texts}: relax one")


def _rng() -> Generator:
    return Generator(Philox(key=0))


def _span(space: Space, constraint: Constraint) -> str:
    said = [f"{n} in {_said(space[n].domain)}" for n in sorted(constraint.reads) if n in space.names]
    return ", ".join(said) or f"over {', '.join(sorted(constraint.reads))}"


def _said(domain: Domain) -> str:
    match domain:
        case Float(low=low, high=high) | Int(low=low, high=high):
            return f"[{low:g}, {high:g}]"
        case Choice(options=values) | Subset(items=values):
            return str(list(values))
        case Const(value=value):
            return repr(value)


def _nodes(mapping: Any, path: Path, problems: Problems, depth: int) -> tuple[Node, ...] | None:
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, Mapping):
        problems.add(path, f"{mapping!r} is not a mapping: write parameters as 'name: {{float: [0, 1]}}'")
        return None
    if depth > DEEPEST:
        problems.add(path, f"choices are nested more than {DEEPEST} deep: flatten them")
        return None
    out: list[Node] = []
    for name, spec in mapping.items():
        at = (*path, name)
        if wrong := _bad_name(name, depth):
            problems.add(at, wrong)
            continue
        node = _node(str(name), spec, at, problems, depth)
        if node is not None:
            out.append(node)
    if depth == 0:
        failed = frozenset(map(str, mapping)) - {n.name for n in out}
        _check_repeats(tuple(out), path, {}, failed, problems)
    return tuple(out)


def _check_repeats(
    nodes: tuple[Node, ...],
    path: Path,
    outer: Mapping[str, tuple[str, Domain]],
    failed: frozenset[str],
    problems: Problems,
) -> None:
    """Each repeat must count by something in this scope or an outer one; `failed` names have problems of their own."""
    scope = {k: v for k, v in outer.items() if k not in {n.name for n in nodes}}
    scope |= {n.name: (n.name, n.domain) for n in nodes if n.repeat is None and n.options is None}
    for node in nodes:
        if node.repeat is not None and node.repeat not in failed:
            try:
                tree.most_repeats(node, scope)
            except SpaceError as error:
                problems.add((*path, node.name, "repeat"), str(error))
        for label, nested in (node.options or {}).items():
            _check_repeats(nested, (*path, node.name, "choice", label), scope, failed, problems)


def _bad_name(name: Any, depth: int) -> str | None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"{name!r} is not a name: letters, digits and _, starting with a letter, at most 64"
    if keyword.iskeyword(name) or name in FUNCTIONS:
        return f"{name!r} is a word of the constraint language: choose another name, say {name}_"
    if name == "name" and depth > 0:
        return "'name' inside a choice is where the chosen option itself goes: choose another name"
    return None


def _node(name: str, spec: Any, path: Path, problems: Problems, depth: int) -> Node | None:
    if not isinstance(spec, Mapping):
        if isinstance(spec, list | tuple):
            problems.add(path, f"{spec!r} says no kind: write {{choice: [...]}}, {{int: [...]}} or {{const: [...]}}")
            return None
        spec = {"const": spec}
    kinds = [k for k in KINDS if k in spec]
    if len(kinds) != 1:
        said = f"has both {' and '.join(kinds)}" if kinds else "says no kind of domain"
        near = did_you_mean(str(next(iter(spec), "")), KINDS)
        problems.add(path, f"{name!r} {said}: give exactly one of {', '.join(KINDS)}" + ("" if kinds else f"; {near}"))
        return None
    form = KINDS[kinds[0]]
    try:
        said_form = form.model_validate(dict(spec))
    except ValidationError as error:
        problems.add_all(path, error, form, spec)
        return None
    options: dict[str, tuple[Node, ...]] | None = None
    if isinstance(said_form, ChoiceForm) and isinstance(said_form.options, dict):
        options = {}
        for label, nested in said_form.options.items():
            if not LABEL.fullmatch(label):
                problems.add((*path, "choice", label), f"{label!r} is not an option's name: letters, digits, _ and -")
                continue
            inner = _nodes(nested, (*path, "choice", label), problems, depth + 1)
            if inner is None:
                return None
            options[label] = inner
    try:
        domain, repeat = _domain(said_form)
        if isinstance(repeat, int) and not 0 <= repeat <= tree.MOST_REPEATS:
            raise SpaceError(f"repeat: {repeat} is outside [0, {tree.MOST_REPEATS}]")
    except SpaceError as error:
        problems.add((*path, kinds[0]), str(error))
        return None
    knots: tuple[int, ...] | None = None
    if isinstance(said_form, FloatForm | IntForm) and said_form.schedule is not None:
        knots = tuple(said_form.schedule.piecewise)
        try:
            check_knots(knots)
            if repeat is not None:
                raise SpaceError("repeat and schedule both make several values of one: give one parameter a schedule")
        except SpaceError as error:
            problems.add((*path, "schedule"), str(error))
            return None
        repeat = len(knots)
    return Node(name, domain, options, repeat, knots)


def _domain(form: Any) -> tuple[Domain, int | str | None]:
    match form:
        case FloatForm(bounds=[low, high]):
            return Float(low, high, form.log, form.step, _normal(form.prior)), form.repeat
        case IntForm(bounds=[low, high]):
            return Int(low, high, form.log, form.step, _normal(form.prior)), form.repeat
        case ChoiceForm():
            weights = None if form.prior is None else tuple(float(w) for w in form.prior.weights)
            return Choice(tuple(form.options), form.ordered, weights), form.repeat
        case SubsetForm():
            return Subset(tuple(form.items), form.min, form.max), form.repeat
        case ConstForm():
            return Const(form.value), form.repeat
        case _:
            raise SpaceError(f"{type(form).__name__} is no domain: this is a bug in spaces.parse")


def _normal(form: NormalForm | None) -> Normal | None:
    return None if form is None else Normal(float(form.mean), float(form.sd))


def dump_nodes(nodes: tuple[Node, ...]) -> dict[str, Any]:
    """The mapping that parses to these nodes: plain JSON values, defaults left out where they say nothing."""
    return {node.name: _dump(node) for node in nodes}


def _dump(node: Node) -> dict[str, Any]:
    out: dict[str, Any]
    match node.domain:
        case Float(low, high, log, step, prior):
            out = {"float": [low, high], "log": log, "step": step, "prior": _dump_normal(prior)}
        case Int(low, high, log, step, prior):
            out = {"int": [low, high], "log": log, "step": None if step == 1 else step, "prior": _dump_normal(prior)}
        case Choice(options, ordered, weights):
            listed: Any = list(options)
            if node.options is not None:
                listed = {label: dump_nodes(nested) for label, nested in node.options.items()}
            out = {"choice": listed, "ordered": ordered, "prior": weights and {"weights": list(weights)}}
        case Subset(items, low, high):
            out = {"subset": list(items), "min": low, "max": high}
        case Const(value):
            out = {"const": Config({"v": value}).flat()["v"]}
    if node.knots is None:
        out["repeat"] = node.repeat
    else:
        out["schedule"] = {"piecewise": list(node.knots)}
    return {k: v for k, v in out.items() if k == "const" or (v is not None and v is not False)}


def _dump_normal(prior: Normal | None) -> dict[str, float] | None:
    return None if prior is None else {"mean": prior.mean, "sd": prior.sd}
