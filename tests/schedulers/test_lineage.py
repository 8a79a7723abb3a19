"""The scheduler and the searcher of a reproduction: given trials, one after the other."""

from __future__ import annotations

import pytest
from numpy.random import Generator, Philox

from searchd.errors import SpaceError
from searchd.schedulers.events import (
    Deepened,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Losses,
    Lost,
    Reported,
    Start,
    Wait,
)
from searchd.schedulers.lineage import Lineage
from searchd.search.events import Job
from searchd.search.search import Search
from searchd.searchers.base import History, Morphed
from searchd.searchers.lineage import Given
from spaces.forms import ReplayedForm
from spaces.parse import parse_space
from spaces.study import Study

SPACE = parse_space({"x": {"int": [0, 9]}})


def given(*trials: tuple[int, int, str, int]) -> list[ReplayedForm]:
    return [ReplayedForm(trial=n, until=u, config={"x": x}, begins=b) for n, u, b, x in trials]  # type: ignore[arg-type]


def test_one_after_the_other_with_the_weights_of_the_one_before() -> None:
    """Nothing starts beside a running trial; a copy starts at its parent's step; only the last one is judged."""
    line = Lineage([4, 9, 3], [False, True, False])
    first = line.ask()
    assert first == Start(0, 4, "trained again to step 4")
    assert line.peek() == line.ask() == Wait()
    assert not line.is_rung(0, 4)
    assert line.tell(Reported(0, 4, (Losses((1.0,)),))) == ()
    assert line.tell(Lost(0)) == ()
    line.tell(Finished(0, 4))
    copy = line.peek()
    assert isinstance(copy, Start)
    assert (copy.trial, copy.until, copy.parent, copy.since) == (1, 9, 0, 4)
    assert line.ask() == copy
    line.tell(Finished(1, 9))
    last = line.ask()
    assert isinstance(last, Start)
    assert (last.trial, last.parent, last.since) == (2, None, 0)
    assert (line.is_rung(2, 3), line.is_rung(2, 2), line.is_rung(1, 9)) == (True, False, False)
    line.tell(Extended(99))
    line.tell(Finished(2, 3))
    assert line.ask() == Exhausted()
    assert line.ladders() == ((3,),)


def test_after_a_failure_there_is_nothing_to_begin_with() -> None:
    """A failed ancestor ends the reproduction."""
    line = Lineage([4, 9], [False, True])
    line.ask()
    line.tell(Failed(0))
    assert line.ask() == Exhausted()


@pytest.mark.parametrize("event", [Injected(0), Deepened(27)])
def test_nothing_else_is_taken(event: Injected | Deepened) -> None:
    """No config of the user's, no deeper R."""
    with pytest.raises(ValueError, match="trains the trials that it was given"):
        Lineage([4], [False]).tell(event)


@pytest.mark.parametrize(("until", "copies"), [([], []), ([1], [True]), ([0], [False]), ([1, 2], [False])])
def test_impossible_lineages(until: list[int], copies: list[bool]) -> None:
    """One that is empty, begins with a copy, has a step below 1, or lists of two lengths, is refused."""
    with pytest.raises(ValueError, match="a lineage needs"):
        Lineage(until, copies)


def test_configs_come_as_they_were() -> None:
    """A morph names the one before it; a trial that is not there is a bug that is told."""
    searcher, rng = Given(given((5, 2, "fresh", 1), (6, 2, "morph", 2))), Generator(Philox(key=0))
    history = History(SPACE)
    assert dict(searcher.suggest(0, history, rng)) == {"x": 1}  # type: ignore[call-overload]
    child = searcher.suggest(1, history, rng)
    assert isinstance(child, Morphed)
    assert (child.parent, dict(child.config)) == (0, {"x": 2})
    with pytest.raises(SpaceError, match="number 2"):
        searcher.suggest(2, history, rng)


def reproduction(**more: object) -> Study:
    return Study.parse({
        "study": "again", "space": {"x": {"int": [0, 9]}}, "objectives": {"loss": "minimize"},
        "search": {"scheduler": "fifo", "searcher": "random", "R": 4}, "task": "m:f",
        "reproduces": {"study": "s", "trials": [t.model_dump() for t in given((5, 2, "fresh", 3), (9, 4, "copy", 3))]},
        **more,
    })  # fmt: skip


def test_a_copy_may_have_the_config_of_its_parent() -> None:
    """Though it is there already, the same config is trained, and none that is drawn."""
    from searchd.search.events import Finished as Done

    search = Search(reproduction())
    first = search.ask()
    assert isinstance(first, Job)
    assert (dict(first.config), first.until) == ({"x": 3}, 2)
    search.tell(Done(0, 2))
    second = search.ask()
    assert isinstance(second, Job)
    assert (dict(second.config), second.parent, second.since, second.until) == ({"x": 3}, 0, 2, 4)


def test_a_config_that_is_refused_has_no_stand_in() -> None:
    """Where a bound on what is known before training is broken, nothing is drawn in its place: nothing starts, and the
    note says why."""
    nets = {
        "study": "again", "space": {"width": {"int": [4, 64]}}, "task": "classify",
        "objectives": {"val_error": "minimize", "bytes": {"goal": "minimize", "at_most": 2000}},
        "reproduces": {"study": "s", "trials": [{"trial": 1, "until": 2, "config": {"width": 64}}]},
    }  # fmt: skip
    from searchd.search.events import Exhausted as Over

    search = Search(Study.parse(nets))
    assert search.ask() == Over()
    assert "breaks a bound" in search.note
