"""G2 (ALGORITHMS 2.1 to 2.4): the ASHA traces, floor against quantile, the distribution of brackets."""

from __future__ import annotations

from zlib import crc32

import pytest

from searchd.schedulers.asha import Asha
from searchd.schedulers.events import Reported, Resume, Start
from searchd.schedulers.rungs import Round, bracket_table, bracket_weights
from searchd.schedulers.stopping import Rule, Stopping
from tests.support.fleets import Fleet, one

LOSSES = [0.9, 0.5, 0.7, 0.3, 0.6, 0.8, 0.4, 0.2, 0.1]


def jobs(promotion: str) -> list[tuple[int, int]]:
    scheduler = Asha(1, 9, 3, max_trials=9, promotion="delayed" if promotion == "delayed" else "asha")
    fleet = Fleet(scheduler, 1, lambda trial, _: one(LOSSES[trial]), 9)
    fleet.drain()
    return [(a.trial, a.until) for _, a in fleet.calls if isinstance(a, Start | Resume)]


def rung(trace: list[tuple[int, int]], step: int) -> set[int]:
    return {trial for trial, until in trace if until == step}


def test_asha_trace() -> None:
    """17 jobs on one worker; rung 1 ends with {1,3,6,7,8}, rung 2 with {3,7,8}."""
    trace = jobs("asha")
    assert trace == [
        (0, 1), (1, 1), (2, 1), (1, 3), (3, 1), (3, 3), (4, 1), (5, 1), (6, 1), (6, 3), (3, 9), (7, 1), (7, 3),
        (7, 9), (8, 1), (8, 3), (8, 9),
    ]  # fmt: skip
    assert rung(trace, 3) == {1, 3, 6, 7, 8}
    assert rung(trace, 9) == {3, 7, 8}


def test_delayed_trace() -> None:
    """13 jobs on one worker; rung 1 = {1,3,8}, rung 2 = {8}, the true best."""
    trace = jobs("delayed")
    assert trace == [
        (0, 1), (1, 1), (2, 1), (1, 3), (3, 1), (4, 1), (5, 1), (3, 3), (6, 1), (7, 1), (8, 1), (8, 3), (8, 9),
    ]  # fmt: skip
    assert rung(trace, 3) == {1, 3, 8}
    assert rung(trace, 9) == {8}


@pytest.mark.parametrize(
    ("values", "floor", "quantile"),
    [([0.1, 0.2], 2, 1), ([0.1, 0.2, 0.3], 1, 1), ([0.1, 0.2, 0.3, 0.4], 1, 2), ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2, 2)],
)
def test_floor_and_quantile(values: list[float], floor: int, quantile: int) -> None:
    """How many of a rung's values would go on were each the last to come (under 3 entries, floor stops nobody)."""
    rules: tuple[tuple[Rule, int], ...] = (("floor", floor), ("quantile", quantile))
    for rule, expected in rules:
        go_on = 0
        for last in range(len(values)):
            scheduler = Stopping(1, 9, 3, rule=rule)
            order = [v for i, v in enumerate(values) if i != last] + [values[last]]
            for _ in values:
                scheduler.ask()
            for trial, value in enumerate(order):
                stops = scheduler.tell(Reported(trial, 1, one(value)))
            go_on += not stops
        assert go_on == expected, rule


def test_bracket_weights() -> None:
    """Levels 1,3,9,27,81 and with 200: the shares of the brackets to five places."""
    for levels, shares in [
        ((1, 3, 9, 27, 81), [0.56942, 0.23726, 0.10545, 0.05272, 0.03515]),
        ((1, 3, 9, 27, 81, 200), [0.58556, 0.23422, 0.09759, 0.04337, 0.02169, 0.01757]),
    ]:
        weights = bracket_weights(levels)
        assert [round(w / sum(weights), 5) for w in weights] == shares


def test_the_shares_of_synchronous_brackets() -> None:
    """What asynchronous brackets imitate: 81, 34, 15, 8, 5 of 143 and, of 243 at most, 243, 98, 41, 18, 9, 6 of 415."""
    for R, shares in [
        (81, [0.56643, 0.23776, 0.1049, 0.05594, 0.03497]),
        (243, [round(n / 415, 5) for n in (243, 98, 41, 18, 9, 6)]),
    ]:
        counts = [b.trials for b in bracket_table(1, R, 3)]
        assert [round(n / sum(counts), 5) for n in counts] == shares


def test_round_keeps_the_shares() -> None:
    """After any number of turns every bracket is within one of its share; a full round repeats."""
    weights = bracket_weights((1, 3, 9, 27, 81))
    round_ = Round(weights)
    counts = [0] * len(weights)
    first = []
    for turn in range(1, 2 * sum(weights) + 1):
        took = round_.take()
        first.append(took)
        counts[took] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - weight * turn / sum(weights)) < 1
    assert first[: sum(weights)] == first[sum(weights) :]
    assert first[:6] == [0, 1, 0, 2, 0, 1]


def test_async_hyperband_starts_by_the_round() -> None:
    """New trials of asynchronous Hyperband take the brackets of the round, each at its bracket's first rung."""
    scheduler = Asha(1, 81, 3, brackets=None)
    answers = [scheduler.ask() for _ in range(12)]
    starts = [(a.bracket, a.until) for a in answers if isinstance(a, Start)]
    assert all(until == 3**bracket for bracket, until in starts)
    round_ = Round(bracket_weights((1, 3, 9, 27, 81)))
    assert [bracket for bracket, _ in starts] == [round_.take() for _ in range(12)]


def test_how_optuna_assigns_brackets() -> None:
    """A peer's rule, for whoever compares with it: crc32 of study and number, by budgets 81, 34, 15, 8, 5."""
    budgets = [81, 34, 15, 8, 5]
    found = []
    for number in range(12):
        n = crc32(f"demo_{number}".encode()) % sum(budgets)
        bracket = next(i for i in range(5) if n < sum(budgets[: i + 1]))
        found.append(bracket)
    assert found == [0, 3, 2, 1, 0, 0, 0, 2, 0, 0, 4, 1]
