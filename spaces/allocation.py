"""Which width each layer gets: an integer program, and bisection over an order of layers. Pure: tables in, choices out.

minimise Σ loss[i][c_i] subject to Σ cost[i][c_i] <= limit for every cost (bytes, BOPs, milliseconds a layer), one
choice a layer, some layers tied to the same choice and some fixed. Sources: HAWQ-V3 (Yao et al., 2021, ICML); AdaQuant
(Hubara et al., 2020); bisection: Schaefer et al., "Augmenting Hessians with Inter-Layer Dependencies", 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spaces.errors import SpaceError

Table = Sequence[Sequence[float]]
"""[layers][choices]."""
SLACK = 1e-9
"""Relative excess over a limit that is rounding of sums."""


class Unmet(SpaceError):
    """A limit below `least`, the smallest sum that its cost can have."""

    def __init__(self, name: str, at_most: float, least: float) -> None:
        self.least = least
        super().__init__(f"{name} at most {at_most:g} cannot be met: the least possible is {least:g}; raise it")


@dataclass(frozen=True, slots=True)
class Limit:
    """What the chosen entries of `cost` may sum to, in the unit that its name says."""

    cost: Table
    at_most: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """One choice a layer (an index), the sum of its losses, and of each cost by name."""

    choice: tuple[int, ...]
    loss: float
    costs: Mapping[str, float] = field(default_factory=dict)


def allocate(
    loss: Table, limits: Mapping[str, Limit], *, ties: Sequence[Sequence[int]] = (),
    fixed: Mapping[int, int] | None = None, count: int = 1,
) -> tuple[Allocation, ...]:  # fmt: skip
    """The `count` best allocations (fewer when there are fewer), best first; of equal losses any may come first.

    `ties`: layers that must choose alike; `fixed`: layer to choice. SpaceError (Unmet) when a limit is below the least
    that it can be, with that figure, or when the limits cannot be met together.
    """
    groups, allowed = _groups(len(loss), len(loss[0]), ties, fixed or {})
    gain = _summed(loss, groups)
    costs = {name: _summed(limit.cost, groups) for name, limit in limits.items()}
    for name, limit in limits.items():
        least = float(np.where(allowed, costs[name], np.inf).min(axis=1).sum())
        if least > limit.at_most * (1 + SLACK):
            raise Unmet(name, limit.at_most, least)
    found: list[Allocation] = []
    cuts: list[NDArray[np.float64]] = []
    while len(found) < count:
        picked = _solve(gain, [(costs[n], limits[n].at_most) for n in limits], allowed, cuts)
        if picked is None:
            break
        cuts.append(np.eye(gain.shape[1])[picked].reshape(-1))
        choice = tuple(int(picked[g]) for g in _owner(groups, len(loss)))
        sums = {n: _total(limit.cost, choice) for n, limit in limits.items()}
        if all(sums[n] <= limits[n].at_most * (1 + SLACK) for n in limits):  # the solver's tolerance is wider
            found.append(Allocation(choice, _total(loss, choice), sums))
    if not found:
        alone = ", ".join(f"{n} <= {limit.at_most:g}" for n, limit in limits.items())
        raise SpaceError(f"no allocation keeps {alone} together, though each can be kept alone: raise one of them")
    return tuple(found)


def least(cost: Table, *, ties: Sequence[Sequence[int]] = (), fixed: Mapping[int, int] | None = None) -> float:
    """The smallest sum that `cost` can have."""
    groups, allowed = _groups(len(cost), len(cost[0]), ties, fixed or {})
    return float(np.where(allowed, _summed(cost, groups), np.inf).min(axis=1).sum())


def most(cost: Table, *, ties: Sequence[Sequence[int]] = (), fixed: Mapping[int, int] | None = None) -> float:
    """The largest sum that `cost` can have."""
    return -least([[-c for c in row] for row in cost], ties=ties, fixed=fixed)


def bisect(
    count: int, degradation: Callable[[int], float], tolerance: float, *, beyond: int = 0
) -> tuple[int, int]:
    """How many of `count` tensors, most patient first, can be lowered within `tolerance`; and how often it was asked.

    `degradation(k)`: of the first k together; assumed to rise with k. `beyond`: so many counts above the answer are
    tried as well, since it may not rise; the largest that holds is taken.
    """
    known: dict[int, bool] = {}

    def holds(k: int) -> bool:
        if k not in known:
            known[k] = degradation(k) <= tolerance
        return known[k]

    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    low = max((k for k in range(low + 1, min(count, low + beyond) + 1) if holds(k)), default=low)
    return low, len(known)


def _solve(
    gain: NDArray[np.float64], limits: Sequence[tuple[NDArray[np.float64], float]], allowed: NDArray[np.bool_],
    cuts: Sequence[NDArray[np.float64]],
) -> NDArray[np.intp] | None:  # fmt: skip
    """The choice [groups] of least loss, none of `cuts`; None when there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    n, k = gain.shape
    once = np.kron(np.eye(n), np.ones(k))
    rules = [LinearConstraint(once, 1, 1)]
    for cost, at_most in limits:
        size = abs(at_most) or float(np.abs(cost).max()) or 1.0
        rules.append(LinearConstraint(cost.reshape(1, -1) / size, -np.inf, at_most / size))
    rules.extend(LinearConstraint(cut[None], -np.inf, n - 1) for cut in cuts)
    size = float(np.abs(gain).max()) or 1.0
    answer = milp(
        gain.reshape(-1) / size, integrality=np.ones(n * k), bounds=Bounds(0, allowed.reshape(-1).astype(float)),
        constraints=rules, options={"mip_rel_gap": 0.0},
    )  # fmt: skip
    return None if answer.x is None else np.asarray(answer.x.reshape(n, k).argmax(axis=1))


def _groups(
    n: int, k: int, ties: Sequence[Sequence[int]], fixed: Mapping[int, int]
) -> tuple[list[list[int]], NDArray[np.bool_]]:
    """Layers that choose together, and which choices each group has [groups, k]."""
    owner = list(range(n))
    for tie in ties:
        roots = {owner[i] for i in tie}
        owner = [min(roots) if o in roots else o for o in owner]
    groups = [[i for i in range(n) if owner[i] == o] for o in sorted(set(owner))]
    allowed = np.ones((len(groups), k), bool)
    for g, group in enumerate(groups):
        said = {fixed[i] for i in group if i in fixed}
        if len(said) > 1:
            raise SpaceError(f"layers {group} are tied, but fixed to different widths: fix them alike")
        for choice in said:
            allowed[g] = np.arange(k) == choice
    return groups, allowed


def _owner(groups: Sequence[Sequence[int]], n: int) -> list[int]:
    at = {i: g for g, group in enumerate(groups) for i in group}
    return [at[i] for i in range(n)]


def _summed(table: Table, groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    values = np.asarray(table, np.float64)
    return np.stack([values[list(group)].sum(axis=0) for group in groups])


def _total(table: Table, choice: Sequence[int]) -> float:
    return float(sum(row[c] for row, c in zip(table, choice, strict=True)))
