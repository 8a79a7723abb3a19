"""R is raised by the study itself: when, how far, at what price, and the same whatever crashes on the way."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.engine import asking
from searchd.engine.raising import raised
from searchd.engine.turn import Turn
from searchd.errors import StudyError
from searchd.plan import plan
from searchd.views.logs import log
from searchd.views.overview import summary
from spaces.study import Study
from tests.support.world import World, spec

TOL = {"max_resource": 27, "deepen_tol": 0.45}
"""The toy's loss falls by 50 %, 60 % and 64 % from step 1 to 3, 9 and 27 where x is good."""


def search(scheduler: str = "fifo", **options: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "searcher": "random", "r": 1, "R": 3, "eta": 3, "options": options}


def reached(world: World, study: str) -> tuple[int, int]:
    """R as it is, and how many steps were reported."""
    with world.store.reading() as reader:
        return reader.study(study).spec["search"]["R"], len(reader.reports(study))


def test_it_goes_on_while_the_winner_improves(world: World) -> None:
    """From 3 to 9 and to 27, as far as allowed: each step is trained once, the log says why, it replays, and `show`
    tells the last one."""
    study = world.submit(spec(space={"x": {"float": [0.29, 0.31]}}, search=search(**TOL), budget={"trials": 3}))
    assert world.run(study) == "done"
    assert reached(world, study) == (27, 81)
    assert set(world.fleet.trained.values()) == {1}
    events = world.events(study, "deepened")
    assert [event.payload["R"] for event in events] == [9, 27]
    loss = {step: 1 / (1 + step) for step in (1, 3, 9)}
    for event, before, after in zip(events, (1, 3), (3, 9), strict=True):
        share = float(event.payload["why"].partition("improved by ")[2].partition(" %")[0])
        assert share == pytest.approx(100 * (loss[before] - loss[after]) / loss[before], abs=0.1)
        assert event.payload["why"].endswith(f"from epoch {before} to {after}")
    world.check(study)
    with world.store.reading() as reader:
        assert summary(reader, study, world.time)["remark"].startswith("R was raised to 27, for trial ")
        assert any("R was raised to 9, for trial" in entry["text"] for entry in log(reader, study))


@pytest.mark.parametrize(
    ("changes", "R"),
    [
        ({"search": search(max_resource=27, deepen_tol=0.55), "budget": {"trials": 3}}, 3),
        ({"search": search(max_resource=27, deepen_tol=0.45), "budget": {"trials": 3}}, 27),
        ({"search": search(max_resource=9, deepen_tol=0.1), "budget": {"trials": 3}}, 9),
        ({"search": search(max_resource=27, deepen_tol=0.1), "budget": {"trials": 3, "steps": 9}}, 3),
        ({"search": search(max_resource=27, deepen_tol=0.1), "budget": {"trials": 3, "steps": 10}}, 9),
        ({"search": search(), "budget": {"trials": 3}}, 3),
        ({"search": search("asha", max_resource=27), "budget": {"trials": 3}}, 3),  # one at the top: nobody goes up
        ({"search": search("asha", max_resource=27), "budget": {"trials": 27}}, 27),
        ({"search": search("auto", max_resource=27), "budget": {"trials": 6}}, 27),
        ({"search": search("hyperband", max_resource=9)}, 9),
        ({"search": search(max_resource=27), "budget": {"trials": 3},
          "objectives": {"loss": {"goal": "minimize", "at_most": 0.0}}}, 3),  # nobody keeps the bound: no winner
    ],
    ids=str,
)  # fmt: skip
def test_when_it_is(world: World, changes: dict[str, Any], R: int) -> None:
    """By the tolerance, the limit, the budget, and whether anybody would train on; without the option never."""
    study = world.submit(spec(**{"space": {"x": {"float": [0.2999, 0.3001]}}, **changes}))
    assert world.run(study) == "done"
    assert reached(world, study)[0] == R
    world.check(study)


@pytest.mark.parametrize("point", ["before commit", "after commit", "before publish", "after publish"])
def test_a_crash_changes_nothing(world: World, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon ends around the commit that raises R: it is raised once each time, and every step is there once."""
    armed: set[int] = set()

    def then_crash(turn: Turn) -> bool:
        found = raised(turn)
        if found and turn.study.search.R not in armed:
            armed.add(turn.study.search.R)
            world.faults.arm(point)
        return found

    monkeypatch.setattr(asking, "raised", then_crash)
    study = world.submit(spec(space={"x": {"float": [0.29, 0.31]}}, search=search(**TOL), budget={"trials": 2}))
    assert world.run(study) == "done"
    assert world.crashes == 2
    assert reached(world, study) == (27, 54)
    assert [event.payload["R"] for event in world.events(study, "deepened")] == [9, 27]
    world.check(study)


def test_after_the_user_did(world: World) -> None:
    """R raised by hand beyond what the study may do itself stays there, and the study can still be read."""
    study = world.submit(spec(search=search(max_resource=9, deepen_tol=9.0), budget={"trials": 3}))
    world.run(study)
    world.loop.deepen(study, 27)
    assert world.run(study) == "done"
    assert reached(world, study)[0] == 27
    world.restart()
    world.check(study)


@pytest.mark.parametrize("scheduler", ["hyperband", "fifo"])
def test_the_price_is_what_it_takes(world: World, scheduler: str) -> None:
    """Where numbers are exact, `plan` names the steps that are trained in the end."""
    budget = {} if scheduler == "hyperband" else {"trials": 4}
    said = spec(space={"x": {"float": [0.29, 0.31]}}, search=search(scheduler, max_resource=9), budget=budget)
    (note,) = [note for note in plan(Study.parse(said))["notes"] if note.startswith("R is raised by eta, up to 9")]
    study = world.submit(said)
    world.run(study)
    R, steps = reached(world, study)
    assert R == 9
    assert f"about {steps} epochs" in note
    assert "more than 1 %" in note
    assert any("max_resource = 3 is not above R = 3" in note
               for note in plan(Study.parse(spec(search=search(max_resource=3))))["notes"])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        ({"max_resource": 10}, {}, "10 is not R = 3 times a power of eta = 3: choose 9 or 27"),
        ({"max_resource": 2}, {}, "2 is not R = 3 times a power of eta = 3: choose 9"),
        ({"deepen_tol": 0.1}, {}, "add max_resource"),
        ({"max_resource": 27}, {"objectives": {"loss": "minimize", "size": "minimize"}}, "add order: single"),
    ],
)
def test_what_is_refused(options: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    """Each with the place and the remedy."""
    with pytest.raises(StudyError, match=said):
        Study.parse(spec(search=search("asha", **options), **changes))
    two = {"loss": "minimize", "size": "minimize"}
    one = search("asha", max_resource=27, order="single", objective="size")
    assert Study.parse(spec(search=one, objectives=two)).search.R == 3
