"""A `value` is a frozen slotted dataclass in everything but the time that it takes to make one."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from searchd.values import changer, value


@value
class Point:
    x: float
    y: float = 2.0
    seen: list[int] = field(default_factory=list, repr=False, compare=False)
    made: list[int] = field(default_factory=list, init=False)

    @property
    def sum(self) -> float:
        return self.x + self.y


def test_it_is_frozen_and_has_slots() -> None:
    """No field can be set, deleted or added, and there is no dictionary."""
    point = Point(1.0)
    with pytest.raises(FrozenInstanceError):
        point.x = 3.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    with pytest.raises((FrozenInstanceError, TypeError)):
        point.z = 3.0  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")
    assert type(point) is Point


def test_it_is_made_as_a_dataclass_is() -> None:
    """By place and by name, with defaults; each instance has its own list; a wrong call is a TypeError."""
    assert Point(1.0) == Point(x=1.0, y=2.0) != Point(1.0, 3.0)
    assert repr(Point(1.0, 3.0)) == "Point(x=1.0, y=3.0, made=[])"
    assert Point(1.0).seen is not Point(1.0).seen
    assert Point(1.0).made is not Point(1.0).made
    assert Point(1.0, seen=[4]).seen == [4]
    for wrong in ((), (1.0, 2.0, [], [])):
        with pytest.raises(TypeError):
            Point(*wrong)  # type: ignore[arg-type]


def test_it_is_copied_and_taken_apart_as_a_dataclass_is() -> None:
    """`replace`, `copy`, `pickle`, patterns and `fields` know it; a change of fields leaves the old one as it was."""
    point = Point(1.0, 5.0)
    assert [f.name for f in fields(Point)] == ["x", "y", "seen", "made"]  # type: ignore[arg-type]
    for same in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert same == point
        assert type(same) is Point
    assert replace(point, y=7.0) == Point(1.0, 7.0)  # type: ignore[type-var]
    match point:
        case Point(x, y):
            assert (x, y, point.sum) == (1.0, 5.0, 6.0)
    changed = changer(Point)
    assert changed(point, {"y": 9.0}) == Point(1.0, 9.0)
    assert type(changed(point, {})) is Point
    assert point.y == 5.0
    with pytest.raises(AttributeError):
        changed(point, {"z": 1.0})


def test_equal_values_of_two_kinds_differ() -> None:
    """The hash is that of the fields, and equality asks for the kind."""

    @value
    class Other:
        x: float

    @value
    class Single:
        x: float

    assert Other(1.0) != Single(1.0)
    assert hash(Other(1.0)) == hash(Other(1.0))
    assert {Other(1.0), Other(1.0), Other(2.0)} == {Other(1.0), Other(2.0)}


def test_what_it_cannot_make_is_said_at_once() -> None:
    """A base or a `__post_init__` would be passed over."""
    with pytest.raises(TypeError, match="plain dataclass"):

        @value
        class Child(Point):  # type: ignore[misc]
            z: float = 0.0

    with pytest.raises(TypeError, match="plain dataclass"):

        @value
        class After:
            x: float

            def __post_init__(self) -> None:
                raise AssertionError

