"""How many configs a space has, and which combinations of conditional options."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from spaces import tree
from spaces.domains import Choice, Const, Domain, Int
from spaces.errors import SpaceError
from spaces.tree import Node


@dataclass(frozen=True, slots=True)
class Subspace:
    """One combination of conditional options, and the flat names that are active in it (counts at their largest)."""

    options: Mapping[str, str]
    names: tuple[str, ...]


def size(nodes: tuple[Node, ...]) -> float:
    """Configs of these nodes (in the order of choosing), before constraints; infinite with a float without a step."""
    return _size(nodes, {})


def subspaces(nodes: tuple[Node, ...]) -> Iterator[Subspace]:
    """Each combination of conditional options in turn."""
    return (Subspace(options, names) for options, names in _subspaces(nodes, "", {}))


def _size(nodes: tuple[Node, ...], counts: Mapping[str, int]) -> float:
    """Configs of `nodes` given the values of outer counts: one sum over the values of this scope's counts."""
    read = {name for node in nodes for name in _repeats(node)}
    used = [n for n in nodes if n.name in read and n.repeat is None and tree.largest_count(n.domain) is not None]
    ranges = [_values(n.domain) for n in used]
    total: float = 0
    for combination in product(*ranges):
        scope = {**counts, **{n.name: v for n, v in zip(used, combination, strict=True)}}
        ways: float = 1
        for node in nodes:
            if node in used:
                continue
            one = node.domain.count() if node.options is None else sum(_size(v, scope) for v in node.options.values())
            times = 1 if node.repeat is None else node.repeat if isinstance(node.repeat, int) else scope[node.repeat]
            ways *= _power(one, times)
        total += ways
    return total


def _power(base: float, times: int) -> float:
    try:
        return base**times
    except OverflowError:
        return math.inf


def _repeats(node: Node) -> set[str]:
    inner = {r for nested in (node.options or {}).values() for child in nested for r in _repeats(child)}
    return inner | ({node.repeat} if isinstance(node.repeat, str) else set())


def _values(domain: Domain) -> list[int]:
    match domain:
        case Int(low=low, high=high, step=step):
            return list(range(low, high + 1, step))
        case Choice(options=options):
            return [o for o in options if isinstance(o, int)]
        case Const(value=value):
            return [value]
        case _:
            raise SpaceError(f"{domain!r} cannot count a repeat: this is a bug in spaces.parse")


def _subspaces(
    nodes: tuple[Node, ...], prefix: str, scope: Mapping[str, tuple[str, Domain]]
) -> Iterator[tuple[dict[str, str], tuple[str, ...]]]:
    if not nodes:
        yield {}, ()
        return
    node, rest = nodes[0], nodes[1:]
    flat = prefix + node.name
    names = [flat]
    if node.repeat is not None:
        names = [f"{flat}.{i}" for i in range(tree.most_repeats(node, scope))]
    inner = {**scope, node.name: (flat, node.domain)}
    for options, active in _elements(node, names, inner):
        for more, others in _subspaces(rest, prefix, inner):
            yield {**options, **more}, active + others


def _elements(
    node: Node, names: list[str], scope: Mapping[str, tuple[str, Domain]]
) -> Iterator[tuple[dict[str, str], tuple[str, ...]]]:
    if not names:
        yield {}, ()
        return
    if node.options is None:
        yield {}, tuple(names)
        return
    for label, nested in node.options.items():
        for options, active in _subspaces(nested, f"{names[0]}.{label}.", scope):
            for more, others in _elements(node, names[1:], scope):
                yield {names[0]: label, **options, **more}, (names[0], *active, *others)
