"""The order of trials in one rung (DESIGN 3.2, ALGORITHMS 7.2 and 8.3).

1. A trial with several operating points is ranked by its best one: its feasible points if it has any, else
   those of least violation; what its own points dominate is left out.
2. Feasible trials first, then by violation. Diverged trials (any NaN or infinity) come last.
3. One objective sorts. Several rank by non-dominated layers, inside a layer by an ε-net: the farthest from
   those already chosen is next. For distances, objectives are normalised to [0, 1] over the rung. Other orders of
   several objectives are in `orders`; rules 1, 2 and 4 hold for all (of a `Single` order the best point is the one
   that is best in its objective).
4. Ties go to the lower trial id.

Sources: Schmucker, Donini, Zafar, Salinas, Archambeau (2021), multi-objective ASHA, ε-net strategy. Order
(indices sorted by quality) and rank (position of each index) are kept apart here: a known library mixes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.front import layers, non_dominated
from searchd.schedulers.orders import INSIDE, Order, Single, epsilon_net, mean_ranks
from searchd.schedulers.ranked import Key

FEASIBLE, VIOLATING, DIVERGED, OUT = 0, 1, 2, 3
"""The four classes of an entry, best first. `OUT`: failed or stopped, never promoted."""

Inside = Callable[[NDArray[np.float64]], Iterator[int]]
"""Row numbers of one layer [n, m], the best first."""

Standing = tuple[int, float, tuple[tuple[float, ...], ...]]
"""Class, violation, and the points that speak for a trial (none when diverged)."""


def finite(point: Losses) -> bool:
    """Whether a point can be compared at all."""
    return isfinite(point.violation) and all(map(isfinite, point.values))


def standing(points: Sequence[Losses]) -> Standing:
    """What speaks for a trial among its `points`: rules 1 and 2 above."""
    if len(points) == 1:  # the usual case, and the quickest
        point = points[0]
        values, violation = point.values, point.violation
        if not (values and isfinite(violation) and isfinite(values[0]) and (len(values) == 1 or finite(point))):
            return (DIVERGED, 0.0, ())
        return (VIOLATING, violation, (values,)) if violation > 0 else (FEASIBLE, 0.0, (values,))
    able = [p for p in points if p.values and finite(p)]
    if not able:
        return (DIVERGED, 0.0, ())
    least = min(max(p.violation, 0.0) for p in able)
    best = sorted({p.values for p in able if max(p.violation, 0.0) == least})
    kind = VIOLATING if least > 0 else FEASIBLE
    if len(best[0]) == 1:
        return (kind, least, (best[0],))
    if len(best) > 1:
        best = [v for v, keep in zip(best, non_dominated(best), strict=True) if keep]
    return (kind, least, tuple(best))


def key_of(trial: TrialId, entry: Standing, order: Order = "eps-net") -> Key:
    """What a rung of one objective is sorted by, or one where one of several ranks (`Single`)."""
    kind, violation, points = entry
    if isinstance(order, Single):
        return (kind, violation, order.best(points), trial)
    return (kind, violation, points[0][0] if points else 0.0, trial)


def ranking(entries: Mapping[TrialId, Standing], order: Order = "eps-net") -> Iterator[TrialId]:
    """Trials of a rung, the best first; lazily, so that the head costs one layer and not all of them."""
    if isinstance(order, Single):
        yield from sorted(entries, key=lambda trial: key_of(trial, entries[trial], order))
        return
    groups: dict[tuple[int, float], list[TrialId]] = {}
    for trial in sorted(entries):
        kind, violation, _ = entries[trial]
        groups.setdefault((kind, violation), []).append(trial)
    scale = _scale([p for kind, _, points in entries.values() if kind <= VIOLATING for p in points])
    for key in sorted(groups):
        members = groups[key]
        if key[0] >= DIVERGED or len(members) == 1:
            yield from members
        elif order == "scalarisation":
            yield from _by_weights(members, entries, *scale)
        else:
            yield from _by_layers(members, entries, *scale, INSIDE[order])


def best_points(entries: Mapping[TrialId, Sequence[Losses]]) -> dict[TrialId, Losses | None]:
    """For each trial the point that its rank in this rung comes from; None when it diverged."""
    standings = {trial: standing(points) for trial, points in entries.items()}
    scale = _scale([p for kind, _, points in standings.values() if kind <= VIOLATING for p in points])
    found: dict[TrialId, Losses | None] = {t: None for t, s in standings.items() if s[0] >= DIVERGED}
    groups: dict[tuple[int, float], list[TrialId]] = {}
    for trial in sorted(t for t in standings if t not in found):
        groups.setdefault(standings[trial][:2], []).append(trial)
    for (_, violation), members in groups.items():
        if all(len(standings[trial][2]) == 1 for trial in members):  # nothing to choose from
            found.update((trial, Losses(standings[trial][2][0], violation)) for trial in members)
            continue
        for trial, values in _points_by_layers(members, standings, *scale):
            found.setdefault(trial, Losses(values, violation))
    return {trial: found[trial] for trial in entries}


def _by_weights(
    members: list[TrialId], entries: Mapping[TrialId, Standing], low: NDArray[np.float64], span: NDArray[np.float64]
) -> Iterator[TrialId]:
    """By the mean rank over the fixed weights; equals by layers (rounding must not put a dominated one first)."""
    raw = np.array([p for t in members for p in entries[t][2]])
    owners = np.array([i for i, t in enumerate(members) for _ in entries[t][2]])
    found = mean_ranks((raw / 2 - low) / span, owners, len(members))
    for rank in np.unique(found):
        equals = np.flatnonzero(found == rank)
        if len(equals) > 1:
            rows = np.flatnonzero(np.isin(owners, equals))
            first: dict[int, None] = {}
            for layer in layers(raw[rows]):
                first.update(dict.fromkeys(sorted(owners[rows[layer]].tolist())))
            equals = np.array(list(first))
        yield from (members[i] for i in equals.tolist())


def _by_layers(
    members: list[TrialId], entries: Mapping[TrialId, Standing], low: NDArray[np.float64], span: NDArray[np.float64],
    inside: Inside = epsilon_net,
) -> Iterator[TrialId]:  # fmt: skip
    seen: set[TrialId] = set()
    for trial, _ in _points_by_layers(members, entries, low, span, inside):
        if trial not in seen:
            seen.add(trial)
            yield trial


def _points_by_layers(
    members: list[TrialId], entries: Mapping[TrialId, Standing], low: NDArray[np.float64], span: NDArray[np.float64],
    inside: Inside = epsilon_net,
) -> Iterator[tuple[TrialId, tuple[float, ...]]]:  # fmt: skip
    owners = np.array([t for t in members for _ in entries[t][2]])
    values = [p for t in members for p in entries[t][2]]
    raw = np.array(values)
    rows = (raw / 2 - low) / span
    left = np.arange(len(rows))
    while len(left):
        front = non_dominated(raw[left])
        layer = left[front]
        for i in inside(rows[layer]):
            yield int(owners[layer[i]]), values[layer[i]]
        left = left[~front]


def _scale(points: list[tuple[float, ...]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest value and range of each objective over the rung, both halved (no overflow); a range of 0 counts as 1."""
    if not points:
        return np.zeros(1), np.ones(1)
    rows = np.array(points) / 2
    low = rows.min(axis=0)
    span = rows.max(axis=0) - low
    return low, np.where(span > 0, span, 1.0)
