"""Random spaces as a study file would say them, for laws; and one study that most tests edit."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from numpy.random import Generator, Philox

STUDY = """\
study: digits
space:
  width: {int: [8, 32], log: true}
  depth: {int: [1, 3]}
  kernel: {choice: [3, 5], ordered: true}
  optimizer:
    choice:
      sgd: {lr: {float: [0.001, 1], log: true}, momentum: {float: [0.0, 0.99]}}
      adamw: {lr: {float: [1e-5, 1e-2], log: true}}
  bits: {repeat: depth, choice: [2, 4, 8, 32], ordered: true}
  exits: {subset: [0, 1]}
  batch_size: 64
constraints: ["width * depth <= 60"]
objectives:
  val_error: minimize
  latency_ms: {goal: minimize, at_most: 5}
  bytes: minimize
search: {scheduler: asha, searcher: random, r: 1, R: 27, eta: 3}
budget: {trials: 60}
task: classify
"""
"""20 lines; `width` is line 3, `sgd` line 8, the constraint line 13."""


def rng(seed: int = 0) -> Generator:
    """A generator that depends on the seed alone."""
    return Generator(Philox(key=seed))


def _range(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)


words = st.sampled_from(["a", "b", "c", "d", "e", "left", "right", "up"])
plain = st.one_of(st.integers(-5, 5), st.sampled_from(["x", "y", "no", "1e-3", ""]), st.none(), st.just(0.5))
floats = st.one_of(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted).map(lambda b: {"float": b}),
    st.tuples(st.floats(1e-9, 1e3), st.floats(1.0, 1e6)).map(lambda b: {"float": [b[0], b[0] * b[1]], "log": True}),
    st.integers(1, 30).map(lambda n: {"float": [0, n * 0.1], "step": 0.1}),
    st.floats(0.0, 1.0).map(lambda m: {"float": [0, 1], "prior": {"mean": m, "sd": 0.05}}),
    st.floats(0.01, 1.0).map(lambda m: {"float": [0.01, 1], "log": True, "prior": {"mean": m, "sd": 0.5}}),
)
ints = st.one_of(
    _range(-100, 100).map(lambda b: {"int": b}),
    _range(1, 5000).map(lambda b: {"int": b, "log": True}),
    st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(1, 9)).map(
        lambda t: {"int": [t[0], t[0] + t[1] * t[2]], "step": t[1]}
    ),
)
choices = st.builds(
    lambda options, ordered: {"choice": options, "ordered": ordered},
    st.lists(plain, min_size=1, max_size=5, unique=True),
    st.booleans(),
)
weighted = (
    st.lists(st.integers(0, 5), min_size=2, max_size=4)
    .filter(any)
    .map(lambda w: {"choice": [f"o{i}" for i in range(len(w))], "prior": {"weights": w}})
)
subsets = st.lists(plain, min_size=1, max_size=5, unique=True).flatmap(
    lambda items: (
        st.tuples(st.integers(0, len(items)), st.integers(0, len(items)))
        .map(sorted)
        .map(lambda m: {"subset": items, "min": m[0], "max": m[1]})
    )
)
consts = st.one_of(plain, st.lists(st.integers(0, 3), max_size=3).map(lambda v: {"const": v}))
discrete = st.one_of(ints, choices, subsets, consts)
leaves = st.one_of(floats, ints, choices, weighted, subsets, consts)
steps_of_ints = st.just({"int": [0, 2], "schedule": {"piecewise": [1, 4]}})
schedules = st.one_of(
    steps_of_ints,
    st.lists(st.integers(1, 81), min_size=2, max_size=4, unique=True)
    .map(sorted)
    .map(lambda knots: {"float": [1e-4, 1], "log": True, "schedule": {"piecewise": knots}}),
)


def _repeated(spec: Any, repeat: Any) -> Any:
    if isinstance(spec, dict) and "schedule" in spec:
        return spec
    return {**(spec if isinstance(spec, dict) else {"const": spec}), "repeat": repeat}


def _nest(leaf: st.SearchStrategy[Any], inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    nested = st.dictionaries(st.sampled_from(["sgd", "adam-w", "2"]), inner, min_size=1, max_size=3)
    conditional = nested.map(lambda options: {"choice": options})
    return st.one_of(leaf, conditional)


def spaces(leaf: st.SearchStrategy[Any] = leaves) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings that parse: every kind of domain, nested choices, repeats by number and by name (`n`), schedules."""
    leaf = st.one_of(leaf, leaf, leaf, schedules if leaf is leaves else steps_of_ints)
    flat = st.dictionaries(words, leaf, min_size=1, max_size=4)
    level = _nest(leaf, flat)
    level = _nest(leaf, st.dictionaries(words, level, max_size=3))
    one = st.one_of(level, st.builds(_repeated, level, st.sampled_from([0, 1, 2, "n"])))
    count = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(sorted).map(lambda b: {"int": b})
    return st.builds(
        lambda parameters, n, first: {"n": n, **parameters} if first else {**parameters, "n": n},
        st.dictionaries(words, one, min_size=1, max_size=4),
        count,
        st.booleans(),
    )
