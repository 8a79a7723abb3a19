"""Laws of `Search`: what an engine relies on when it logs calls and replays them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.schedulers.events import TrialId
from searchd.search.events import Measured
from searchd.search.search import Search
from searchd.searchers.base import History
from spaces.config import Config
from tests.support.chaos import chaos
from tests.support.studies import FUNCTION, NETS, study


class Nobody:
    """A searcher that must not be asked."""

    def suggest(self, trial: TrialId, history: History, rng: Any) -> Config:
        raise AssertionError(f"asked for trial {trial} of {len(history.records)}, with {rng}")


@pytest.mark.parametrize("scheduler", ["fifo", "asha", "stopping", "hyperband", "async-hyperband"])
@pytest.mark.parametrize("base", [FUNCTION, NETS])
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 100))
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_replay(scheduler: str, base: dict[str, Any], seed: int, workers: int, turns: int) -> None:
    """The calls that changed something, made again with the recorded configs, give the same answers and front."""
    spec = study(base, search={"scheduler": scheduler, "brackets": None}, budget={"trials": 9})
    live = Search(spec)
    log = chaos(live, seed, workers, turns)
    again = Search(spec, searcher=Nobody())
    again.recorded = {t: r.config for t, r in live.trials.items()}
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert {t: r.state for t, r in again.trials.items()} == {t: r.state for t, r in live.trials.items()}
    assert again.front() == live.front()
    assert list(live.trials) == list(range(len(live.trials)))
    measured = [a.signature for e, a in log if e is None and a.kind == "measure"]
    failed = {e.signature for e, _ in log if isinstance(e, Measured) and e.error}
    gone = {live.trials[a.trial].signature for e, a in log if e is None and live.trials[a.trial].state != "done"}
    for signature in set(measured) - failed - gone:
        assert measured.count(signature) == 1, "a shape is measured once"


@pytest.mark.parametrize("base", [FUNCTION, NETS])
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 100))
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_what_changed_is_told(base: dict[str, Any], seed: int, workers: int, turns: int) -> None:
    """Who copies only the trials that `take_changed` names has every trial as the search has it, after each call."""
    copied: dict[TrialId, Any] = {}
    again = Search(study(base, budget={"trials": 9}))
    for event, _ in chaos(Search(study(base, budget={"trials": 9})), seed, workers, turns):
        again.ask() if event is None else again.tell(event)
        copied.update((trial, again.trials[trial]) for trial in again.take_changed())
        assert copied == again.trials
    assert again.take_changed() == []


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), turns=st.integers(0, 60))
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
def test_replay_of_tpe(seed: int, workers: int, turns: int) -> None:
    """A search by TPE that is cut at any call and rebuilt from its log goes on with the same suggestions."""
    spec = study(search={"searcher": "tpe", "options": {"startup": 3}}, budget={"trials": 14})
    log = chaos(Search(spec), seed, workers, turns)
    again = Search(spec)
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
