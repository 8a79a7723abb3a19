"""What the built-in tasks would refuse in each trial is told before one: optimizers, their values, the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.random import Generator, Philox

from spaces.balance import choices, narrowed
from spaces.decays import DECAYS, KEYS, Decay
from spaces.domains import Choice, Const, Float, Int
from spaces.errors import SpaceError
from spaces.optimizers import OPTIMIZERS, Hyper, unknown
from spaces.problems import Path, Problems
from spaces.space import Space
from spaces.suggest import did_you_mean
from spaces.tree import Node

DRAWS = 32
"""Configs that are looked at for what does not go together."""
APART = "optimizer != 'sophia' or all(b == 32 for b in bits)"


def check_training(space: Space, problems: Problems, *, typed: bool, shows: bool = False) -> None:
    """Problems of the parameters `optimizer`, `schedule`, `horizon` and `warmup`, each at its place in the file.

    `typed`: by a person just now. What a log holds was read before values and schedules had rules; it stays as it was.
    `shows`: whether the task's layers show their inputs, which `mkor` needs.
    """
    named = {node.name: node for node in space.nodes}
    if (optimizer := named.get("optimizer")) is not None:
        _optimizer(optimizer, problems, typed=typed)
        if typed:
            _second_order(optimizer, space, problems)
            if not shows and "mkor" in _values(optimizer):
                said = "mkor needs layers that show their inputs, which those of task: classify do: use soap or kron"
                problems.add(("space", "optimizer", "choice", "mkor"), said)
    if typed and "schedule" in named and named["schedule"].repeat is None:
        _schedule(named["schedule"], named, problems)


def _optimizer(node: Node, problems: Problems, *, typed: bool) -> None:
    at: Path = ("space", "optimizer")
    for option in _values(node) if typed or isinstance(node.domain, Choice) else ():
        where: Path = (*at, "choice", str(option)) if isinstance(node.domain, Choice) else at
        if option not in OPTIMIZERS:
            problems.add(where, unknown(str(option)))
            continue
        takes = OPTIMIZERS[str(option)]
        for nested in (node.options or {}).get(str(option), ()):
            if nested.name not in takes:
                said = f"{option} has no {nested.name!r}: {did_you_mean(nested.name, sorted(takes))}"
                problems.add((*where, nested.name), said)
            elif typed:
                _hyper(nested, takes[nested.name], (*where, nested.name), problems)


def _second_order(node: Node, space: Space, problems: Problems) -> None:
    """Quantized blocks have no second derivatives; constraints may keep them and `sophia` apart."""
    if "sophia" not in _values(node) or "optimizer" not in choices(space):
        return
    part = narrowed(space, "optimizer", "sophia")
    rng = Generator(Philox(key=0))
    for _ in range(DRAWS):
        try:
            bits = part.nested(part.sample(rng)).get("bits", 32)
        except SpaceError:
            return
        if any(b != 32 for b in (bits if isinstance(bits, list) else [bits])):
            said = "sophia needs second derivatives, which quantized blocks have not: leave it out, keep bits at 32, or"
            problems.add(("space", "optimizer", "choice", "sophia"), f"{said} add the constraint {APART!r}")
            return


def _hyper(node: Node, rule: Hyper, at: Path, problems: Problems) -> None:
    """The ends of a range, or each value, by the rule of the hyperparameter."""
    for value in _values(node):
        if (problem := rule.problem(value)) is not None:
            problems.add(at, f"{node.name} {problem}: change its range")
            return


def _schedule(node: Node, named: Mapping[str, Node], problems: Problems) -> None:
    at: Path = ("space", "schedule")
    for kind in _values(node):
        nested = {n.name: n for n in (node.options or {}).get(str(kind), ())}
        for name in nested:
            if name not in KEYS:
                problems.add((*at, "choice", str(kind), name), f"{kind} has no {name!r}: {did_you_mean(name, KEYS)}")
        if kind not in DECAYS:
            problems.add(at, f"there is no schedule {kind!r}: {did_you_mean(str(kind), DECAYS)}")
            continue
        horizon, warmup = (nested.get(key, named.get(key)) for key in KEYS)
        try:
            Decay(str(kind), _end(horizon, min, None), _end(warmup, max, 0.0))
        except SpaceError as error:
            problems.add(at, str(error))


def _end(node: Node | None, which: Any, default: Any) -> Any:
    values = [] if node is None else _values(node)
    try:
        return which(values, default=default)
    except TypeError:
        return values[0]


def _values(node: Node) -> list[Any]:
    """All values of a domain that lists them, the two ends of a range."""
    match node.domain:
        case Choice(options=options):
            return list(options)
        case Const(value=value):
            return [value]
        case Float(low=low, high=high) | Int(low=low, high=high):
            return [low, high]
        case _:
            return []
