"""`Search` and a user's task that describes configs by jobs: once a config, before any training, and what it vetoes."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.errors import SpaceError
from searchd.search.events import Described, Exhausted, Failed, Finished, Injected, Job, Reported, Stopped, Vetoed, Wait
from searchd.search.search import Search
from searchd.searchers.base import History
from searchd.searchers.table import VETOED
from spaces.config import Config
from spaces.study import Study

SAID: dict[str, Any] = {
    "study": "described",
    "space": {"k": {"int": [1, 9]}},
    "objectives": {"loss": "minimize", "size": {"goal": "minimize", "at_most": 50}},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 9},
    "task": {"function": "toys.module:train", "describe": "toys.module:describe"},
}


class Listed:
    """Answers these values of `k` in their order, then the last again and again."""

    def __init__(self, *values: int) -> None:
        self.values = list(values)
        self.rejected: list[tuple[Config, ...]] = []

    def suggest(self, trial: int, history: History, rng: Any) -> Config:  # noqa: ARG002
        self.rejected.append(history.rejected)
        value = self.values[0] if len(self.values) == 1 else self.values.pop(0)
        return Config({"k": value})


def search(*values: int, **changes: Any) -> Search:
    return Search(Study.parse({**SAID, **changes}), searcher=Listed(*values) if values else None)


def ask(search: Search) -> Job:
    answer = search.ask()
    assert isinstance(answer, Job), answer
    return answer


def test_a_trial_begins_with_its_description() -> None:
    """The first job says what is exact, then the trial trains, and every report has it."""
    s = search(3, 4)
    job = ask(s)
    assert (job.kind, job.trial, job.since, job.until) == ("describe", 0, 0, 0)
    assert s.trials[0].state == "waiting"
    assert s.tell(Described(0, {"size": 30.0})) == ()
    train = ask(s)
    assert (train.kind, train.trial, train.until) == ("train", 0, 1)
    s.tell(Reported(0, 1, {"loss": 2.0}))
    assert s.trials[0].losses[1][0].values == (2.0, 30.0)
    assert s.front()[0].metrics == {"loss": 2.0, "size": 30.0}
    assert s.exact(Config({"k": 3})) == {"size": 30.0}
    assert s.exact(Config({"k": 4})) == {}


def test_what_was_reported_wins() -> None:
    """A task that reports a metric which it described is believed."""
    s = search(3)
    ask(s)
    s.tell(Described(0, {"size": 30.0}))
    ask(s)
    s.tell(Reported(0, 1, {"loss": 2.0, "size": 31.0}))
    assert s.front()[0].metrics["size"] == 31.0


def test_a_broken_bound_vetoes_before_training() -> None:
    """A described metric beyond its bound ends the trial; it takes no place in a rung, and the search goes on."""
    s = search(6, 3)
    ask(s)
    s.tell(Described(0, {"size": 60.0}))
    assert (s.trials[0].state, s.trials[0].reason) == ("vetoed", "size = 60, at most 50 allowed")
    assert ask(s).trial == 1
    s.tell(Described(1, {"size": 30.0}))
    ask(s)
    s.tell(Finished(1, 1, {"loss": 1.0}))
    assert s.trials[1].state == "paused"
    assert [p.trial for p in s.front()] == [1]
    assert s.history.at(1)[0] == ()  # for the searcher it failed on its way to the first rung
    assert s.history.table.state[0] == VETOED


def test_a_vetoed_trial_raises_no_quota() -> None:
    """Of two real and four vetoed trials none is promoted at eta = 3: a veto is no entry of the rung."""
    s = search(6, 7, 8, 9, 1, 2, 3)
    for _ in range(4):
        s.tell(Described(ask(s).trial, {"size": 99.0}))
    for trial in (4, 5):
        assert (ask(s).trial, s.trials[trial].state) == (trial, "waiting")
        s.tell(Described(trial, {"size": 1.0}))
        assert (ask(s).trial, s.trials[trial].state) == (trial, "running")
        s.tell(Finished(trial, 1, {"loss": float(trial)}))
    assert ask(s).trial == 6


def test_the_task_may_veto() -> None:
    """A veto has the task's own reason; a config that was vetoed is not started again."""
    s = search(6, 6, 3)
    ask(s)
    s.tell(Vetoed(0, "no such kernel"))
    assert (s.trials[0].state, s.trials[0].reason) == ("vetoed", "no such kernel")
    job = ask(s)
    assert job.config == Config({"k": 3})
    assert isinstance(s.searcher, Listed)
    assert s.searcher.rejected[-1] == (Config({"k": 6}),)
    with pytest.raises(SpaceError, match="this config was vetoed: no such kernel"):
        s.tell(Injected(Config({"k": 6})))


def test_everything_vetoed_ends_the_search_with_the_reason() -> None:
    """A space of which nothing may be trained is exhausted, and the note says why."""
    s = search(space={"k": {"int": [6, 7]}})
    for k in (6, 7):
        job = ask(s)
        s.tell(Described(job.trial, {"size": 10.0 * k}))
    assert isinstance(s.ask(), Exhausted)
    assert "it was vetoed: size = " in s.note


def test_one_config_is_described_once() -> None:
    """The same config waits for its description while another trial's job brings it, and has it at once later."""
    s = search(3)
    ask(s)
    assert isinstance(s.ask(), Wait)
    s.tell(Described(0, {"size": 30.0}))
    assert [ask(s).kind for _ in range(3)] == ["train", "train", "train"]
    assert {r.config for r in s.trials.values()} == {Config({"k": 3})}


def test_brought_twins_are_vetoed_together() -> None:
    """A config that the user brought twice is vetoed twice by one job."""
    s = search(3)
    for _ in range(2):
        s.tell(Injected(Config({"k": 6})))
    assert ask(s).kind == "describe"
    s.tell(Vetoed(0, "no"))
    assert [s.trials[t].state for t in (0, 1)] == ["vetoed", "vetoed"]
    assert ask(s).trial == 2


@pytest.mark.parametrize("end", [Failed(0, "exception"), Stopped(0)])
def test_a_description_that_never_comes(end: Failed | Stopped) -> None:
    """When the job fails, or the user stops the trial, the config may be described again for another trial; late words
    change nothing."""
    s = search(3)
    ask(s)
    s.tell(end)
    before = s.trials[0]
    s.tell(Described(0, {"size": 1.0}))
    s.tell(Vetoed(0, "too late"))
    assert s.trials[0] == before
    again = ask(s)
    assert (again.trial, again.kind) == (1, "describe")


def test_a_late_veto_of_a_running_trial_changes_nothing() -> None:
    """A veto counts before training only."""
    s = search(3)
    ask(s)
    s.tell(Described(0, {"size": 1.0}))
    ask(s)
    s.tell(Vetoed(0, "too late"))
    assert s.trials[0].state == "running"
