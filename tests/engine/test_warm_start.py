"""A study that starts from earlier ones: looked up when it is submitted, stored with it, replayed without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchd.errors import NotFound, Refused
from searchd.folder import with_past
from spaces.study import Study
from tests.support.world import World, spec


def test_it_is_stored_with_the_study(world: World) -> None:
    """The new study holds what the earlier one found, at its deepest step with ten trials, and its log replays."""
    first = world.submit(spec(study="first", budget={"trials": 30}))
    world.run(first)
    second = world.submit(spec(study="second", warm_start=["first"], search={"searcher": "tpe"}))
    with world.store.reading() as reader:
        row = reader.study(second)
    assert row is not None
    (earlier,) = Study.parse(dict(row.spec)).earlier
    assert (earlier.name, earlier.study) == ("first", first)
    assert len(earlier.trials) >= 10
    best = earlier.trials[0]
    assert best.values == min(t.values for t in earlier.trials if t.values)
    assert abs(best.config["x"] - 0.3) < 0.3
    world.run(second)
    world.check(second)


def test_what_cannot_be_learned_from_is_refused(world: World) -> None:
    """A name that is not there, a study without the objective, without a report, of another space: told by name."""
    first = world.submit(spec(study="first"))
    with pytest.raises(Refused, match="nothing can be learned from 'first': it has no reports"):
        world.submit(spec(study="second", warm_start=["first"]))
    world.run(first)
    with pytest.raises(NotFound, match="warm_start: no study 'frist'; did you mean 'first'"):
        world.submit(spec(study="second", warm_start=["frist"]))
    with pytest.raises(Refused, match="its reports have no accuracy"):
        world.submit(spec(study="second", warm_start=["first"], objectives={"accuracy": "maximize"}))
    with pytest.raises(Refused, match="no trial of 'first' fits this space"):
        world.submit(spec(study="second", warm_start=["first"], space={"other": {"float": [0, 1]}}))


def test_folders_are_read_where_they_are(world: World) -> None:
    """A folder of a run is looked up by whoever submits; the daemon takes what was found as it is."""
    world.run(world.submit(spec(study="first")))
    said = Study.parse(spec(study="second", warm_start=[str(world.folder)]))
    found = with_past(said)
    assert [e.name for e in found.earlier] == [str(world.folder)]
    assert with_past(found) == found
    second = world.submit(found.dump())
    with world.store.reading() as reader:
        row = reader.study(second)
    assert row is not None
    assert Study.parse(dict(row.spec)) == found
    with pytest.raises(NotFound, match="no study 'nothing'"):
        with_past(said.model_copy(update={"warm_start": ("nothing",)}), Path(world.folder))
