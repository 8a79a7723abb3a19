"""Features: snapping is what the space itself does, distances mean something, inactive parameters tell nothing."""

from __future__ import annotations

from math import isclose
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.searchers.features import Features
from spaces.domains import Float
from spaces.space import Space
from tests.support.spaces import rng, spaces

TREE = Space.parse(
    {
        "x": {"float": [0, 1]},
        "kind": {"choice": {"sgd": {"lr": {"float": [0.1, 1]}}, "adam": {"b": {"float": [0, 1]}}, "no": {}}},
        "depth": {"int": [0, 3]},
        "bits": {"repeat": "depth", "choice": [2, 4, 8], "ordered": True},
        "heads": {"subset": ["a", "b"], "min": 1},
        "flag": {"choice": [True, False]},
        "fixed": 3,
        "one": {"choice": ["only"]},
    }
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_snap_is_what_the_space_does(said: dict[str, Any], seed: int) -> None:
    """Snapped points read as the same config, on the same point that `encode` gives it, NaN where inactive."""
    space = Space.parse(said)
    features = Features(space)
    units = np.random.default_rng(seed).random((4, space.width)) * 1.2 - 0.1
    found = features.snap(units)
    for row, unit in zip(found, units.clip(0, 1), strict=True):
        config, again = (
            space.walk(lambda name, domain, at=at: domain.decode(at[space[name].columns].tolist()))  # type: ignore[misc]
            for at in (unit, row)
        )
        assert list(again) == list(config)
        for name in config:
            same = isinstance(space[name].domain, Float) and isclose(again[name], config[name], abs_tol=1e-9)
            assert same or again[name] == config[name]
            if not isinstance(space[name].domain, Float):
                assert np.allclose(row[space[name].columns], space.encode(config)[space[name].columns])
        assert np.array_equal(np.isnan(row), np.isnan(space.encode(config)))
    assert np.allclose(features.snap(np.nan_to_num(found, nan=0.3)), found, atol=1e-9, rtol=0, equal_nan=True)
    rows = features(found)
    assert rows.shape == (4, features.d)
    assert np.isfinite(rows).all()
    assert ((rows >= 0) & (rows <= 1)).all()


def test_no_points_are_no_rows() -> None:
    """Zero points, as the trials that are pending often are: zero rows of all columns."""
    space = Space.parse({"k": {"choice": ["a", "b", "c"]}, "x": {"float": [0, 1]}, "f": {"choice": [True, False]}})
    for each in (Features(space), Features(TREE)):
        assert each(np.empty((0, each.space.width))).shape == (0, each.d)
        assert each.snap(np.empty((0, each.space.width))).shape == (0, each.space.width)


def test_columns_and_groups() -> None:
    """One column a number, one an option above two, one for two options, one an item; none for a single value."""
    features = Features(TREE)
    names = [features.names[g] for g in features.groups]
    assert sorted(set(names)) == sorted(
        ["x", "kind", "kind.sgd.lr", "kind.adam.b", "depth", "bits.0", "bits.1", "bits.2", "heads", "flag"]
    )
    assert [names.count(n) for n in ("x", "kind", "depth", "heads", "flag", "bits.1")] == [1, 3, 1, 2, 1, 1]
    assert abs(features.active - (5 + 2 / 3 + 0.75 + 0.5 + 0.25)) < 1e-9


def test_distances() -> None:
    """Two different options are 1 apart, whichever they are; what a config switches off is neutral."""
    features = Features(TREE)
    base: dict[str, Any] = {"x": 0.5, "depth": 0, "heads": ("a",), "flag": True, "fixed": 3, "one": "only"}
    said: list[dict[str, Any]] = [
        {"kind": "no"}, {"kind": "adam", "kind.adam.b": 0.5}, {"kind": "sgd", "kind.sgd.lr": 1.0},
        {"kind": "no", "flag": False},
    ]  # fmt: skip
    rows = features(np.array([TREE.encode(TREE.complete({**base, **more})) for more in said]))
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert abs(distance[0, 1] - 1) < 1e-9
    assert abs(distance[0, 2] - np.hypot(1, 0.5)) < 1e-9
    assert abs(distance[0, 3] - 1) < 1e-9


def test_jitter_moves_something_that_counts() -> None:
    """Every jittered point is another config nearby, also where most parameters are switched off; none leaves the
    space, and with a tiny step numbers stay near."""
    features = Features(TREE)
    start = features.snap(np.tile(TREE.encode(TREE.sample(rng(4))), (200, 1)))
    near = features.jitter(start, np.full((200, 1), 0.05), np.full((200, 1), 0.1), rng(1))
    assert np.array_equal(features.snap(np.nan_to_num(near, nan=0.3)), near, equal_nan=True)
    changed = ~((near == start) | (np.isnan(near) & np.isnan(start))).all(axis=1)
    assert changed.mean() > 0.5
    same = np.abs(near[:, 0] - start[:, 0])
    assert same.max() < 0.3


def test_redraw_keeps_what_it_does_not_move() -> None:
    """A redrawn point differs from where it started in a coordinate at least, and with a small probability in few; its
    numbers come from the whole range, the ends as often as the margin says; choices are drawn evenly."""
    features = Features(Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}, "kind": {"choice": list("abcd")}}))
    start = features.snap(np.tile([[0.3, 0.6, 0.1]], (6000, 1)))
    out = features.redraw(start, np.full((6000, 1), 0.01), 0.2, rng(1))
    moved = out != start
    assert 0.9 < moved.sum(axis=1).mean() < 1.1
    x = out[moved[:, 0], 0]
    assert 0.1 < (x == 0).mean() < 0.19  # 0.2 / 1.4 at each end
    assert 0.1 < (x == 1).mean() < 0.19
    counts = np.bincount((out[moved[:, 2], 2] * 4).astype(int), minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 0.8 * counts[1:].max()


def test_redraw_fills_what_a_choice_switches_on() -> None:
    """Every redrawn point is a config of the space as it stands, nested parameters and all."""
    features = Features(TREE)
    start = features.snap(np.tile(TREE.encode(TREE.sample(rng(4))), (300, 1)))
    out = features.redraw(start, np.full((300, 1), 0.3), 0.2, rng(1))
    assert np.array_equal(features.snap(np.nan_to_num(out, nan=0.3)), out, equal_nan=True)
    for row in out:
        config = TREE.walk(lambda name, domain, row=row: domain.decode(row[TREE[name].columns].tolist()))
        assert np.allclose(TREE.encode(config), row, atol=1e-12, equal_nan=True)


def test_a_space_of_constants() -> None:
    """A space with nothing to search has no column, and still draws and jitters."""
    features = Features(Space.parse({"a": 1}))
    assert (features.d, features.active) == (0, 0.0)
    assert features(features.jitter(features.draw(3, rng()), np.ones((3, 1)), np.ones((3, 1)), rng())).shape == (3, 0)
    assert features.redraw(features.draw(3, rng()), np.ones((3, 1)), 0.2, rng()).shape == (3, features.width)
