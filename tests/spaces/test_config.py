"""A config is its canonical JSON: what is written alike is equal, and nothing else."""

from __future__ import annotations

import hashlib
from itertools import combinations
from math import inf, nan

import pytest

from spaces.config import Config


def test_numbers_that_are_written_otherwise_are_others() -> None:
    """1, 1.0 and true are three configs, as they are three digests, though Python calls them equal; -0.0 is not 0.0."""
    several = [Config({"x": v}) for v in (1, 1.0, True, 0, 0.0, -0.0, False, "1", None, (1,), (1.0,))]
    assert all(a != b and a.digest != b.digest for a, b in combinations(several, 2))
    assert len(set(several)) == len(several)


def test_equal_configs() -> None:
    """The order of names and the kind of a list make no difference: equal, one hash, one digest."""
    one, other = Config({"a": [1, 2], "b": 0.5}), Config({"b": 0.5, "a": (1, 2)})
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest == hashlib.sha256(one.json().encode()).hexdigest()[:16]
    assert one.json() == '{"a":[1,2],"b":0.5}'
    assert "a" in one
    assert "c" not in one


@pytest.mark.parametrize("value", [nan, inf, -inf, [0.0, nan]])
def test_what_json_cannot_say_is_no_config(value: object) -> None:
    """A number that is not finite is refused when the config is made, not when somebody asks for its JSON."""
    with pytest.raises(ValueError, match="finite"):
        Config({"x": value})
