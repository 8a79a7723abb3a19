"""A trial made again: its study replays the chain of its ancestors with their seeds, and asks for its points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searchd import again, views
from searchd.errors import Refused, SearchdError
from searchd.replay import replay
from searchd.wire import JobSpec
from spaces.study import Study
from tests.support.world import World, spec

HERD = spec(
    search={"scheduler": "pbt", "searcher": "pbt", "r": 1, "R": 8, "eta": 2,
            "options": {"population": 4, "explore": ["x"]}},
    budget={"trials": 16}, seed=5,
)  # fmt: skip
GROWN = spec(
    search={"scheduler": "asha", "searcher": "evolution", "r": 1, "R": 9, "eta": 3,
            "options": {"morph": 1, "grow": ["k"], "startup": 3}},
    space={"x": {"float": [0, 1]}, "k": {"int": [1, 64], "log": True}}, budget={"trials": 14}, seed=7,
)  # fmt: skip
NETS = spec(
    space={"width": {"int": [4, 16]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0]}},
    objectives={"val_error": "minimize", "latency_ms": "minimize"}, task="classify", budget={"trials": 6},
)  # fmt: skip


def reader_of(world: World, study: str) -> again.Read:
    """The views of one study, as a client reads them."""

    def read(view: str) -> Any:
        with world.store.reading() as reader:
            match view.partition("/"):
                case ("", _, _):
                    return views.summary(reader, study, world.time)
                case ("spec", _, _):
                    return dict(reader.study(study).spec)
                case (_, _, n):
                    return views.trial(reader, study, int(n))

    return read


def descendant(world: World, study: str, least: int) -> int:
    """A trial that reported and has `least` ancestors or more."""
    read = reader_of(world, study)
    with world.store.reading() as reader:
        trials = [row.trial for row in reader.trials(study)]

    def depth(trial: int) -> int:
        above = read(f"trials/{trial}")["parent"]
        return 0 if above is None else 1 + depth(above["trial"])

    return next(t for t in reversed(trials) if depth(t) >= least and read(f"trials/{t}")["points"])


def trainings(world: World, trials: set[int]) -> dict[int, list[JobSpec]]:
    found: dict[int, list[JobSpec]] = {}
    for job in world.fleet.dispatched:
        if job.kind == "train" and job.trial in trials:
            found.setdefault(job.trial, []).append(job)
    return found


@pytest.mark.parametrize(("said", "how", "least"), [(HERD, "copy", 2), (GROWN, "morph", 1)])
def test_the_chain_of_ancestors_is_trained_again(
    world: World, tmp_path_factory: pytest.TempPathFactory, said: dict[str, Any], how: str, least: int
) -> None:
    """Each ancestor gets its config and seed, is trained to where its weights were taken, and hands them on the same
    way; the study that does it replays."""
    study = world.submit(said)
    assert world.run(study) == "done"
    trial = descendant(world, study, least)
    made = again.reproduction(reader_of(world, study), trial)
    chain = made["reproduces"]["trials"]
    assert [one["begins"] for one in chain] == ["fresh", *[how] * (len(chain) - 1)]
    assert len(chain) > least
    assert chain[-1]["trial"] == trial
    first = trainings(world, {one["trial"] for one in chain})
    second = World(tmp_path_factory.mktemp("again"), slots=2)
    try:
        new = second.submit(Study.parse(made).dump())
        assert second.run(new) == "done"
        found = trainings(second, set(range(len(chain))))
        assert [len(found[i]) for i in range(len(chain))] == [1] * len(chain)
        for i, one in enumerate(chain):
            old, (job,) = first[one["trial"]][0], found[i]
            assert (job.config, job.nested, job.seed) == (old.config, old.nested, old.seed)
            assert (job.since, job.until, job.study_seed) == (old.since, one["until"], old.study_seed)
            for was, now in ((old.checkpoint, job.checkpoint), (old.parent, job.parent)):
                assert (was is None) == (now is None)
                if was is not None and now is not None:
                    assert was.step == now.step
            if job.parent is not None and old.parent is not None:
                assert (job.parent.nested, job.parent.trial) == (old.parent.nested, i - 1)
        with second.store.reading() as reader:
            assert replay(reader, new).equal
            front = views.front(reader, new)
        assert [p["trial"] for p in front] == [len(chain) - 1], "ancestors are on no front"
    finally:
        second.close()


def test_where_the_weights_could_not_be_taken_there_is_no_ancestor() -> None:
    """A child that began from nothing all the same, as the log says, is made again from nothing."""
    known: dict[str, Any] = {
        "": {"id": "s-1"}, "spec": {**Study.parse(GROWN).dump()},
        "trials/4": {"config": {"x": 0.5, "k": 8}, "points": [{"point": 0, "step": 3, "metrics": {"loss": 1.0}}],
                     "parent": {"trial": 1, "step": 1, "morphed": True, "taken": False}},
    }  # fmt: skip
    (one,) = again.reproduction(known.__getitem__, 4)["reproduces"]["trials"]
    assert (one["trial"], one["until"], one["begins"]) == (4, 3, "fresh")


def finish(world: World, said: dict[str, Any]) -> str:
    study = world.submit(said)
    assert world.run(study) == "done"
    return study


def test_an_export_is_asked_for_the_points_of_the_file(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A built-in task's export gets the study that makes it again; that study's own export is asked for the same
    points, whatever its training reports, and they become its front."""
    study = finish(world, NETS)
    job = next(j for j in world.fleet.dispatched if j.kind == "export")
    assert job.reproduce is not None
    chosen = {"point": 7, "selects": {"thresholds": [0.25]}, "recorded": {"test_error": 5.0, "latency_ms": 1.0}}
    made = {**job.reproduce, "reproduces": {**job.reproduce["reproduces"], "points": [chosen]}}
    assert [p["point"] for p in job.reproduce["reproduces"]["points"]] == [p["point"] for p in job.points]
    assert job.reproduce["reproduces"]["study"] == study
    second = World(tmp_path_factory.mktemp("again"))
    try:
        new = finish(second, Study.parse(made).dump())
        trains = [j for j in second.fleet.dispatched if j.kind == "train"]
        old = next(j for j in world.fleet.dispatched if j.kind == "train" and j.trial == job.trial)
        assert (trains[0].seed, trains[0].config) == (old.seed, old.config)
        (export,) = [j for j in second.fleet.dispatched if j.kind == "export"]
        assert export.points == ({"thresholds": [0.25], "point": 7},)
        assert export.reproduce is not None
        assert export.reproduce["reproduces"] == Study.parse(made).dump()["reproduces"], "a copy of a copy is the same"
        with second.store.reading() as reader:
            (point,) = views.front(reader, new)
        assert (point["point"], point["verified"], point["metrics"]["thresholds"]) == (7, True, [0.25])
        assert point["metrics"]["test_error"] == 5.0
    finally:
        second.close()


def test_nothing_else_is_trained_there(world: World) -> None:
    """A reproduction takes no config of the user's and no deeper R: it trains what it was given."""
    study = finish(world, HERD)
    made = again.reproduction(reader_of(world, study), descendant(world, study, 1))
    new = world.submit(Study.parse(made).dump())
    with pytest.raises(SearchdError, match="trains the trials that it was given"):
        world.loop.inject(new, {"x": 0.5, "k": 2})
    assert world.run(new) == "done"


def test_a_race_cannot_be_made_again() -> None:
    """Figures that a clock decided are refused, with what to do instead."""
    said = {"task": {"command": ["x"], "instances": ["a"]}}
    with pytest.raises(Refused, match=r"race that a clock decided.*inject"):
        again.reproduction({"spec": said, "trials/0": {"points": []}}.__getitem__, 0)


def test_what_a_users_export_writes(world: World, tmp_path: Path) -> None:
    """Config, card and file; the line of the card names the folder of the code; what the task left stays."""
    study = finish(world, HERD)
    trial = descendant(world, study, 1)
    (tmp_path / "config.json").write_text("mine")
    files = again.write(reader_of(world, study), trial, tmp_path, Path("/where/it is"))
    assert sorted(f.name for f in files) == ["card.json", "reproduce.yaml"]
    assert (tmp_path / "config.json").read_text() == "mine"
    assert "searchd run reproduce.yaml --path '/where/it is'" in (tmp_path / "card.json").read_text()
    assert Study.load(tmp_path / "reproduce.yaml").reproduces is not None
