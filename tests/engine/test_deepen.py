"""`deepen`: the price to the digit, and a study that goes on from its checkpoints through crashes and restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searchd.deepen import deepening
from searchd.errors import NotFound, Refused, SearchdError, StudyError
from searchd.store import open_store
from searchd.store.base import Reader, Store
from tests.support.logged import HYPERBAND, logged
from tests.support.world import World, spec


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    yield opened
    opened.close()


def price(store: Store, R: int, trials: int | None = None) -> dict[str, Any]:
    with store.reading() as reader:
        return deepening(reader, "toy", R, trials)


@pytest.mark.parametrize(
    ("R", "eta", "trials", "evaluations", "restart", "resume", "fresh_evaluations", "fresh_restart"),
    [(16, 2, 41, 80, 756, None, 152, 1128), (9, 3, 32, 47, 345, 288, 69, 423), (27, 3, 94, 137, 1479, 1224, 206, 1902),
     (81, 3, 272, 405, 6555, 5250, 611, 8457)],
)  # fmt: skip
def test_the_price_to_the_digit(
    store: Store, R: int, eta: int, trials: int, evaluations: int, restart: int, resume: int | None,
    fresh_evaluations: int, fresh_restart: int,
) -> None:  # fmt: skip
    """ALGORITHMS 5.3 by the verb: extra evaluations and steps of a finished study, and those of a fresh search."""
    logged(store, R, eta)
    found = price(store, R * eta)
    assert found["exact"]
    assert (found["from"], found["to"]) == (R, R * eta)
    assert (found["extra"]["trials"], found["extra"]["evaluations"]) == (trials, evaluations)
    assert found["extra"]["steps_restart"] == restart
    assert (found["fresh"]["evaluations"], found["fresh"]["steps_restart"]) == (fresh_evaluations, fresh_restart)
    assert resume is None or found["extra"]["steps"] == resume  # 1581 - 357, 357 - 69, 6831 - 1581
    assert sum(rung["trials"] for rung in found["rungs"]) == evaluations
    assert sum(rung["new"] for rung in found["rungs"]) == trials
    assert found["notes"] == []


def test_two_steps_at_once(store: Store) -> None:
    """R · eta² costs what two deepenings would: everything of a fresh search but what is done."""
    logged(store, 9, 3)
    found = price(store, 81)
    assert found["extra"]["steps_restart"] == 1902 - 78


@pytest.mark.parametrize(("R", "nearest"), [(9, "27"), (10, "27"), (3, "27"), (28, "27 or 81"), (100, "81 or 243")])
def test_what_r_may_be(store: Store, R: int, nearest: str) -> None:
    """A value that is no R · eta^k is refused with the nearest that are."""
    logged(store, 9, 3)
    with pytest.raises(StudyError, match=f"{R} is not R = 9 times a power of eta = 3: choose {nearest}$"):
        price(store, R)
    with pytest.raises(NotFound), store.reading() as reader:
        deepening(reader, "nobody", 27)


def test_a_limit_on_trials_is_told(store: Store) -> None:
    """Where budget.trials leaves no room, the price is that of the promotions, and the number that fills the brackets
    is named; with it the price is the table's."""
    logged(store, 9, 3, limit=17)
    short = price(store, 27)
    assert short["extra"]["trials"] == 0
    assert "--trials 49" in " ".join(short["notes"])
    full = price(store, 27, trials=49)
    assert full["extra"]["steps_restart"] == 345
    assert full["notes"] == []


@pytest.mark.parametrize(
    "search", [{"scheduler": "asha"}, {"scheduler": "stopping"}, {"scheduler": "fifo"}, {"scheduler": "pasha"},
               {"scheduler": "async-hyperband"}, {"scheduler": "hyperband", "options": {"deepening": "preserving"}}],
    ids=lambda s: s["scheduler"],
)  # fmt: skip
def test_other_schedulers_have_a_price(store: Store, search: dict[str, Any]) -> None:
    """Every scheduler answers: what goes on trains from its checkpoint, and is less than a fresh search."""
    logged(store, 9, 3, limit=None if search["scheduler"] == "hyperband" else 27, **search)
    found = price(store, 27)
    assert found["exact"] == (search["scheduler"] == "fifo")
    assert 0 < found["extra"]["steps"] < found["fresh"]["steps"]
    assert found["resumed"] > 0


@pytest.mark.parametrize("scheduler", ["auto", "asha", "async-hyperband", "pasha", "stopping"])
@pytest.mark.parametrize("steps", [20, 45, 60, 90])
def test_no_price_is_below_nothing(world: World, scheduler: str, steps: int) -> None:
    """Where prices are expected ones no entry is negative, and the jobs are those of the rungs: a study that ended in
    the middle, with the trials that it had and with few more than have started."""
    study = world.submit(spec(search={**HYPERBAND, "scheduler": scheduler}, budget={"trials": 30, "steps": steps}))
    world.run(study)
    with world.store.reading() as reader:
        for R, trials in ((27, None), (81, None), (81, len(reader.trials(study)) + 3)):
            found = deepening(reader, study, R, trials)
            assert min(found["extra"].values()) >= 0
            assert all(rung["trials"] == rung["new"] + rung["promoted"] > 0 for rung in found["rungs"])
            assert all(rung["new"] >= 0 and rung["promoted"] >= 0 for rung in found["rungs"])
            assert found["extra"]["evaluations"] == sum(rung["trials"] for rung in found["rungs"])


def test_fewer_trials_than_have_started_are_refused(world: World) -> None:
    """A limit below those that have started would mean nothing: price and command say so, and nothing changes."""
    study = world.submit(spec(search={**HYPERBAND, "scheduler": "asha"}, budget={"trials": 9}))
    world.run(study)
    events = len(world.events(study))
    for trials in (1, 8):
        with pytest.raises(StudyError, match=f"9 trials have started, so that {trials} is no limit"):
            world.loop.deepen(study, 27, trials)
        with pytest.raises(StudyError, match="give 9 or more"), world.store.reading() as reader:
            deepening(reader, study, 27, trials)
    assert len(world.events(study)) == events


def test_where_nobody_would_go_up_nothing_happens(world: World) -> None:
    """One trial at the top of ASHA is none of the best third: a deepening without room for new trials is refused, by
    the price and by the command; with room it goes on."""
    study = world.submit(spec(search={**HYPERBAND, "scheduler": "asha"}, budget={"trials": 9}))
    assert world.run(study) == "done"
    events = len(world.events(study))
    with pytest.raises(Refused, match="nobody would train on to 27"):
        world.loop.deepen(study, 27)
    with pytest.raises(Refused, match="nobody would train on to 27"), world.store.reading() as reader:
        deepening(reader, study, 27)
    assert len(world.events(study)) == events
    with world.store.reading() as reader:
        assert deepening(reader, study, 27, 12)["extra"]["trials"] == 3
    world.loop.deepen(study, 27, 30)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert len(reader.trials(study)) == 30


def test_a_population_goes_on(store: Store) -> None:
    """Members of `pbt` that are done train on in legs, and copies take over from them: each leg costs its own steps."""
    search = {"scheduler": "pbt", "searcher": "pbt", "options": {"explore": ["x"], "population": 4}}
    logged(store, 4, 2, limit=12, **search)
    found = price(store, 8)
    assert 4 <= found["extra"]["steps"] <= 4 * 4
    assert found["rungs"][-1]["step"] == 8


def test_a_search_that_cannot_be_deepened(world: World) -> None:
    """`acband` spends its instances by a table of its own: that is told, not a bug, and changes nothing."""
    search = {"scheduler": "acband", "searcher": "random", "R": 500}
    task = {"command": ["solve", "{instance}"], "instances": [str(i) for i in range(600)], "cap_s": 5}
    study = world.submit(spec(search=search, task=task, objectives={"run_time_s": "minimize"}, budget={}))
    events = len(world.events(study))
    with pytest.raises(Refused, match="acband"), world.store.reading() as reader:
        deepening(reader, study, 1500)
    with pytest.raises(SearchdError, match="acband"):
        world.loop.deepen(study, 1500)
    assert len(world.events(study)) == events


def test_an_endless_search_counts_who_is_known(world: World) -> None:
    """Without budget.trials an asynchronous search never ends: only known trials are counted, and that is said."""
    study = world.submit(spec(search={**HYPERBAND, "scheduler": "asha"}, budget={"steps": 40}))
    world.run(study)
    with world.store.reading() as reader:
        found = deepening(reader, study, 27)
    assert found["extra"]["trials"] == 0
    assert "without end" in found["notes"][0]
    assert "budget of 40 epochs stays" in found["notes"][-1]


def bill(reader: Reader, study: str) -> int:
    return sum(job.until - job.since for job in reader.jobs(study) if job.kind == "train")


def test_a_finished_study_goes_on(world: World) -> None:
    """Deepened after its end: exactly the steps of the price are trained, none of them twice; the log replays, before
    and after a restart; the study file of today has the new R."""
    study = world.submit(spec(search=HYPERBAND, budget={}))
    assert world.run(study) == "done"
    with world.store.reading() as reader:
        found = deepening(reader, study, 27)
        before = bill(reader, study)
    world.loop.deepen(study, 27)
    with world.store.reading() as reader:
        assert all(trial.ended_at is None for trial in reader.trials(study)), "nobody is at the end any more"
    for _ in range(40):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    world.restart()
    assert world.run(study) == "done"
    world.check(study)
    assert set(world.fleet.trained.values()) == {1}, "no step is trained twice"
    with world.store.reading() as reader:
        assert bill(reader, study) - before == found["extra"]["steps"] == 357 - 69
        assert reader.study(study).spec["search"]["R"] == 27
        assert max(trial.step for trial in reader.trials(study)) == 27
        states = {trial.status for trial in reader.trials(study)}
    assert states == {"paused", "done"}
    assert [e.payload["R"] for e in world.events(study, "deepened")] == [27]


def test_a_running_study_is_deepened(world: World) -> None:
    """In the middle, with more trials at the same time: jobs go on, and the search ends at the new R."""
    study = world.submit(spec(search=HYPERBAND, budget={"trials": 17}))
    for _ in range(9):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()
    with world.store.reading() as reader:
        found = deepening(reader, study, 27, trials=49)
        done = bill(reader, study)
    world.loop.deepen(study, 27, 49)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert reader.study(study).spec["budget"]["trials"] == 49
        assert reader.study(study).spec["search"]["R"] == 27
        assert bill(reader, study) == 357
        assert found["extra"]["steps"] == 357 - 69
        assert done < 69
        assert len(reader.trials(study)) == 49


def test_what_deepen_refuses(world: World) -> None:
    """A value that is no R · eta^k changes nothing, neither does a faulted study."""
    study = world.submit(spec(search=HYPERBAND, budget={}))
    events = len(world.events(study))
    with pytest.raises(StudyError, match="choose 27 or 81"):
        world.loop.deepen(study, 30)
    assert len(world.events(study)) == events
    with pytest.raises(NotFound):
        world.loop.deepen("nobody", 27)
    world.loop._engines[study].quarantine("broken", "", 0.0)
    with pytest.raises(Refused, match="faulted: resume it first"):
        world.loop.deepen(study, 27)
