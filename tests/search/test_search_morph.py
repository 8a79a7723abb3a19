"""A search whose searcher names parents: what a job says of them, and that everything follows from the log."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.log import answer_payload
from searchd.replay import brought
from searchd.search.events import Exhausted, Failed, Finished, Job, Reported
from searchd.search.facts import Facts
from searchd.search.recalling import recall
from searchd.search.search import Search
from searchd.searchers.base import Morphed
from spaces.config import Config
from spaces.describe import unfit_weights
from tests.support.chaos import chaos
from tests.support.studies import FUNCTION, NETS, ask, run, study

SPACE = {"k": {"int": [1, 64], "log": True}, **FUNCTION["space"]}
EVOLVED = {"scheduler": "asha", "searcher": "evolution", "brackets": None, "options": {"morph": 0.6, "startup": 4}}


def toys(**changes: Any) -> Any:
    search = {**EVOLVED, "options": {**EVOLVED["options"], "grow": ["k"]}}
    return study(FUNCTION, space=SPACE, search=search, **changes)


class Given:
    """A searcher that says what a test gives it."""

    def __init__(self, *said: Any) -> None:
        self.said = said

    def suggest(self, trial: int, *_: Any) -> Any:
        return self.said[trial]


def begun(first_ends: bool) -> tuple[Search, Job, Config, Config]:
    """Trial 0 trained one step (or is at it); the next one is to be its child."""
    spec = toys()
    small = spec.space.complete({"k": 4, "x": 0.5, "lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.5}})
    large = spec.space.complete({"k": 8, "x": 0.5, "lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.5}})
    search = Search(spec, searcher=Given(small, Morphed(large, 0)))
    search.tell(Reported(ask(search).trial, 1, {"loss": 1.0}))
    if first_ends:
        search.tell(Finished(0, 1))
    return search, ask(search), small, large


def test_a_job_names_the_parent_and_why() -> None:
    """A child starts at step 0, names its parent's last durable step, and its reason says what was changed."""
    _, job, _, large = begun(first_ends=True)
    assert (job.trial, job.config, job.since, job.parent, job.morph) == (1, large, 0, 0, 1)
    assert job.reason.endswith("from the weights of trial 0 at step 1, morphed by k 4 -> 8")
    assert answer_payload(job) | {"parent": 0, "morph": 1} == answer_payload(job)


def test_a_parent_without_a_checkpoint_is_none() -> None:
    """Its job runs still: the child begins from nothing, and says so."""
    search, job, _, _ = begun(first_ends=False)
    assert (job.parent, job.morph) == (None, None)
    assert job.reason.endswith("from nothing: trial 0 has no durable checkpoint to morph")
    assert "morphed" not in brought(search, set())[1]
    assert "parent" not in answer_payload(job)


def test_a_failed_parent_is_none() -> None:
    """Its weights are not to be trusted."""
    spec = toys()
    configs = [spec.space.sample(__import__("numpy").random.default_rng(n)) for n in range(2)]
    search = Search(spec, searcher=Given(configs[0], Morphed(configs[1], 0)))
    search.tell(Finished(ask(search).trial, 1, {"loss": 1.0}))
    search.tell(Failed(0, "it broke"))
    assert ask(search).parent is None


@pytest.mark.parametrize("searcher", ["evolution", "mo-evolution"])
def test_children_of_the_built_in_task_fit(searcher: str) -> None:
    """In a whole search every child's network can take over its parent's, and some children there are."""
    spec = study(NETS, search={**EVOLVED, "searcher": searcher}, budget={"trials": 40})
    search = Search(spec)
    jobs = [job for job in run(search, 3) if job.morph is not None]
    assert len(jobs) > 5
    for job in jobs:
        assert job.parent is not None
        parent = search.trials[job.parent]
        assert unfit_weights(spec.task, spec.space, parent.config, job.config) is None
        assert 0 < job.morph <= parent.step
        assert job.since == 0


@pytest.mark.parametrize("objectives", [1, 3])
@pytest.mark.parametrize("searcher", ["evolution", "mo-evolution"])
@pytest.mark.parametrize("scheduler", ["auto", "asha", "hyperband", "stopping", "fifo", "pasha"])
def test_a_search_in_trouble(scheduler: str, searcher: str, objectives: int) -> None:
    """Whatever happens, a search that is rebuilt from the log's configs and parents alone gives the same answers, and
    one whose first half is rebuilt goes on as the live one did."""
    base = toys(budget={"trials": 18}, seed=3) if objectives == 1 else study(NETS, budget={"trials": 18}, seed=3)
    options = {"morph": 0.8, "startup": 4, **({"grow": ["k"]} if objectives == 1 else {})}
    named = {"scheduler": scheduler, "searcher": searcher, "brackets": None, "options": options}
    spec = base.model_copy(update={"search": base.search.model_copy(update=named)})
    live = Search(spec)
    log = chaos(live, len(scheduler) + objectives, 4, 90, deeper=1, most=20)
    for share in (1.0, 0.5):
        recorded: dict[int, Config | Morphed] = {}
        for new in brought(live, set())[: int(len(live.trials) * share)]:
            config = Config(new["config"])
            known = Morphed(config, new["morphed"]["parent"]) if "morphed" in new else config
            recorded[new["trial"]] = known
        again = Search(spec, seed=3)
        again.recorded = recorded
        for event, answer in log:
            assert (again.ask() if event is None else again.tell(event)) == answer
        assert dict(again.trials) == dict(live.trials)


def test_a_rebase_keeps_the_parent() -> None:
    """A child that had not begun when the rules changed is due with its parent's weights of then."""
    search, job, small, large = begun(first_ends=True)
    facts = Facts()
    facts.came(0, small)
    facts.came(1, large, (0, 1))
    facts.happened(Reported(0, 1, {"loss": 1.0}))
    facts.happened(Finished(0, 1))
    new = Search(search.study)
    recall(new, facts)
    found = ask(new)
    assert (found.trial, found.parent, found.morph) == (1, 0, 1)
    assert found.reason.endswith(job.reason.rpartition("; ")[2])
    assert not isinstance(new.ask(), Exhausted)


def test_a_child_that_is_there_already_is_refused() -> None:
    """A config is taken whoever is its parent: the searcher is asked again, and hears which one it was."""
    space = toys().space
    small, large = (
        space.complete({"k": k, "x": 0.5, "lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.5}}) for k in (4, 8)
    )

    class Twice:
        def suggest(self, trial: int, history: Any, _: Any) -> Any:
            if trial == 0:
                return small
            return Morphed(large if small in history.rejected else small, 0)

    search = Search(toys(), searcher=Twice())
    search.tell(Reported(ask(search).trial, 1, {"loss": 1.0}))
    search.tell(Finished(0, 1))
    job = ask(search)
    assert (job.config, job.parent, job.morph) == (large, 0, 1)
