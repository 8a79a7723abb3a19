"""`Space`: the shapes that its users rely on, by example (the laws are in tests/laws)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spaces.config import Config
from spaces.errors import SpaceError, StudyError
from spaces.space import Space
from spaces.study import Study
from tests.support.spaces import STUDY, rng

SPACE = Study.loads(STUDY).space
FLAT = {
    "width": 16, "depth": 2, "kernel": 3, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "optimizer.sgd.momentum": 0.9,
    "bits.0": 4, "bits.1": 8, "exits": [0], "batch_size": 64,
}  # fmt: skip
NESTED = {
    "width": 16, "depth": 2, "kernel": 3, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "bits": [4, 8],
    "exits": [0], "batch_size": 64,
}  # fmt: skip


def without(*names: str) -> dict[str, object]:
    return {k: v for k, v in FLAT.items() if k not in names}


def test_flat_names_and_the_nested_form() -> None:
    """Flat names carry option and index; the nested form is what a training function reads."""
    assert SPACE.names == (
        "depth", "width", "kernel", "optimizer", "optimizer.sgd.lr", "optimizer.sgd.momentum", "optimizer.adamw.lr",
        "bits.0", "bits.1", "bits.2", "exits", "batch_size",
    )  # fmt: skip
    config = SPACE.complete(FLAT)
    assert config == Config(FLAT)
    assert SPACE.nested(config) == NESTED
    assert SPACE.complete(NESTED) == config
    assert SPACE.complete(without("batch_size")) == config
    assert SPACE.active(FLAT) == tuple(n for n in SPACE.names if n in FLAT)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**FLAT, "widht": 3}, r"widht is no parameter of this space: did you mean 'width'"),
        ({**FLAT, "bits.2": 4}, r"bits.2 is not active: it needs depth > 2"),
        ({**FLAT, "optimizer.adamw.lr": 1e-3}, r"optimizer.adamw.lr is not active: it needs optimizer = adamw"),
        (without("kernel"), r"kernel is missing: give a value"),
        ({**FLAT, "width": 99}, r"width: 99 is outside \[8, 32\]"),
        ({**FLAT, "optimizer": "sdg"}, r"^optimizer: 'sdg' is not one of the options: 'sgd', 'adamw'$"),
        ({**FLAT, "batch_size": 32}, r"batch_size is fixed at 64, not 32: leave it out"),
        ({**FLAT, "bits.5": 4}, r"bits.5 is no parameter"),
        ({**without("depth"), "x": 1}, r"depth is missing.*x is no parameter"),
        ({**FLAT, "width": 31}, r"constraint 'width \* depth <= 60' does not hold"),
        ({**FLAT, "exits": [0, 2]}, r"exits: 2 is not one of the items"),
        ({**NESTED, "optimizer": {"name": "sgd", "lr": 0.1, "beta": 1}}, r"optimizer.sgd.beta is no parameter"),
        ({**NESTED, "bits": [4, 8, 8]}, r"bits.2 is not active"),
    ],
)
def test_a_users_config_is_refused_with_all_its_problems(values: dict[str, object], said: str) -> None:
    """Unknown, inactive, missing and wrong names each say so, with the remedy."""
    with pytest.raises(SpaceError, match=said):
        SPACE.complete(values)


def test_an_unknown_slot_suggests() -> None:
    """Asking for a parameter by a wrong name suggests the right one."""
    assert SPACE["bits.1"].condition() == "depth > 1"
    with pytest.raises(SpaceError, match="did you mean 'width'"):
        SPACE["widht"]


def test_a_chooser_outside_its_domain_is_refused() -> None:
    """`walk` names the parameter whose chosen value is not in its domain."""
    with pytest.raises(SpaceError, match="depth: 7 is outside"):
        SPACE.walk(lambda _, __: 7)


def test_a_repair_stays_near() -> None:
    """Repairing a feasible config changes nothing; an infeasible one changes only what the constraint reads."""
    good = SPACE.complete(FLAT)
    assert SPACE.repair(good, rng()) == good
    bad = SPACE.walk(lambda name, _: 31 if name == "width" else FLAT[name])
    assert not SPACE.feasible(bad)
    assert SPACE.violated(bad) == ("width * depth <= 60",)
    mended = SPACE.repair(bad, rng())
    assert SPACE.feasible(mended)
    changed = {n for n in good if mended.get(n) != bad[n]}
    assert changed <= {"width", "depth", "bits.1"} or len(changed) <= 3


def test_repair_repeats_and_points_repair_the_same_way() -> None:
    """A point of the unit cube that breaks a constraint always becomes the same config."""
    fixed = {"width": 32, "depth": 3}
    u = SPACE.encode(SPACE.walk(lambda name, domain: fixed.get(name, domain.sample(rng()))))
    first = SPACE.from_unit(u)
    assert SPACE.feasible(first)
    assert all(SPACE.from_unit(u) == first for _ in range(3))
    with pytest.raises(SpaceError, match="has shape"):
        SPACE.from_unit(np.zeros(3))


def test_counts() -> None:
    """Size sums over conditional options and counts of repeats; sub-spaces list each combination of options."""
    assert SPACE.size() == math.inf
    space = Space.parse(
        {
            "n": {"int": [1, 3]},
            "b": {"repeat": "n", "choice": [2, 4]},
            "o": {"choice": {"x": {"p": {"int": [1, 5]}}, "y": {}}},
            "q": {"choice": {"u": None, "v": {"w": {"repeat": "n", "subset": [0, 1]}}}},
        }
    )
    assert space.size() == sum(2**n * 6 * (1 + 4**n) for n in (1, 2, 3))
    assert [dict(s.options) for s in space.subspaces()] == [
        {"o": "x", "q": "u"}, {"o": "x", "q": "v"}, {"o": "y", "q": "u"}, {"o": "y", "q": "v"},
    ]  # fmt: skip
    assert space.subspaces()[0].names == ("n", "b.0", "b.1", "b.2", "o", "o.x.p", "q")
    assert len(space.subspaces(limit=3)) == 3


def test_an_inner_scope_counts_by_the_nearest_name() -> None:
    """A repeat counts by the int of its own scope, and by an outer one when there is none."""
    inner = {
        "a": {"n": {"const": 2}, "xs": {"repeat": "n", "int": [0, 1]}},
        "b": {"xs": {"repeat": "n", "int": [0, 1]}},
    }
    space = Space.parse({"o": {"choice": inner}, "n": {"const": 1}})
    assert space.names == ("n", "o", "o.a.n", "o.a.xs.0", "o.a.xs.1", "o.b.xs.0")
    assert space.nested(space.walk(lambda _, d: d.decode((0.1,)))) == {"n": 1, "o": {"name": "a", "n": 2, "xs": [0, 0]}}


def test_repeated_conditional_parameters() -> None:
    """Each element of a repeated choice brings its own nested parameters."""
    space = Space.parse({"l": {"repeat": 2, "choice": {"conv": {"k": {"choice": [3, 5]}}, "skip": {}}}})
    config = space.complete({"l": [{"name": "conv", "k": 5}, {"name": "skip"}]})
    assert dict(config) == {"l.0": "conv", "l.0.conv.k": 5, "l.1": "skip"}
    assert space.nested(config) == {"l": [{"name": "conv", "k": 5}, {"name": "skip"}]}


def test_limits_keep_a_space_small() -> None:
    """A space of more than 4,096 flat names, or nested deeper than 16, is refused."""
    big = {f"p{i}": {"repeat": 256, "int": [0, 1]} for i in range(17)}
    with pytest.raises(StudyError, match="more than 4096 flat parameters"):
        Space.parse(big)
    deep: dict[str, object] = {"x": 1}
    for _ in range(18):
        deep = {"c": {"choice": {"o": deep}}}
    with pytest.raises(StudyError, match="nested more than 16 deep"):
        Space.parse(deep)


def test_sampling_is_quick() -> None:
    """A thousand constrained samples and their nested forms take well under a second and a half."""
    import time

    draw = rng()
    start = time.process_time()
    for _ in range(1000):
        SPACE.nested(SPACE.sample(draw))
    assert time.process_time() - start < 1.5  # CPU seconds; about 0.12 on one core
