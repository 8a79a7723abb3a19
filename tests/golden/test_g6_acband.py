"""G6: the numbers of AC-Band (ALGORITHMS 6.2 to 6.4) and one whole search, run by run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.schedulers.acband import AcBand
from searchd.schedulers.elimination import configs_needed, epochs, restarted, rounds, survivors
from searchd.schedulers.events import Losses
from tests.support.fleets import Fleet


@pytest.mark.parametrize(
    ("alpha", "delta", "N", "E"), [(0.05, 0.05, 59, 6), (0.05, 0.01, 90, 7), (0.02, 0.01, 228, 8), (0.01, 0.01, 459, 9)]
)
def test_configs_and_epochs(alpha: float, delta: float, N: int, E: int) -> None:
    """N configs and E epochs for the four pairs of alpha and delta."""
    assert configs_needed(alpha, delta) == N
    assert len(epochs(alpha, delta, 2, 100_000)) == E


def test_the_table() -> None:
    """alpha = .05, delta = .01, k = 8, B = 1000, row by row."""
    table = epochs(0.05, 0.01, 8, 1000)
    assert [e.trials for e in table] == [47, 24, 13, 7, 4, 3, 2]
    assert [round(e.rho, 3) for e in table] == [3.0, 2.17, 1.737, 1.459, 1.263, 1.115, 1.0]
    assert [e.kept for e in table] == [1, 1, 2, 2, 3, 3, 4]
    assert [round(e.C, 3) for e in table] == [1.826, 3.989, 8.79, 19.57, 44.139, 101.203, 237.125]
    assert [e.instances for e in table] == [547, 250, 113, 51, 22, 9, 4]
    assert [e.rounds for e in table] == [3, 2, 3, 2, 1, 1, 1]
    assert sum(e.trials - 1 for e in table) == 93
    assert sum(e.instances for e in table) == 996


@given(alpha=st.floats(0.005, 0.5), delta=st.floats(0.001, 0.5), k=st.integers(2, 32))
def test_the_shares_add_up(alpha: float, delta: float, k: int) -> None:
    """The epochs together spend B: Σ 1/C_e = 1; and they see at least N configs."""
    table = epochs(alpha, delta, k, 10**9)
    assert sum(1 / e.C for e in table) == pytest.approx(1.0, abs=1e-9)
    assert sum(e.trials - 1 for e in table) >= configs_needed(alpha, delta)
    assert sum(e.instances for e in table) <= 10**9


@given(n=st.integers(2, 500), epoch=st.integers(1, 9), k=st.integers(2, 32))
def test_elimination_ends(n: int, epoch: int, k: int) -> None:
    """Every round leaves fewer configs, and at least one."""
    assert 1 <= survivors(k, epoch, k) < k
    assert 1 <= rounds(n, epoch, k) < n


def test_the_table_of_restarts() -> None:
    """Three runs and a last race of their winners: four equal parts of the instances, configs of their own."""
    once, table = epochs(0.5, 0.25, 2, 30), restarted(0.5, 0.25, 2, 120, 3)
    assert table[:-1] == once * 3
    assert (table[-1].final, table[-1].trials, table[-1].fresh, table[-1].instances) == (True, 3, 0, 30)
    assert sum(e.fresh for e in table) == 3 * sum(e.fresh for e in once) == 3 * 4
    assert restarted(0.5, 0.25, 2, 30, 1) == once


def test_winners_of_restarts_race_in_the_end() -> None:
    """Each of three runs of four configs has a winner; they meet on instances of their own, and nobody else does."""
    speed = [5.0, 3.0, 1.0, 4.0, 0.5, 7.0, 2.0, 6.0, 8.0, 9.0, 0.7, 6.5]
    scheduler = AcBand(120, alpha=0.5, delta=0.25, k=2, restarts=3)
    fleet = Fleet(scheduler, 2, lambda trial, _: (Losses((speed[trial],)),), None)
    fleet.drain(2000)
    part = sum(epoch.instances for epoch in scheduler.table[:2])
    last = {trial for trial, step in fleet.told if step > 3 * part}
    assert last == {2, 4, 10}
    assert scheduler.incumbent == 4
    for first in (0, 4, 8):
        steps = {step for trial, step in fleet.told if first <= trial < first + 4 and step <= 3 * part}
        assert min(steps) > part * first // 4
        assert max(steps) <= part * (first // 4 + 1)


def test_a_whole_search() -> None:
    """alpha = .5, delta = .25, k = 2, R = 40, one worker, each config as slow as `speed` says: each run, the winner."""
    speed = {0: 5.0, 1: 3.0, 2: 1.0, 3: 4.0}
    scheduler = AcBand(40, alpha=0.5, delta=0.25, k=2)
    assert [(e.trials, e.instances, e.rounds) for e in scheduler.table] == [(3, 28, 2), (2, 11, 1)]
    fleet = Fleet(scheduler, 1, lambda trial, _: (Losses((speed[trial],)),), None)
    fleet.drain(2000)
    runs = {trial: sorted(step for who, step in fleet.told if who == trial) for trial in speed}
    assert runs[0] == list(range(1, 15)), "epoch 1, round 1: 0 against 1 on the first half of 28 instances"
    assert runs[1] == list(range(1, 29)), "it wins and meets 2, who was left over, on the second half"
    assert runs[2] == list(range(15, 40)), "epoch 2 has 11 instances of its own: 2 against 3"
    assert runs[3] == list(range(29, 40))
    assert scheduler.incumbent == 2
