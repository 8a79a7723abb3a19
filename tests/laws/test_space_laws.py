"""Laws of spaces: what is true for every space that a study file can say."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spaces.config import Config
from spaces.domains import Choice, Const, Float, Int
from spaces.errors import SpaceError, StudyError
from spaces.space import Space
from tests.support.spaces import discrete, rng, spaces

seeds = st.integers(0, 2**32)
few = settings(max_examples=60, deadline=None)


def _close(space: Space, a: Config, b: Config) -> bool:
    """Equal names; equal values, floats up to rounding in the unit cube."""
    if set(a) != set(b):
        return False
    for name in a:
        domain = space[name].domain
        if isinstance(domain, Float) and domain.step is None:
            if not np.allclose(domain.encode(a[name]), domain.encode(b[name]), atol=1e-9, rtol=0):
                return False
        elif a[name] != b[name]:
            return False
    return True


@few
@given(spaces(), seeds)
def test_a_sample_is_in_the_space(mapping: dict[str, Any], seed: int) -> None:
    """Law: a sample is complete, canonical and active, so completing it changes nothing."""
    space = Space.parse(mapping)
    config = space.sample(rng(seed))
    assert space.complete(config).json() == config.json()
    assert space.active(config) == tuple(n for n in space.names if n in config)


@few
@given(spaces(), seeds)
def test_the_nested_form_says_the_same(mapping: dict[str, Any], seed: int) -> None:
    """Law: what a training function reads completes to the config that it was made from, through JSON too."""
    space = Space.parse(mapping)
    config = space.sample(rng(seed))
    nested = json.loads(json.dumps(space.nested(config)))
    assert space.complete(nested) == config


@few
@given(spaces(), seeds)
def test_encode_and_from_unit_are_inverse(mapping: dict[str, Any], seed: int) -> None:
    """Law: a config becomes a point of the unit cube, NaN exactly where inactive, and comes back the same."""
    space = Space.parse(mapping)
    config = space.sample(rng(seed))
    u = space.encode(config)
    assert u.shape == (space.width,)
    for slot in space.slots:
        column = u[slot.columns]
        assert np.isnan(column).all() if slot.name not in config else ((column >= 0) & (column <= 1)).all()
    assert _close(space, space.from_unit(u), config)


@few
@given(spaces(), st.data())
def test_every_point_of_the_cube_is_a_config(mapping: dict[str, Any], data: st.DataObject) -> None:
    """Law: any point of the unit cube, its corners too, decodes to a config of the space, of canonical values to the
    last sign."""
    space = Space.parse(mapping)
    point = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5]), min_size=space.width, max_size=space.width)
    u = np.array(data.draw(point), dtype=float)
    config = space.from_unit(u)
    assert space.complete(config) == config
    walked = space.walk(lambda name, domain: domain.decode(u[space[name].columns].tolist()))
    assert repr(dict(space.decode(u))) == repr(dict(walked))


@few
@given(spaces(), seeds)
def test_parse_of_dump_is_the_identity(mapping: dict[str, Any], seed: int) -> None:
    """Law: a space read again from its dump, through JSON, is equal and samples the same configs."""
    space = Space.parse(mapping)
    again = Space.parse(json.loads(json.dumps(space.dump())))
    assert again == space
    assert again.names == space.names
    assert again.dump() == space.dump()
    assert again.sample(rng(seed)) == space.sample(rng(seed))


@few
@given(spaces(), seeds)
def test_a_walk_asks_for_each_active_parameter_once_in_order(mapping: dict[str, Any], seed: int) -> None:
    """Law: `walk` asks exactly for the active parameters that are not constants, in the order of `names`."""
    space = Space.parse(mapping)
    asked: list[str] = []
    draw = rng(seed)

    def choose(name: str, domain: Any) -> Any:
        asked.append(name)
        assert domain == space[name].domain
        return domain.sample(draw)

    config = space.walk(choose)
    assert asked == [n for n in space.names if n in config and not isinstance(space[n].domain, Const)]


@few
@given(spaces(discrete))
def test_size_counts_the_configs(mapping: dict[str, Any]) -> None:
    """Law: the size of a finite space is the number of different configs that walking every choice gives."""
    space = Space.parse(mapping)
    assume(space.size() <= 300)
    seen: set[str] = set()

    def values(domain: Any) -> list[Any]:
        if isinstance(domain, Int):
            return list(range(domain.low, domain.high + 1, domain.step))
        if isinstance(domain, Choice):
            return list(domain.options)
        return list({domain.decode(u) for u in product((0.2, 0.8), repeat=domain.columns)})

    def visit(chosen: dict[str, Any]) -> None:
        class Open(Exception):
            pass

        def choose(name: str, domain: Any) -> Any:
            if name not in chosen:
                raise Open(name, domain)
            return chosen[name]

        try:
            seen.add(space.walk(choose).json())
        except Open as at:
            name, domain = at.args
            for value in values(domain):
                visit({**chosen, name: value})

    visit({})
    assert len(seen) == space.size()


@few
@given(
    st.lists(
        st.sampled_from(["a + b <= {}", "a * b >= {}", "a == b", "sum(c) > {}", "c[0] != {}", "s.x.p < {}"]), max_size=3
    ),
    st.integers(0, 30),
    seeds,
)
def test_samples_and_points_honour_the_constraints(texts: list[str], bound: int, seed: int) -> None:
    """Law: a space either says that its constraints are unreachable, or each sample and decoded point keeps them."""
    mapping = {
        "a": {"int": [0, 9]}, "b": {"float": [0, 9], "step": 1}, "n": {"int": [0, 3]},
        "c": {"repeat": "n", "int": [0, 9]}, "s": {"choice": {"x": {"p": {"float": [0, 30]}}, "y": {}}},
    }  # fmt: skip
    try:
        space = Space.parse(mapping, [t.format(bound) for t in texts])
    except StudyError as error:
        assert "no config was found" in str(error)  # noqa: PT017
        return
    draw = rng(seed)
    for config in (space.sample(draw), space.from_unit(draw.random(space.width))):
        assert space.feasible(config)
        assert space.violated(config) == ()
        assert space.complete(config) == config


@few
@given(spaces(), seeds, st.data())
def test_a_broken_config_is_refused(mapping: dict[str, Any], seed: int, data: st.DataObject) -> None:
    """Law: a config with a name taken away, added or put out of its domain is a SpaceError that names it."""
    space = Space.parse(mapping)
    config = dict(space.sample(rng(seed)))
    name = data.draw(st.sampled_from(sorted(config)))
    how = data.draw(st.sampled_from(["missing", "unknown", "wrong"]))
    if how == "missing":
        assume(not isinstance(space[name].domain, Const))
        del config[name]
    elif how == "unknown":
        name = "nosuch"
        config[name] = 1
    else:
        config[name] = {"never": math.nan}
    with pytest.raises(SpaceError, match=name.replace(".", r"\.")):
        space.check(config)
