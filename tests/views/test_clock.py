"""The time that a study ran, from its log alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd import views
from searchd.store import open_store
from searchd.store.base import Store
from searchd.views.clock import overlap, seconds, spans
from tests.support.stores import job_row, study_row, trial_row

S = "digits-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "study.db")
    with opened.transaction() as t:
        t.add_study(study_row(started_at=100.0))
    yield opened
    opened.close()


def ran(store: Store, now: float) -> list[tuple[float, float]]:
    with store.reading() as reader:
        row = reader.study(S)
        assert row is not None
        return spans(reader, row, now)


def status(store: Store, at: float, value: str) -> None:
    with store.transaction() as t:
        t.append(S, "status", {"status": value, "reason": ""}, at)


def test_pauses_and_the_time_between_an_end_and_an_extension_do_not_count(store: Store) -> None:
    """A study runs while it is `running` or `verifying`, however often it is paused, ended and extended."""
    for at, value in ((100, "running"), (110, "paused"), (150, "running"), (155, "verifying"), (160, "done"),
                      (900, "running")):  # fmt: skip
        status(store, at, value)
    assert ran(store, 905.0) == [(100, 110), (150, 160), (900, 905)]
    assert seconds(ran(store, 905.0)) == 25


def test_the_time_without_a_daemon_does_not_count(store: Store) -> None:
    """From the last thing recorded to the daemon's return nobody worked on the study."""
    status(store, 100.0, "running")
    with store.transaction() as t:
        t.append(S, "capacity", {"slots": 2}, 101.0)
        t.append(S, "begun", {"job": "j", "trial": 0}, 120.0)
        t.append(S, "capacity", {"slots": 0, "woken": True}, 5000.0)
        t.append(S, "capacity", {"slots": 2}, 5001.0)
        t.put_trial(trial_row(0))
        t.put_job(job_row("a", begun_at=101.0, ended_at=120.0, status="finished"))
        t.put_job(job_row("b", begun_at=5001.0, ended_at=5011.0, status="finished"))
    assert ran(store, 5011.0) == [(100, 120), (5000, 5011)]
    with store.reading() as reader:
        got = views.summary(reader, S, 5011.0)
    assert got["seconds"] == 31
    assert got["busy_fraction"] == pytest.approx((19 + 10) / (2 * 19 + 2 * 10))


def test_overlap_counts_only_what_lies_in_the_spans() -> None:
    """A job that reaches over a gap is counted on both sides of it."""
    assert overlap([(0, 10), (20, 30)], 5, 25) == 10
    assert overlap([(0, 10), (20, 30)], 11, 19) == 0
