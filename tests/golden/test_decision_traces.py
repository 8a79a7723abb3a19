"""Golden decision traces: every call and answer of each scheduler over one eventful run, as text.

A changed line is a changed decision: recorded studies would no longer replay. When that is meant, write the
files anew with SEARCHD_REGOLD=1, read the difference, and say why in the commit.
"""

from __future__ import annotations

import os
from math import nan
from pathlib import Path

import pytest

from searchd.schedulers.events import Exhausted, Failed, Losses, Stopped, Wait
from tests.support.fleets import SCHEDULERS, Fleet

TRACES = Path(__file__).parent / "traces"


def one_objective(trial: int, step: int) -> tuple[Losses, ...]:
    """A spread of losses with ties; every ninth trial diverges at step 3, every eleventh breaks a bound."""
    if trial % 9 == 5 and step >= 3:
        return (Losses((nan,)),)
    return (Losses(((trial * 37 % 17) / 16 + 1 / step,), 0.5 if trial % 11 == 4 else 0.0),)


def two_objectives(trial: int, step: int) -> tuple[Losses, ...]:
    """Two points a trial, error against size; every ninth trial diverges in one of them."""
    error, size = (trial * 37 % 17) / 16 + 1 / step, float(trial * 23 % 13)
    return (Losses((nan if trial % 9 == 5 else error, size)), Losses((error + 0.25, size / 2)))


def eventful(fleet: Fleet) -> None:
    """Three workers; a lost job, failures, a user who stops trials, brings one, wants more trials and a deeper R."""
    for turn in range(40):
        while len(fleet.jobs) < 3 and not isinstance(fleet.ask(), Wait | Exhausted):
            pass
        if not fleet.jobs:
            break
        running = list(fleet.jobs)
        if turn == 2:
            fleet.lose(running[0])
        if turn == 4:
            fleet.end(running[1], Failed(running[1]))
        if turn == 7:
            fleet.inject()
        if turn == 9:
            fleet.end(running[-1], Stopped(running[-1]))
        if turn == 12 and fleet.paused:
            fleet.end(min(fleet.paused), Stopped(min(fleet.paused)))
        if turn == 14 and fleet.paused:
            fleet.end(max(fleet.paused), Failed(max(fleet.paused)))
        if turn == 20:
            fleet.extend(22)
        if turn == 30:
            fleet.deepen(27)
        if fleet.jobs:
            fleet.advance(next(iter(fleet.jobs)))
    fleet.drain()


@pytest.mark.parametrize("losses", [one_objective, two_objectives])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_trace(name: str, losses: object) -> None:
    """The same events bring the same answers, stops and reasons as when the trace was written."""
    assert callable(losses)
    fleet = Fleet(SCHEDULERS[name](1, 9, 3, 18), 3, losses, 18)
    eventful(fleet)
    text = "\n".join(fleet.trace()) + "\n"
    file = TRACES / f"{name}-{losses.__name__}.txt"
    if os.environ.get("SEARCHD_REGOLD"):
        file.write_text(text)
    assert text == file.read_text()
