"""Constraints: what may be said, what is refused, and how far a config is from holding."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.constraints import Constraint
from spaces.errors import SpaceError, StudyError
from spaces.space import Space
from tests.support.spaces import rng

NAMES = ("width", "depth", "bits.0", "bits.1", "optimizer", "optimizer.sgd.lr", "tag")
SCOPE = {
    "width": 16, "depth": 2, "bits.0": 4, "bits.1": 8, "bits": [4, 8], "optimizer": "sgd", "optimizer.sgd.lr": 0.1,
    "tag": "x",
}  # fmt: skip


def parse(text: Any) -> Constraint:
    return Constraint.parse(text, NAMES, ("bits",))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("width * depth <= 32", True),
        ("width * depth < 32", False),
        ("8 <= width <= 16", True),
        ("sum(bits) >= 12", True),
        ("bits[0] < bits[1]", True),
        ("bits[-1] == 8", True),
        ("max(bits) - min(bits) == 3", False),
        ("len(bits) == depth", True),
        ("all(b >= 4 for b in bits)", True),
        ("any([b > 8 for b in bits])", False),
        ("optimizer == 'sgd'", True),
        ("optimizer.sgd.lr < 0.05", False),
        ("optimizer != 'sgd' or width > 20", False),
        ("not depth > 1", False),
        ("(width if depth > 1 else 0) > 8", True),
        ("optimizer in ['sgd', 'lion']", True),
        ("log2(width) == 4", True),
        ("bits[7] == 1", True),
        ("bits[depth] == 1", True),
        ("1 / (width - 16) > 0", False),
        ("width ** 9999 > 0", False),
        ("tag * 3 == 'xxx'", True),
        ("depth and width", True),
    ],
)
def test_an_expression_holds_or_not(text: str, holds: bool) -> None:
    """Expressions follow Python; one beyond the active elements does not apply, one that cannot be computed fails."""
    assert (parse(text).violation(SCOPE) == 0.0) is holds


def test_an_inactive_name_makes_a_constraint_not_apply() -> None:
    """A constraint that reads a parameter that is not there holds."""
    scope = {k: v for k, v in SCOPE.items() if k != "optimizer.sgd.lr"}
    assert parse("optimizer.sgd.lr > 99").violation(scope) == 0.0
    assert parse("optimizer.sgd.lr * width > 99").violation(scope) == 0.0


def test_violation_is_smaller_when_nearer() -> None:
    """How far a comparison is from holding orders configs, so that repair can climb."""
    constraint = parse("width <= 10 and depth >= 1")
    far, near = (constraint.violation({**SCOPE, "width": w}) for w in (1000, 11))
    assert far > near > 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("widht * 2 < 3", r"'widht'.* is no parameter: did you mean 'width'"),
        ("optimizer.sgd.rl < 1", r"'optimizer.sgd.rl'.*did you mean 'optimizer.sgd.lr'"),
        ("width <", r"is not an expression"),
        ("", r"is not an expression"),
        (3, r"3 is not an expression: write one as text"),
        ("1 < 2", r"reads no parameter"),
        ("width.real > 1", r"'width.real'.*is no parameter"),
        ("().__class__ and width", r"is no parameter"),
        ("__import__('os').system('x') or width", r"is no parameter|is no function"),
        ("eval('1') + width > 0", r"'eval'.* is no function here"),
        ("open('f') or width", r"no function"),
        ("smu(bits) > 1", r"did you mean 'sum'"),
        ("(lambda: 1)() + width", r"no function|not allowed"),
        ("width << 99999", r"LShift is not allowed"),
        ("[x for x in bits if (y := 1)] and width", r"NamedExpr is not allowed"),
        ("{**{}} or width", r"Dict is not allowed"),
        ("f'{width}' == '16'", r"JoinedStr is not allowed"),
        ("max(bits, key=abs) > 1", r"keyword arguments"),
        ("width > 1j", r"use numbers and strings"),
        ("all(width > 1 for width in bits)", r"'width'.*is a parameter's name"),
        ("width; depth", r"is not an expression"),
        ("width = 3", r"is not an expression"),
        ("width > " + "1+" * 600 + "1", r"more than 1000: split"),
        ("(" * 400 + "width" + ")" * 400, r"not an expression|nested too deeply"),
        ("-" * 900 + "width > 0", r"nested too deeply"),
    ],
)
def test_what_is_not_arithmetic_is_refused(text: Any, said: str) -> None:
    """Everything but arithmetic on known names is refused with a message; nothing is ever executed."""
    with pytest.raises(SpaceError, match=said):
        parse(text).violation(SCOPE)


def test_mixed_types_say_which_expression() -> None:
    """Text compared with a number names the expression."""
    with pytest.raises(SpaceError, match=r"'optimizer < 3' cannot be computed"):
        parse("optimizer < 3").violation(SCOPE)


@pytest.mark.parametrize("text", ["9**9**9**9 > width", "width ** 4000000 ** 2 > 0", "tag * 10 ** 9 == 'x'"])
def test_no_expression_takes_long(text: str) -> None:
    """Towers of powers and long strings end at once."""
    start = time.process_time()
    with suppress(SpaceError):
        parse(text).violation(SCOPE)
    assert time.process_time() - start < 0.5


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="width depth bits[0]().<>=+-*/%'\"0123:,_sum{}@~|&^!if or and not in lambda for", max_size=60))
def test_any_text_parses_or_is_a_space_error(text: str) -> None:
    """Law: no text makes the parser or the evaluator raise anything but SpaceError."""
    with suppress(SpaceError):
        parse(text).violation(SCOPE)


def test_rare_constraints_are_sampled_without_endless_rejection() -> None:
    """One config in 10,000 is feasible: sampling still ends at once, and the acceptance rate says how rare it is."""
    space = Space.parse({"a": {"int": [0, 99]}, "b": {"int": [0, 99]}}, ["a == 99 - b", "a == 37"])
    assert dict(space.sample(rng())) == {"a": 37, "b": 62}
    assert space.acceptance(rng(), 500) < 0.01


def test_mild_constraints_keep_the_distribution() -> None:
    """Where a share of draws is feasible, samples are uniform over the feasible set (plain rejection)."""
    space = Space.parse({"a": {"int": [0, 3]}, "b": {"int": [0, 3]}}, ["a + b <= 3"])
    draw = rng()
    counts: dict[str, int] = {}
    for _ in range(3000):
        config = space.sample(draw)
        counts[config.json()] = counts.get(config.json(), 0) + 1
    assert len(counts) == 10
    assert all(230 < n < 370 for n in counts.values())  # 300 expected, standard deviation 16


def test_unreachable_constraints_are_named() -> None:
    """A constraint that nothing satisfies is a problem when the space is read, and so is a set that cannot hold."""
    space = {"a": {"int": [0, 9]}, "b": {"float": [0, 1]}}
    with pytest.raises(StudyError, match=r"constraints\[1\]: .* satisfies 'a \* b > 9.5' \(a in \[0, 9\], b"):
        Space.parse(space, ["a > 1", "a * b > 9.5"])
    with pytest.raises(StudyError, match=r"constraints: each can hold, but no config was found for all of 'a > 5'"):
        Space.parse(space, ["a > 5", "a < 5"])
    with pytest.raises(StudyError, match=r"cannot be computed"):
        Space.parse({"a": {"choice": ["x", "y"]}}, ["a < 3"])
