"""Peers keep the bench's protocol; each runs where its library is installed (see bench/quality/README.md)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

from bench.quality.loop import run_peer
from bench.quality.outcome import Outcome
from bench.quality.peers import Asked, Peer, make_peer
from bench.quality.problems import known, make
from bench.quality.spec import Problem

NAMES = ("mfh6:good", "conditional")


def needs(peer: str, package: str, release: str) -> Any:
    """The peer as a parameter, skipped where its library is not installed in that release."""
    try:
        there = version(package).startswith(release)
    except PackageNotFoundError:
        there = False
    return pytest.param(peer, marks=pytest.mark.skipif(not there, reason=f"needs {package} {release}"))


PEERS = (
    "random",
    needs("optuna-tpe", "optuna", "5."),
    needs("optuna-tpe-hb", "optuna", "5."),
    needs("st13-ASHAprom", "syne-tune", "0.13."),
    needs("st13-MOBSTER", "syne-tune", "0.13."),
)


class Noted:
    """A peer with what it asked for, and how far each of its jobs was when it ended."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.asked: list[Asked] = []
        self.ended: list[tuple[Any, int, bool]] = []

    def ask(self) -> Asked | None:
        asked = self.peer.ask()
        if asked is not None:
            self.asked.append(asked)
        return asked

    def report(self, handle: Any, step: int, losses: list[float]) -> bool:
        return self.peer.report(handle, step, losses)

    def finish(self, handle: Any, step: int, losses: list[float], stopped: bool) -> None:
        self.ended.append((handle, step, stopped))
        self.peer.finish(handle, step, losses, stopped)


def ran(peer: str, problem: Problem, seed: int) -> tuple[Noted, Outcome]:
    """A run of a fifth of the bench's budget; of a twentieth where a suggestion takes seconds."""
    noted = Noted(make_peer(peer, problem, seed))
    budget = known(problem.name).full_s * (1.25 if peer == "st13-MOBSTER" else 5)
    return noted, run_peer(problem, noted, budget, workers=4, cap_s=60)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_asks_for_configs_of_the_space_and_ends_what_it_began(peer: str, name: str) -> None:
    """Numbers are within their bounds, conditions hold; jobs run ahead; stopped before the end, or whole."""
    problem = make(name)
    noted, outcome = ran(peer, problem, 0)
    assert len(noted.asked) == len(noted.ended) + 4
    assert outcome.trials > 4
    for asked in noted.asked:
        assert 0 <= asked.since < asked.until <= problem.steps
        for param in problem.space:
            there = param.when is None or asked.values.get(param.when[0]) == param.when[1]
            assert (param.name in asked.values) == there
            if there and param.kind == "choice":
                assert asked.values[param.name] in param.options
            elif there:
                assert param.low <= asked.values[param.name] <= param.high
    assert all(stopped == (step < problem.steps) for _, step, stopped in noted.ended)


@pytest.mark.parametrize("peer", PEERS)
def test_two_runs_of_a_seed_are_the_same(peer: str) -> None:
    """A row can be measured again, and another seed is another row."""
    problem = make("mfh6:good")
    (first, one), (again, two), (other, _) = (ran(peer, problem, seed) for seed in (3, 3, 4))
    assert (one.path, one.trials, one.reports) == (two.path, two.trials, two.reports)
    assert [a.values for a in first.asked] == [a.values for a in again.asked] != [a.values for a in other.asked]


@pytest.mark.parametrize("peer", [needs("st13-ASHAprom", "syne-tune", "0.13.")])
def test_promotion_goes_on_from_the_rung_where_it_paused(peer: str) -> None:
    """Trials pause at 1, 3, 9, 27 and 81 steps; a resumed job has its trial's config and its last step."""
    noted, outcome = ran(peer, make("mfh6:good"), 0)
    assert {step for _, step, stopped in noted.ended if stopped} == {1, 3, 9, 27, 81}
    resumed = [asked for asked in noted.asked if asked.since]
    assert len(resumed) == len(noted.asked) - outcome.trials > 0
    first = {id(asked.handle): asked.values for asked in noted.asked if not asked.since}
    paused = {(id(handle), step) for handle, step, _ in noted.ended}
    for asked in resumed:
        assert asked.values == first[id(asked.handle)]
        assert (id(asked.handle), asked.since) in paused


@pytest.mark.parametrize("peer", [needs("st13-MOBSTER", "syne-tune", "0.13.")])
def test_mobster_stops_trials_for_good(peer: str) -> None:
    """Every job is a new trial, and those that end early do so at a rung."""
    noted, outcome = ran(peer, make("mfh6:good"), 0)
    assert outcome.trials == len(noted.asked)
    assert all(asked.since == 0 for asked in noted.asked)
    stops = {step for _, step, stopped in noted.ended if stopped}
    assert stops
    assert stops <= {1, 3, 9, 27, 81}
