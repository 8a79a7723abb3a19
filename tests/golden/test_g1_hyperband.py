"""G1 (ALGORITHMS 1.3, 1.4): bracket tables, budgets, the integer logarithm."""

from __future__ import annotations

import pytest

from searchd.schedulers.events import Deepened, Resume, Start
from searchd.schedulers.hyperband import Hyperband
from searchd.schedulers.rungs import bracket_table, halvings, ladder
from tests.support.fleets import Fleet, losses_by


def test_table_of_81() -> None:
    """R = 81, eta = 3: the paper's five brackets with both accounts."""
    table = bracket_table(1, 81, 3)
    assert [b.rungs for b in table] == [
        ((81, 1), (27, 3), (9, 9), (3, 27), (1, 81)),
        ((34, 3), (11, 9), (3, 27), (1, 81)),
        ((15, 9), (5, 27), (1, 81)),
        ((8, 27), (2, 81)),
        ((5, 81),),
    ]
    assert [b.restart_cost for b in table] == [405, 363, 351, 378, 405]
    assert [b.resume_cost for b in table] == [297, 276, 279, 324, 405]


@pytest.mark.parametrize(
    ("R", "eta", "starts", "evaluations", "restart", "resume"),
    [
        (9, 3, [9, 5, 3], 22, 78, 69),
        (27, 3, [27, 12, 6, 4], 69, 423, 357),
        (81, 3, [81, 34, 15, 8, 5], 206, 1902, 1581),
        (243, 3, [243, 98, 41, 18, 9, 6], 611, 8457, 6831),
        (8, 2, [8, 6, 4, 4], 35, 128, 98),
        (16, 2, [16, 10, 7, 5, 5], 72, 372, 278),
    ],
)
def test_budgets(R: int, eta: int, starts: list[int], evaluations: int, restart: int, resume: int) -> None:
    """Configs a bracket, evaluations and both costs, by the table and by really running the scheduler."""
    table = bracket_table(1, R, eta)
    assert [b.trials for b in table] == starts
    assert sum(n for b in table for n, _ in b.rungs) == evaluations
    assert sum(b.restart_cost for b in table) == restart
    assert sum(b.resume_cost for b in table) == resume
    fleet = Fleet(Hyperband(1, R, eta), 4, losses_by(R, ""), None)
    fleet.drain()
    jobs = [a for _, a in fleet.calls if isinstance(a, Start | Resume)]
    assert fleet.started == sum(starts)
    assert len(jobs) == evaluations
    assert sum(job.until for job in jobs) == restart
    assert sum(job.until - (job.since if isinstance(job, Resume) else 0) for job in jobs) == resume


def test_bohb_rounding() -> None:
    """R = 81 in BOHB's rounding: 81, 27, 9, 6, 5; 128 configs, 187 evaluations, 1701 and 1404 steps."""
    table = bracket_table(1, 81, 3, "bohb")
    assert [b.trials for b in table] == [81, 27, 9, 6, 5]
    assert sum(n for b in table for n, _ in b.rungs) == 187
    assert sum(b.restart_cost for b in table) == 1701
    assert sum(b.resume_cost for b in table) == 1404


@pytest.mark.parametrize(("R", "eta", "s"), [(243, 3, 5), (1000, 10, 3), (125, 5, 3), (3**40, 3, 40), (1, 3, 0)])
def test_integer_logarithm(R: int, eta: int, s: int) -> None:
    """No bracket is lost to floating point, and no power is too large."""
    assert halvings(1, R, eta) == s
    assert len(ladder(1, R, eta)) == s + 1


def test_resources_that_are_no_power() -> None:
    """R on top of the ladder of promotion; the paper's rule R / eta^i, rounded down, in the table."""
    assert ladder(1, 200, 3) == (1, 3, 9, 27, 81, 200)
    assert bracket_table(1, 200, 3)[0].steps == (2, 7, 22, 66, 200)


@pytest.mark.parametrize(
    ("R", "eta", "old", "extra_evaluations", "extra_steps"),
    [(16, 2, 372, 80, 756), (9, 3, 78, 47, 345), (27, 3, 423, 137, 1479), (81, 3, 1902, 405, 6555)],
)
def test_deepening_costs_what_is_missing(
    R: int, eta: int, old: int, extra_evaluations: int, extra_steps: int
) -> None:
    """Efficient deepening (G5's row): old and extra together are exactly one fresh Hyperband at eta · R."""
    fleet = Fleet(Hyperband(1, R, eta), 3, losses_by(7, ""), None)
    fleet.drain()
    before = [a for _, a in fleet.calls if isinstance(a, Start | Resume)]
    fleet.deepen(R * eta)
    fleet.drain()
    jobs = [a for _, a in fleet.calls if isinstance(a, Start | Resume)][len(before) :]
    assert sum(job.until for job in before) == old
    assert len(jobs) == extra_evaluations
    assert sum(job.until for job in jobs) == extra_steps
    assert fleet.started == sum(b.trials for b in bracket_table(1, R * eta, eta))


@pytest.mark.parametrize(
    ("R", "eta", "added"),
    [(81, 3, [162, 64, 26, 10, 4, 6]), (27, 3, [54, 22, 9, 4, 5]), (16, 2, [16, 10, 5, 3, 1, 6])],
)
def test_deepening_adds_the_right_configs(R: int, eta: int, added: list[int]) -> None:
    """81 → 243: +162, +64, +26, +10, +4 in the old brackets and 6 in the new one; so 27 → 81 and, by two, 16 → 32."""
    scheduler = Hyperband(1, R, eta)
    fleet = Fleet(scheduler, 1, losses_by(2, ""), None)
    fleet.drain()
    at = len(fleet.calls)
    fleet.tell(Deepened(R * eta))
    fleet.drain()
    new = [a.bracket for _, a in fleet.calls[at:] if isinstance(a, Start)]
    assert [new.count(b) for b in range(len(added))] == added
