"""Ladders and brackets: at which steps trials are compared, and how many trials a bracket holds.

Everything is integer arithmetic. `floor(log(R / r) / log(eta))` is one short at 243 / 3, where
`math.log(243, 3)` is 4.999…: a whole bracket is lost (ALGORITHMS 1.4).

Sources: Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar (2018), JMLR, Hyperband, algorithm 1;
Li et al. (2020), MLSys, ASHA; Falkner, Klein, Hutter (2018), ICML, BOHB, for the rounding `bohb`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Literal

Rounding = Literal["paper", "bohb"]


def check_ladder(r: int, R: int, eta: int) -> None:
    """ValueError unless 1 <= r <= R and eta >= 2."""
    if not 1 <= r <= R:
        raise ValueError(f"a ladder needs 1 <= r <= R, but r = {r} and R = {R}")
    if eta < 2:
        raise ValueError(f"a ladder needs eta >= 2, but eta = {eta}")


def halvings(r: int, R: int, eta: int) -> int:
    """The largest s with r · eta^s <= R: how often a bracket can cut (`s_max`)."""
    check_ladder(r, R, eta)
    s, step = 0, r * eta
    while step <= R:
        s, step = s + 1, step * eta
    return s


def ladder(r: int, R: int, eta: int) -> tuple[int, ...]:
    """Rung steps r, r·eta, r·eta², …, and R on top: 1, 3, 9, 27, 81, 200 for R = 200."""
    check_ladder(r, R, eta)
    steps = [r]
    while steps[-1] * eta <= R:
        steps.append(steps[-1] * eta)
    if steps[-1] != R:
        steps.append(R)
    return tuple(steps)


def ladder_from_top(r: int, R: int, eta: int) -> tuple[int, ...]:
    """Rung steps R, R / eta, R / eta², … rounded to whole steps, none below r: 2, 6, 17, 52 for R = 52."""
    check_ladder(r, R, eta)
    steps = {R}
    part = eta
    while r * part <= R:
        steps.add(max(r, (2 * R + part) // (2 * part)))
        part *= eta
    return tuple(sorted(steps))


@dataclass(frozen=True, slots=True)
class BracketPlan:
    """One bracket of synchronous Hyperband: `rungs` as (trials, step), lowest first; `s` cuts."""

    s: int
    rungs: tuple[tuple[int, int], ...]

    @property
    def trials(self) -> int:
        """How many configs the bracket starts."""
        return self.rungs[0][0]

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(step for _, step in self.rungs)

    @property
    def resume_cost(self) -> int:
        """Steps trained when a promoted trial goes on from its checkpoint."""
        return sum(n * (step - before) for (n, step), before in zip(self.rungs, (0, *self.steps[:-1]), strict=True))

    @property
    def restart_cost(self) -> int:
        """Steps trained when a promoted trial starts again from nothing (the paper's account)."""
        return sum(n * step for n, step in self.rungs)


def bracket_plan(R: int, eta: int, s: int, s_max: int, rounding: Rounding = "paper") -> BracketPlan:
    """The bracket that cuts `s` times out of a table with `s_max`: n = ceil((s_max+1)/(s+1) · eta^s) (`paper`).

    The first rung is at R / eta^s (the paper's rule, also when r · eta^s_max < R), rounded down to a whole step.
    """
    if rounding == "paper":
        n = -(-(s_max + 1) * eta**s // (s + 1))
    else:
        n = (s_max + 1) // (s + 1) * eta**s
    return BracketPlan(s, tuple((max(1, n // eta**i), R // eta ** (s - i)) for i in range(s + 1)))


def bracket_table(r: int, R: int, eta: int, rounding: Rounding = "paper") -> tuple[BracketPlan, ...]:
    """One Hyperband iteration, the bracket with the most and shortest trials first."""
    s_max = halvings(r, R, eta)
    return tuple(bracket_plan(R, eta, s, s_max, rounding) for s in range(s_max, -1, -1))


def bracket_weights(steps: tuple[int, ...], count: int | None = None) -> tuple[int, ...]:
    """Relative sizes of the first `count` brackets over a ladder, as whole numbers (ALGORITHMS 2.3).

    With K+1 rungs r_0 < … < r_K: p_s ∝ (K+1) / ((K+1−s) · r_s). Bracket s starts its trials at r_s.
    """
    rungs = len(steps)
    parts = [(rungs - s) * steps[s] for s in range(rungs)][:count]
    whole = lcm(*parts)
    return tuple(whole // part for part in parts)


class Round:
    """A fixed round by weights: whoever is furthest behind its share is next, the first among equals.

    No draw at random, and the counts stay close to the shares all the time (a test says how close).
    """

    __slots__ = ("_counts", "_next", "_turns", "_weights")

    def __init__(self, weights: tuple[int, ...]) -> None:
        self._weights = weights
        self._counts = [0] * len(weights)
        self._turns = 0
        self._next: int | None = None  # as long as no turn is taken

    def next(self) -> int:
        """Whose turn it is; changes nothing."""
        if self._next is None:
            total, turn = sum(self._weights), self._turns + 1
            behind = [w * turn - c * total for w, c in zip(self._weights, self._counts, strict=True)]
            self._next = behind.index(max(behind))
        return self._next

    def take(self) -> int:
        """Whose turn it is, and the turn is over."""
        chosen = self.next()
        self._counts[chosen] += 1
        self._turns += 1
        self._next = None if len(self._weights) > 1 else 0
        return chosen

    def reweigh(self, weights: tuple[int, ...]) -> None:
        """New weights, at least as many as before; turns taken so far stay counted."""
        self._counts += [0] * (len(weights) - len(self._counts))
        self._weights = weights
        self._next = None


def deeper(R: int, near: int, eta: int) -> tuple[int, ...]:
    """The values that R can be raised to which are nearest to `near`: one, or the two around it."""
    low = R * eta
    while low * eta <= near:
        low *= eta
    return (low,) if near <= low else (low, low * eta)


def deepened(R: int, R_new: int, eta: int) -> tuple[int, ...]:
    """The rungs that a deepening adds: R·eta, R·eta², …, R_new; none when R_new is R.

    ValueError when R_new is no R · eta^k.
    """
    steps: list[int] = []
    step = R
    while step < R_new:
        step *= eta
        steps.append(step)
    if step != R_new:
        raise ValueError(f"a deepening needs R = {R} times a power of eta = {eta}, but R = {R_new}")
    return tuple(steps)


def top(ladders: tuple[tuple[int, ...], ...], bracket: int) -> int:
    """The last rung of a bracket; a bracket beyond the ladders (a user's config that runs alone) has the last one's."""
    return ladders[min(bracket, len(ladders) - 1)][-1]
