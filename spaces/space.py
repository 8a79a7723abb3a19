"""`Space`: named domains, nested conditions, constraints. Samples, checks, encodes, completes and counts configs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from spaces import counting, tree
from spaces.config import Config
from spaces.constraints import Constraint
from spaces.counting import Subspace
from spaces.domains import Const, Domain, Float, Int
from spaces.errors import SpaceError
from spaces.schedules import Piecewise, is_schedule
from spaces.suggest import did_you_mean
from spaces.tree import Node, Slot

Chooser = Callable[[str, Domain], Any]

DRAWS = 64
"""Independent draws before a sample is repaired instead: exact sampling where at least about 1 in 20 is feasible."""
REPAIRS = 4000
"""Single steps of one repair before the constraints count as unreachable; fewer in a space of over 100 names."""


class Space:
    """Every config that a study may try. Immutable; `names` and `slots` are in the order of choosing."""

    __slots__ = (
        "_by_name", "_columns", "_conditional", "_flat", "_nodes", "constraints", "lists", "names", "nodes", "slots",
        "width",
    )  # fmt: skip

    def __init__(self, nodes: tuple[Node, ...], constraints: tuple[Constraint, ...] = ()) -> None:
        expanded = tree.expand(nodes)
        self.nodes = nodes
        self._nodes = tree.sort(nodes)
        self.slots: tuple[Slot, ...] = tuple(expanded.slots)
        self.names: tuple[str, ...] = tuple(s.name for s in self.slots)
        self.width: int = expanded.width
        self.constraints = constraints
        self._by_name: dict[str, Slot] = {s.name: s for s in self.slots}
        self.lists = expanded.lists
        self._conditional = expanded.conditional
        self._columns = {s.name: s.columns for s in self.slots}
        plain = all(n.options is None and n.repeat is None for n in self._nodes)
        self._flat = tuple((n.name, n.domain) for n in self._nodes) if plain else None
        """Where every parameter is always active, no tree needs to be walked."""

    @classmethod
    def parse(cls, mapping: Mapping[str, Any], constraints: tuple[str, ...] | list[str] = ()) -> Space:
        """The space of a study file's `space:` and `constraints:`; StudyError with every problem at once."""
        from spaces.parse import parse_space  # the parser builds spaces, so it imports this module

        return parse_space(mapping, constraints)

    def dump(self) -> dict[str, Any]:
        """The mapping that `parse` reads to the same space (its constraints apart: `constraints[i].text`)."""
        from spaces.parse import dump_nodes

        return dump_nodes(self.nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return self.nodes == other.nodes and [c.text for c in self.constraints] == [c.text for c in other.constraints]

    def __hash__(self) -> int:
        return hash((self.names, tuple(c.text for c in self.constraints)))

    def __repr__(self) -> str:
        return f"Space({', '.join(n.name for n in self.nodes)}; {len(self.constraints)} constraints)"

    def __getitem__(self, name: str) -> Slot:
        """The slot of a flat name; SpaceError with a suggestion when there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise SpaceError(f"{name!r} is no parameter of this space: {did_you_mean(name, self.names)}") from None

    # --- configs -----------------------------------------------------------------------------------------------

    def walk(self, chooser: Chooser) -> Config:
        """A config by asking `chooser(flat_name, domain)` for each active parameter in turn (constants are not asked).

        The values decide which parameters come next. Constraints are not looked at: see `feasible` and `repair`.
        SpaceError when a chosen value is not in its domain.
        """
        return Config(self._walk(chooser))

    def sample(self, rng: Generator) -> Config:
        """A config that honours the constraints, by priors where there are any; SpaceError when none is found.

        Draws up to DRAWS independent configs and takes the first feasible one; after that the nearest of them is
        repaired, which favours the border of the feasible set.
        """
        best: dict[str, Any] = {}
        least = math.inf
        for _ in range(DRAWS if self.constraints else 1):
            values = self._draw(rng)
            far = self._violation(values)
            if far == 0.0:
                return Config(values)
            if far < least:
                best, least = values, far
        return self._repair(best, rng)

    def repair(self, config: Mapping[str, Any], rng: Generator) -> Config:
        """The config itself when feasible, else a feasible one near it: one or two parameters are redrawn at a time,
        those that broken constraints read first, and a step is kept when it is no worse. SpaceError after REPAIRS."""
        return self._repair(dict(config), rng)

    def feasible(self, config: Mapping[str, Any]) -> bool:
        """Whether every constraint holds."""
        return self._violation(config) == 0.0

    def violated(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The texts of the constraints that do not hold."""
        if not self.constraints:
            return ()
        scope = self._scope(config)
        return tuple(c.text for c in self.constraints if c.violation(scope) > 0.0)

    def acceptance(self, rng: Generator, n: int = 1000) -> float:
        """The share of `n` unconstrained draws that are feasible, in [0, 1]; 1 without constraints."""
        if not self.constraints:
            return 1.0
        hits = sum(self._violation(self._draw(rng)) == 0.0 for _ in range(n))
        return hits / n

    def active(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The names that `values` activate, in the order of choosing; what it lacks counts as the domain's middle."""
        return tuple(self._walk(lambda name, domain: values[name] if name in values else _middle(domain)))

    def check(self, config: Mapping[str, Any]) -> None:
        """SpaceError when `config` is not exactly one feasible point of this space; all problems in the message."""
        self.complete(config)

    def complete(self, values: Mapping[str, Any]) -> Config:
        """A user's values as a config: canonical, constants filled in, constraints checked.

        Takes flat names, and the nested form too (`{"bits": [4, 8], "optimizer": {"name": "sgd", "lr": 0.1}}`).
        SpaceError names every unknown, inactive, missing or wrong value, with its remedy.
        """
        flat = self._flatten(values)
        wrong: list[str] = []
        bad: set[str] = set()

        def choose(name: str, domain: Domain) -> Any:
            under = any(name.startswith(f"{b}.") for b in bad)
            if name not in flat:
                if not under:
                    wrong.append(f"{name} is missing: give a value for it")
                    bad.add(name)
                return _middle(domain)
            try:
                return domain.canonical(flat[name])
            except SpaceError as error:
                wrong.append(f"{name}: {error}")
                bad.add(name)
                return _middle(domain)

        out = self._walk(choose, constants=flat, wrong=wrong)
        for name in flat:
            if name in out or any(name.startswith(f"{b}.") for b in bad):
                continue
            slot = self._by_name.get(name)
            if slot is None:
                wrong.append(f"{name} is no parameter of this space: {did_you_mean(name, self.names)}")
            elif not (slot.repeat in bad or slot.parent in bad):
                wrong.append(f"{name} is not active: it needs {slot.condition()}; leave it out, or change that")
        if not wrong:
            broken = self.violated(out)
            wrong.extend(f"constraint {text!r} does not hold: change one of its parameters" for text in broken)
        if wrong:
            raise SpaceError("; ".join(wrong))
        return Config(out)

    def nested(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a training function reads: `{"width": 16, "optimizer": {"name": "sgd", "lr": .1}, "bits": [4, 8]}`.

        A conditional choice is always a dict with its option under `name`; a repeated parameter and a subset are lists;
        a schedule is what `Piecewise.dump` says, which `spaces.schedules.at_step` makes a number.
        """
        return _nested(self._nodes, "", config)

    # --- the unit cube -----------------------------------------------------------------------------------------

    def encode(self, config: Mapping[str, Any]) -> NDArray[np.float64]:
        """A config as a point of [0, 1]^width, NaN where a parameter is inactive. Columns are `slots[i].columns`."""
        u = np.full(self.width, np.nan)
        for slot in self.slots:
            if slot.name in config and slot.domain.columns:
                u[self._columns[slot.name]] = slot.domain.encode(config[slot.name])
        return u

    def decode(self, u: NDArray[np.float64]) -> Config:
        """The config at a point [width]; its constraints may not hold."""
        return Config(self._decode(u))

    def from_unit(self, u: NDArray[np.float64]) -> Config:
        """The config at a point of [0, 1]^width; an infeasible one is repaired, by draws seeded from the point."""
        if u.shape != (self.width,):
            raise SpaceError(f"a point of this space has shape ({self.width},), not {u.shape}")
        values = self._decode(u)
        if self._violation(values) == 0.0:
            return Config(values)
        key = hashlib.sha256(np.nan_to_num(u, nan=-1.0).tobytes()).digest()
        return self._repair(values, Generator(Philox(key=int.from_bytes(key[:16], "big"))))

    # --- counting ----------------------------------------------------------------------------------------------

    def size(self) -> float:
        """How many configs there are before constraints; infinite when a float has no step."""
        return counting.size(self._nodes)

    def subspaces(self, limit: int = 1000) -> tuple[Subspace, ...]:
        """Each combination of conditional options, at most `limit`, in the order written."""
        return tuple(islice(counting.subspaces(self._nodes), limit))

    # --- inside ------------------------------------------------------------------------------------------------

    def _walk(
        self, chooser: Chooser, constants: Mapping[str, Any] | None = None, wrong: list[str] | None = None
    ) -> dict[str, Any]:
        def choose(name: str, domain: Domain) -> Any:
            if isinstance(domain, Const):
                given = None if constants is None else constants.get(name, domain.value)
                if constants is not None and wrong is not None and not domain.contains(given):
                    wrong.append(f"{name} is fixed at {domain.value!r}, not {constants[name]!r}: leave it out")
                return domain.value
            try:
                return domain.canonical(chooser(name, domain))
            except SpaceError as error:
                raise SpaceError(f"{name}: {error}") from None

        if self._flat is not None:
            return {name: choose(name, domain) for name, domain in self._flat}
        out: dict[str, Any] = {}
        tree.walk(self._nodes, choose, out)
        return out

    def _decode(self, u: NDArray[np.float64]) -> dict[str, Any]:
        """The values at a point. What a domain decodes is canonical already."""
        at, columns = u.tolist(), self._columns
        if self._flat is not None:
            return {name: domain.decode(at[columns[name]]) for name, domain in self._flat}
        out: dict[str, Any] = {}
        tree.walk(self._nodes, lambda name, domain: domain.decode(at[columns[name]]), out)
        return out

    def _draw(self, rng: Generator) -> dict[str, Any]:
        """One independent draw; constraints are not looked at. What a domain samples is canonical already."""
        if self._flat is not None:
            return {name: domain.sample(rng) for name, domain in self._flat}
        out: dict[str, Any] = {}
        tree.walk(self._nodes, lambda _, domain: domain.sample(rng), out)
        return out

    def _scope(self, values: Mapping[str, Any]) -> dict[str, Any]:
        scope = dict(values)
        for name, (parent, option) in self.lists.items():
            if parent is not None and values.get(parent) != option:
                continue
            elements: list[Any] = []
            while f"{name}.{len(elements)}" in values:
                elements.append(values[f"{name}.{len(elements)}"])
            scope[name] = elements
        return scope

    def _violation(self, values: Mapping[str, Any]) -> float:
        if not self.constraints:
            return 0.0
        scope = self._scope(values)
        return sum(c.violation(scope) for c in self.constraints)

    def _repair(self, values: dict[str, Any], rng: Generator) -> Config:
        far = self._violation(values)
        for _ in range(max(200, min(REPAIRS, 100 * REPAIRS // max(len(self.slots), 1)))):
            if far == 0.0:
                return Config(values)
            names = self._blamed(values) if rng.random() < 0.8 else []
            names = names or [n for n in values if not isinstance(self._by_name[n].domain, Const)]
            if not names:
                break
            picked = {names[int(i)] for i in rng.integers(len(names), size=1 + int(rng.random() < 0.3))}
            moved = self._redraw(values, picked, rng)
            there = self._violation(moved)
            if there <= far:
                values, far = moved, there
        if far == 0.0:
            return Config(values)
        broken = "; ".join(repr(t) for t in self.violated(values))
        raise SpaceError(f"no config was found that satisfies the constraints ({broken} still broken): widen a range")

    def _redraw(self, values: Mapping[str, Any], picked: set[str], rng: Generator) -> dict[str, Any]:
        def choose(name: str, domain: Domain) -> Any:
            return domain.sample(rng) if name in picked or name not in values else values[name]

        return self._walk(choose)

    def _blamed(self, values: Mapping[str, Any]) -> list[str]:
        """Searched parameters that a broken constraint reads (elements for a list), and the counts of those lists."""
        scope = self._scope(values)
        read = {name for c in self.constraints if c.violation(scope) > 0.0 for name in c.reads}
        out: set[str] = set()
        for name in values:
            slot = self._by_name[name]
            owner = name.rpartition(".")[0]
            if (name in read or (slot.index is not None and owner in read)) and not isinstance(slot.domain, Const):
                out.add(name)
            if slot.repeat is not None and owner in read:
                out.add(slot.repeat)
        return sorted(n for n in out if n in values and not isinstance(self._by_name[n].domain, Const))

    def _flatten(self, values: Mapping[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}

        def put(name: str, value: Any) -> None:
            if name in self.lists and isinstance(value, list | tuple):
                for i, element in enumerate(value):
                    put(f"{name}.{i}", element)
            elif name in self.lists and is_schedule(value):
                put(name, value.get("values"))
            elif name in self._conditional and isinstance(value, Mapping) and "name" in value:
                flat[name] = value["name"]
                for key, inner in value.items():
                    if key != "name":
                        put(f"{name}.{value['name']}.{key}", inner)
            else:
                flat[name] = value

        for name, value in values.items():
            put(str(name), value)
        return flat


def _middle(domain: Domain) -> Any:
    return domain.decode((0.5,) * domain.columns)


def _nested(nodes: tuple[Node, ...], prefix: str, config: Mapping[str, Any]) -> dict[str, Any]:
    def one(node: Node, flat: str) -> Any:
        value = config[flat]
        if node.options is not None:
            return {"name": value, **_nested(node.options[value], f"{flat}.{value}.", config)}
        return _lists(value)

    out: dict[str, Any] = {}
    for node in nodes:
        flat = prefix + node.name
        if node.repeat is None:
            out[node.name] = one(node, flat)
            continue
        elements: list[Any] = []
        while f"{flat}.{len(elements)}" in config:
            elements.append(one(node, f"{flat}.{len(elements)}"))
        out[node.name] = elements
        if node.knots is not None and isinstance(node.domain, Float | Int):
            whole = isinstance(node.domain, Int)
            out[node.name] = Piecewise(node.knots, tuple(elements), node.domain.log, whole).dump()
    return out


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value
