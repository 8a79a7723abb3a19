"""What every peer must keep, to be checked in the environment that has its library (see README.md).

    python -m bench.quality.check st13-ASHAprom st13-MOBSTER
"""

from __future__ import annotations

import sys
from typing import Any

from bench.quality.loop import run_peer
from bench.quality.outcome import Outcome
from bench.quality.peers import Asked, Peer, make_peer
from bench.quality.problems import known, make
from bench.quality.spec import Problem

NAMES = ("mfh6:good", "conditional")


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


def keeps_the_protocol(peer: str, name: str) -> None:
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


def repeats_itself(peer: str) -> None:
    """A row can be measured again, and another seed is another row."""
    problem = make("mfh6:good")
    (first, one), (again, two), (other, _) = (ran(peer, problem, seed) for seed in (3, 3, 4))
    assert (one.path, one.trials, one.reports) == (two.path, two.trials, two.reports)
    assert [a.values for a in first.asked] == [a.values for a in again.asked] != [a.values for a in other.asked]


def promotes(peer: str) -> None:
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


def stops_for_good(peer: str) -> None:
    """Every job is a new trial, and those that end early do so at a rung."""
    noted, outcome = ran(peer, make("mfh6:good"), 0)
    assert outcome.trials == len(noted.asked)
    assert all(asked.since == 0 for asked in noted.asked)
    stops = {step for _, step, stopped in noted.ended if stopped}
    assert stops
    assert stops <= {1, 3, 9, 27, 81}


def main(peers: list[str]) -> None:
    for peer in peers:
        for name in NAMES:
            keeps_the_protocol(peer, name)
        repeats_itself(peer)
        if peer == "st13-ASHAprom":
            promotes(peer)
        if peer == "st13-MOBSTER":
            stops_for_good(peer)
        print(peer, "keeps the protocol", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
