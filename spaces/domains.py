"""Domains: what one parameter may be. Frozen values that sample, check, and map to the unit cube and back.

`canonical` gives the one way to write a value (1 for a float is 1.0, NumPy scalars become Python's), so that equal
configs have equal digests. `encode` and `decode` are inverse: `decode(encode(v)) == v` for discrete domains, and up
to rounding for continuous ones. They ignore priors; `sample` follows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.random import Generator

from spaces.checks import Scalar, check_range, check_scalars, identical, index, number, plain, unit
from spaces.errors import SpaceError

LARGEST_INT = 2**53
"""Whole numbers up to here are exact as float64, which the unit cube needs."""


@dataclass(frozen=True, slots=True)
class Normal:
    """A prior over a number: `mean` in the parameter's unit; `sd` likewise, in decades where the scale is log."""

    mean: float
    sd: float

    def sample(self, rng: Generator, low: float, high: float) -> float:
        """One draw from the normal truncated to [low, high], by the inverse of its distribution function."""
        normal = NormalDist(self.mean, self.sd)
        a, b = normal.cdf(low), normal.cdf(high)
        p = min(max(a + (b - a) * rng.random(), 1e-300), 1 - 1e-16)
        return min(max(normal.inv_cdf(p), low), high)


@dataclass(frozen=True, slots=True)
class Float:
    """Real numbers in [low, high], ends included; `log` spreads them evenly over orders, `step` puts them on a grid."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    prior: Normal | None = None

    def __post_init__(self) -> None:
        prior = None if self.prior is None else (self.prior.mean, self.prior.sd)
        check_range(self.low, self.high, self.log, self.step, prior, whole=False)
        object.__setattr__(self, "low", float(self.low) + 0.0)
        object.__setattr__(self, "high", float(self.high) + 0.0)
        if self.step is not None:
            object.__setattr__(self, "step", float(self.step))
            if self.count() > LARGEST_INT:
                raise SpaceError(f"step {self.step} divides the range into more than 2**53 values: use a larger step")

    @property
    def columns(self) -> int:
        return 1

    def count(self) -> float:
        """How many values: infinite without a step, one where low = high."""
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else self._steps() + 1

    def sample(self, rng: Generator) -> float:
        if self.prior is None:
            return self._between(rng.random())
        if self.log:
            p = Normal(math.log10(self.prior.mean), self.prior.sd)
            return self.canonical(self._clip(10 ** p.sample(rng, math.log10(self.low), math.log10(self.high))))
        return self._snap(self.prior.sample(rng, self.low, self.high))

    def canonical(self, value: Any) -> float:
        given = number(value)
        if given is None or not math.isfinite(given):
            raise SpaceError(f"{value!r} is not a finite number")
        if not self.low <= given <= self.high:
            raise SpaceError(f"{value!r} is outside [{self.low:g}, {self.high:g}]")
        if self.step is None:
            return float(given) + 0.0
        snapped = self._snap(given)
        if abs(snapped - given) > 1e-9 * max(self.step, abs(given)):
            grid = f"{self.low:g} + k * {self.step:g}"
            raise SpaceError(f"{value!r} is not on the grid {grid}: the nearest is {snapped!r}")
        return snapped

    def contains(self, value: Any) -> bool:
        return _contains(self, value)

    def encode(self, value: float) -> tuple[float, ...]:
        if self.low == self.high:
            return (0.5,)
        if self.step is not None:
            return ((round((value - self.low) / self.step) + 0.5) / (self._steps() + 1),)
        if self.log:
            width = math.log(self.high) - math.log(self.low)
            return ((math.log(value) - math.log(self.low)) / width if width else 0.5,)  # neighbours have equal logs
        return (value / (self.high - self.low) - self.low / (self.high - self.low),)

    def decode(self, u: Sequence[float]) -> float:
        return self._between(unit(u[0]))

    def _between(self, t: float) -> float:
        """The value at a share `t` of the range, in [0, 1]."""
        low, high = self.low, self.high
        if self.step is not None:
            n = self._steps() + 1
            return self._at(min(int(t * n), n - 1))
        if self.log:
            value = math.exp(math.log(low) * (1 - t) + math.log(high) * t)
        else:
            value = low * (1 - t) + high * t
        if value < low:  # `_clip`, without its three calls
            return low
        return high if value > high else value + 0.0

    def _steps(self) -> int:
        return _steps(self.low, self.high, self.step)

    def _at(self, k: int) -> float:
        return float(Decimal(repr(self.low)) + k * Decimal(repr(self.step))) + 0.0

    def _snap(self, number: float) -> float:
        if self.step is None:
            return self._clip(number)
        return self._at(min(max(round((number - self.low) / self.step), 0), self._steps()))

    def _clip(self, number: float) -> float:
        return min(max(number, self.low), self.high) + 0.0


@dataclass(frozen=True, slots=True)
class Int:
    """Whole numbers in [low, high], ends included; `log` needs low >= 1; `step` keeps low, low + step, ..."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    prior: Normal | None = None

    def __post_init__(self) -> None:
        for bound in (self.low, self.high, self.step):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise SpaceError(f"an int range needs whole numbers, but one is {bound!r}: use float for fractions")
            if abs(bound) > LARGEST_INT:
                raise SpaceError(f"{bound} is beyond 2**53: choose a smaller range, or a log float")
        prior = None if self.prior is None else (self.prior.mean, self.prior.sd)
        step = None if self.step == 1 else self.step
        check_range(self.low, self.high, self.log, step, prior, whole=True)

    @property
    def columns(self) -> int:
        return 1

    def count(self) -> float:
        """How many values."""
        return (self.high - self.low) // self.step + 1

    def sample(self, rng: Generator) -> int:
        if self.prior is None:
            return self._between(rng.random())
        if self.log:
            p = Normal(math.log10(self.prior.mean), self.prior.sd)
            drawn = 10 ** p.sample(rng, math.log10(self.low), math.log10(self.high))
        else:
            drawn = self.prior.sample(rng, self.low, self.high)
        k = round((drawn - self.low) / self.step)
        return self.low + self.step * min(max(k, 0), int(self.count()) - 1)

    def canonical(self, value: Any) -> int:
        given = number(value)
        if given is None or not math.isfinite(given) or given != int(given):
            raise SpaceError(f"{value!r} is not a whole number")
        whole = int(given)
        if not self.low <= whole <= self.high:
            raise SpaceError(f"{value!r} is outside [{self.low}, {self.high}]")
        if (whole - self.low) % self.step:
            raise SpaceError(f"{value!r} is not on the grid {self.low} + k * {self.step}")
        return whole

    def contains(self, value: Any) -> bool:
        return _contains(self, value)

    def encode(self, value: int) -> tuple[float, ...]:
        if self.log:
            a, b = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return ((math.log(value) - a) / (b - a),)
        return (((value - self.low) // self.step + 0.5) / self.count(),)

    def decode(self, u: Sequence[float]) -> int:
        return self._between(unit(u[0]))

    def _between(self, t: float) -> int:
        """The value at a share `t` of the range, in [0, 1]."""
        if self.log:
            a, b = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(a + (b - a) * t)), self.low), self.high)
        n = (self.high - self.low) // self.step + 1
        return self.low + self.step * min(int(t * n), n - 1)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `options`; `ordered` says that their order means something. `weights`: an optional prior."""

    options: tuple[Scalar, ...]
    ordered: bool = False
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_scalars(self.options, "a choice", "options")
        if self.weights is None:
            return
        if len(self.weights) != len(self.options):
            raise SpaceError(f"{len(self.weights)} weights for {len(self.options)} options: give one for each")
        if not all(math.isfinite(w) and w >= 0 for w in self.weights) or sum(self.weights) <= 0:
            raise SpaceError(f"weights {list(self.weights)} must be finite, not negative, and not all 0")

    @property
    def columns(self) -> int:
        return 1

    def count(self) -> float:
        """How many values."""
        return len(self.options)

    def sample(self, rng: Generator) -> Scalar:
        if self.weights is None:
            return self.options[int(rng.integers(len(self.options)))]
        edges = np.cumsum(self.weights)
        k = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
        return self.options[min(k, len(self.options) - 1)]

    def canonical(self, value: Any) -> Scalar:
        return self.options[self.index(value)]

    def index(self, value: Any) -> int:
        """The place of `value` among the options; SpaceError when it is none of them."""
        return index(self.options, value, "one of the options")

    def contains(self, value: Any) -> bool:
        return _contains(self, value)

    def encode(self, value: Scalar) -> tuple[float, ...]:
        return ((self.index(value) + 0.5) / len(self.options),)

    def decode(self, u: Sequence[float]) -> Scalar:
        n = len(self.options)
        return self.options[min(int(unit(u[0]) * n), n - 1)]


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of `items` with between `min` and `max` members, as a tuple in the order of the items.

    In the unit cube each item has a column: above 0.5 is in. A set that is too small takes the largest of the rest,
    one that is too large keeps its largest.
    """

    items: tuple[Scalar, ...]
    min: int = 0
    max: int | None = None

    def __post_init__(self) -> None:
        check_scalars(self.items, "a subset", "items")
        if self.max is None:
            object.__setattr__(self, "max", len(self.items))
        if not 0 <= self.min <= self.largest <= len(self.items):
            raise SpaceError(
                f"a subset needs 0 <= min <= max <= {len(self.items)} (its items), "
                f"but min = {self.min} and max = {self.max}"
            )

    @property
    def largest(self) -> int:
        """The greatest number of members."""
        return len(self.items) if self.max is None else self.max

    @property
    def columns(self) -> int:
        return len(self.items)

    def count(self) -> float:
        """How many subsets of an allowed size."""
        return sum(math.comb(len(self.items), k) for k in range(self.min, self.largest + 1))

    def sample(self, rng: Generator) -> tuple[Scalar, ...]:
        """Uniform over the subsets of an allowed size: first the size by its share, then the members."""
        n = len(self.items)
        total = int(self.count())
        share = np.cumsum([math.comb(n, k) / total for k in range(self.min, self.largest + 1)])
        size = self.min + min(int(np.searchsorted(share, rng.random(), side="right")), self.largest - self.min)
        members = set(rng.permutation(n)[:size].tolist())
        return tuple(item for i, item in enumerate(self.items) if i in members)

    def canonical(self, value: Any) -> tuple[Scalar, ...]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise SpaceError(f"{value!r} is not a list of items")
        places = [index(self.items, v, "one of the items") for v in value]
        if len(set(places)) != len(places):
            raise SpaceError(f"{value!r} holds an item twice")
        if not self.min <= len(places) <= self.largest:
            raise SpaceError(f"{value!r} has {len(places)} items, outside [{self.min}, {self.largest}]")
        return tuple(self.items[i] for i in sorted(places))

    def contains(self, value: Any) -> bool:
        return _contains(self, value)

    def encode(self, value: Sequence[Scalar]) -> tuple[float, ...]:
        members = {index(self.items, v, "one of the items") for v in value}
        return tuple(0.75 if i in members else 0.25 for i in range(len(self.items)))

    def decode(self, u: Sequence[float]) -> tuple[Scalar, ...]:
        t = [unit(x) for x in u]
        order = sorted(range(len(t)), key=lambda i: (-t[i], i))
        size = min(max(sum(x >= 0.5 for x in t), self.min), self.largest)
        members = set(order[:size])
        return tuple(item for i, item in enumerate(self.items) if i in members)


@dataclass(frozen=True, slots=True)
class Const:
    """A value that is not searched; it has no column in the unit cube. Lists become tuples."""

    value: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", plain(self.value))

    @property
    def columns(self) -> int:
        return 0

    def count(self) -> float:
        """One."""
        return 1

    def sample(self, rng: Generator) -> Any:  # noqa: ARG002
        return self.value

    def canonical(self, value: Any) -> Any:
        try:
            same = identical(plain(value), self.value)
        except SpaceError:
            same = False
        if not same:
            raise SpaceError(f"{value!r} is not the constant {self.value!r}")
        return self.value

    def contains(self, value: Any) -> bool:
        return _contains(self, value)

    def encode(self, value: Any) -> tuple[float, ...]:  # noqa: ARG002
        return ()

    def decode(self, u: Sequence[float]) -> Any:  # noqa: ARG002
        return self.value


Domain = Float | Int | Choice | Subset | Const


@lru_cache(maxsize=256)
def _steps(low: float, high: float, step: float | None) -> int:
    """How many steps there are from `low` to `high`, by the decimal digits that were written."""
    return int((Decimal(repr(high)) - Decimal(repr(low))) / Decimal(repr(step)) + Decimal("1e-9"))


def _contains(domain: Domain, value: Any) -> bool:
    try:
        domain.canonical(value)
    except SpaceError:
        return False
    return True
