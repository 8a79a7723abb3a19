"""The nodes of a space: a named domain, its nested options and its repetition; and their expansion to flat slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spaces.domains import Choice, Const, Domain, Int
from spaces.errors import SpaceError
from spaces.suggest import did_you_mean

MOST_REPEATS = 256
MOST_NAMES = 4096
"""Flat names in one space, all options and all repetitions counted."""


@dataclass(frozen=True, slots=True)
class Node:
    """One parameter as written. `options`: the nested nodes of each option of a conditional choice.

    `repeat`: how many elements a per-layer parameter has; a number, or the name of an int parameter in the same or an
    outer scope (for a repeated parameter, its first element is `name.0`). `knots`: the steps of a schedule, whose
    elements are its values there; then `repeat` is their number.
    """

    name: str
    domain: Domain
    options: Mapping[str, tuple[Node, ...]] | None = None
    repeat: int | str | None = None
    knots: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One flat name. `start`: its first column in the unit cube. `parent`, `option`: active only under these."""

    name: str
    domain: Domain
    start: int
    parent: str | None = None
    option: str | None = None
    repeat: str | None = None
    index: int | None = None
    """With `repeat`, the flat name of the count, the element is active only while count > index."""

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.domain.columns)

    def condition(self) -> str:
        """In words, what has to hold for the parameter to be active; empty when it always is."""
        said = [] if self.parent is None else [f"{self.parent} = {self.option}"]
        if self.repeat is not None and self.index is not None:
            said.append(f"{self.repeat} > {self.index}")
        return " and ".join(said)


@dataclass(slots=True)
class Expanded:
    """A tree's flat form. `lists`: repeated flat name -> (parent, option) that activate it. `conditional`: the flat
    names of choices with nested options."""

    slots: list[Slot] = field(default_factory=list)
    lists: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    conditional: set[str] = field(default_factory=set)
    width: int = 0


def ordered(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes in the order in which values are chosen: as written, but the counts of repeats before the rest."""
    wanted = {name for node in nodes for name in _counts(node)}
    first = [n for n in nodes if n.name in wanted and n.repeat is None]
    return tuple(first + [n for n in nodes if n not in first])


def expand(nodes: tuple[Node, ...]) -> Expanded:
    """Every flat name there can be, in the order of choosing; SpaceError for a repeat that names no int."""
    out = Expanded()
    _expand(nodes, "", {}, None, None, out)
    return out


def schedules(nodes: tuple[Node, ...], prefix: str = "") -> dict[str, tuple[str, ...]]:
    """The parameters with a schedule, by flat name, and the flat names of their values at the knots."""
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        flat = prefix + node.name
        if node.knots is not None:
            found[flat] = tuple(f"{flat}.{i}" for i in range(len(node.knots)))
        for option, nested in (node.options or {}).items():
            found |= schedules(nested, f"{flat}.{option}.")
    return found


def most_repeats(node: Node, scope: Mapping[str, tuple[str, Domain]]) -> int:
    """The largest number of elements of a repeated node; SpaceError when `repeat` is not usable."""
    if isinstance(node.repeat, int):
        most = node.repeat
    elif node.repeat not in scope:
        ints = [name for name, (_, domain) in scope.items() if largest_count(domain) is not None]
        raise SpaceError(
            f"{node.repeat!r} is no int parameter in this or an outer scope: {did_you_mean(str(node.repeat), ints)}"
        )
    else:
        domain = scope[str(node.repeat)][1]
        largest = largest_count(domain)
        if largest is None:
            raise SpaceError(f"{node.repeat!r} cannot count: it must be an int in [0, {MOST_REPEATS}]; narrow it")
        most = largest
    if not 0 <= most <= MOST_REPEATS:
        raise SpaceError(f"up to {most} elements, outside [0, {MOST_REPEATS}]: lower the count")
    return most


def largest_count(domain: Domain) -> int | None:
    """The largest number of repeats that a value of the domain can stand for; None when it cannot count any."""
    match domain:
        case Int(low=low, high=high) if 0 <= low <= high <= MOST_REPEATS:
            return high
        case Const(value=int(value)) if not isinstance(value, bool) and value >= 0:
            return value
        case Choice(options=options) if all(isinstance(o, int) and not isinstance(o, bool) and o >= 0 for o in options):
            return max(o for o in options if isinstance(o, int))
        case _:
            return None


def _counts(node: Node) -> Iterator[str]:
    if isinstance(node.repeat, str):
        yield node.repeat
    for nested in (node.options or {}).values():
        for child in nested:
            yield from _counts(child)


def _expand(
    nodes: tuple[Node, ...],
    prefix: str,
    scope: dict[str, tuple[str, Domain]],
    parent: str | None,
    option: str | None,
    out: Expanded,
) -> None:
    scope = dict(scope)
    for node in nodes:
        scope.pop(node.name, None)
    for node in ordered(nodes):
        flat = prefix + node.name
        if node.repeat is None:
            _slot(node, Slot(flat, node.domain, out.width, parent, option), scope, out)
            if node.options is None:
                scope[node.name] = (flat, node.domain)
            continue
        count = scope[node.repeat][0] if isinstance(node.repeat, str) and node.repeat in scope else None
        out.lists[flat] = (parent, option)
        for i in range(most_repeats(node, scope)):
            _slot(node, Slot(f"{flat}.{i}", node.domain, out.width, parent, option, count, i), scope, out)


def _slot(node: Node, slot: Slot, scope: dict[str, tuple[str, Domain]], out: Expanded) -> None:
    if len(out.slots) >= MOST_NAMES:
        raise SpaceError(f"the space has more than {MOST_NAMES} flat parameters: lower a repeat")
    out.slots.append(slot)
    out.width += slot.domain.columns
    if node.options is not None:
        out.conditional.add(slot.name)
    for label, nested in (node.options or {}).items():
        _expand(nested, f"{slot.name}.{label}.", scope, slot.name, label, out)


def walk(nodes: tuple[Node, ...], choose: Any, out: dict[str, Any], prefix: str = "", env: Any = None) -> None:
    """Fills `out` with the active parameters: `choose(flat_name, domain)` gives each value, counts first."""
    env = dict(env or {})
    for node in nodes:
        flat = prefix + node.name
        if node.repeat is None and node.options is None:
            out[flat] = env[node.name] = choose(flat, node.domain)
            continue
        if node.repeat is None:
            names = [flat]
        else:
            count = node.repeat if isinstance(node.repeat, int) else env[node.repeat]
            names = [f"{flat}.{i}" for i in range(count)]
        value: Any = None
        for name in names:
            value = out[name] = choose(name, node.domain)
            if node.options is not None:
                walk(node.options[value], choose, out, f"{name}.{value}.", env)
        if node.repeat is None:
            env[node.name] = value


def sort(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The whole tree in the order of choosing (see `ordered`)."""
    return tuple(
        replace(n, options=None if n.options is None else {k: sort(v) for k, v in n.options.items()})
        for n in ordered(nodes)
    )
