"""Rules that several domains share, each with its message: value, rule, remedy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spaces.errors import SpaceError

Scalar = bool | int | float | str | None
DEEPEST = 16
"""Lists and mappings inside each other, in constants and options."""


def unit(x: float) -> float:
    """`x` when it is in [0, 1] (NaN is not)."""
    if not 0.0 <= x <= 1.0:
        raise SpaceError(f"{x!r} is not in the unit interval [0, 1]")
    return float(x)


def number(value: Any) -> int | float | None:
    """`value` as a Python number, or None when it is none (booleans, and ints beyond any float, are none)."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, int) and value.bit_length() > 1000 else value


def check_range(
    low: float, high: float, log: bool, step: float | None, prior: tuple[float, float] | None, *, whole: bool
) -> None:
    """A range with a log scale or a step, and a prior's (mean, sd). `whole`: an int range."""
    for bound in (low, high):
        if number(bound) is None or not math.isfinite(bound) or abs(bound) > 1e300:
            raise SpaceError(f"a range needs two finite numbers below 1e300, but one is {bound!r}")
    if low > high:
        raise SpaceError(f"the range [{low}, {high}] is empty: the low end comes first; did you mean [{high}, {low}]?")
    if log and low <= 0:
        floor = "to 1" if whole else "above 0, say to 1e-6"
        raise SpaceError(f"a log scale needs low > 0, but low = {low}: raise it {floor}, or leave log out")
    if step is not None and log:
        raise SpaceError("log and step do not go together: leave one out, or list the values in an ordered choice")
    if step is not None and (not math.isfinite(step) or step <= 0):
        raise SpaceError(f"step = {step} must be above 0")
    if step is not None and high > low and step > high - low:
        raise SpaceError(f"step = {step} is larger than the range [{low}, {high}], so only {low} is left: lower it")
    if prior is not None:
        mean, sd = prior
        if not (math.isfinite(sd) and sd > 0):
            raise SpaceError(f"a prior needs sd > 0, but sd = {sd}: widen it, or leave the prior out")
        if not low <= mean <= high:
            raise SpaceError(f"the prior's mean {mean} is outside [{low}, {high}]: move it inside")


def check_scalars(values: tuple[Scalar, ...], what: str, parts: str) -> None:
    """At least one, all plain and finite, no two equal (1, 1.0 and true are)."""
    if not values:
        raise SpaceError(f"{what} needs at least one of its {parts}, but the list is empty")
    seen: dict[Scalar, Scalar] = {}
    for value in values:
        if not isinstance(value, bool | int | float | str) and value is not None:
            raise SpaceError(f"{value!r} is not a number, string, boolean or null: {parts} are plain values")
        if isinstance(value, float) and not math.isfinite(value):
            raise SpaceError(f"{value!r} is not finite: {parts} are finite")
        if value in seen:
            raise SpaceError(f"{seen[value]!r} and {value!r} are equal: {parts} must differ")
        seen[value] = value


def index(values: tuple[Scalar, ...], value: Any, what: str) -> int:
    """Where `value` is among `values`; SpaceError when it is not."""
    if isinstance(value, np.generic):
        value = value.item()
    for i, known in enumerate(values):
        if isinstance(known, bool) == isinstance(value, bool) and known == value:
            return i
    raise SpaceError(f"{value!r} is not {what}: {', '.join(repr(v) for v in values[:12])}")


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value with tuples for lists; SpaceError for anything else: NaN, infinity, mappings, deep nesting."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return tuple(plain(v, depth + 1) for v in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"{value!r} is not finite: a constant is finite")
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    why = f"is nested deeper than {DEEPEST}" if isinstance(value, list | tuple) else "is no plain value"
    raise SpaceError(f"{repr(value)[:40]} {why}: use numbers, strings, true, false, null, or a list of them")


def jsonable(value: Any, depth: int = 0) -> Any:
    """`value` itself when it is JSON, mappings too; ValueError (for pydantic) when it is not."""
    if isinstance(value, dict) and depth < DEEPEST and all(isinstance(k, str) for k in value):
        for inner in value.values():
            jsonable(inner, depth + 1)
    elif isinstance(value, list) and depth < DEEPEST:
        for inner in value:
            jsonable(inner, depth + 1)
    else:
        try:
            plain(value, depth)
        except SpaceError as error:
            raise ValueError(str(error)) from None
    return value


def identical(a: Any, b: Any) -> bool:
    """Equal, and not a boolean on one side only (1 == True in Python)."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
