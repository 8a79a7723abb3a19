"""Leases by themselves: who is judged silent, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from searchd.leases import Fleet, Leases, Stopwatch
from searchd.store.base import JobRow
from searchd.transport.memory import MemoryTransport
from searchd.wire import LEASE_S, Beat, WorkerInfo

JOB = JobRow("s-0-train1", "s", 0, "train", 0, 9, 1, "running", "w0", "", "", None, {}, 0.0, 0.0, None)


def leases() -> Leases:
    return Leases(MemoryTransport())


def test_silence_for_a_lease_is_a_loss() -> None:
    """A running job is lost exactly when nothing was heard of its attempt for a whole lease."""
    held = leases()
    held.watch([JOB], 100.0)
    assert held.expired([JOB], 100.0 + LEASE_S - 0.1) == []
    held.heard([Beat(study="s", job=JOB.id, trial=0, attempt=1)], 110.0)
    assert held.expired([JOB], 110.0 + LEASE_S - 0.1) == []
    (end,) = held.expired([JOB], 110.0 + LEASE_S)
    assert (end.job, end.attempt, end.outcome) == (JOB.id, 1, "lost")


def test_what_is_not_heard_of_for_a_third_of_a_lease_is_silent() -> None:
    """A running job alone can be silent; a sign of life ends it."""
    held = leases()
    queued = replace(JOB, id="s-1-train1", status="queued")
    held.watch([JOB, queued], 100.0)
    assert held.silent([JOB, queued], 100.0 + LEASE_S / 3 - 0.1) == frozenset()
    assert held.silent([JOB, queued], 100.0 + LEASE_S / 3) == {JOB.id}
    held.heard([Beat(study="s", job=JOB.id, trial=0, attempt=1)], 106.0)
    assert held.silent([JOB, queued], 106.0) == frozenset()


def test_a_former_worker_renews_nothing() -> None:
    """A beat of an older attempt keeps no newer attempt alive."""
    held = leases()
    second = replace(JOB, attempt=2)
    held.watch([second], 100.0)
    held.heard([Beat(study="s", job=JOB.id, trial=0, attempt=1)], 110.0)
    assert held.expired([second], 100.0 + LEASE_S)


def test_a_new_attempt_has_a_whole_lease_of_its_own() -> None:
    """An attempt that was lost and begun again between two looks gets a new lease, which can run out too."""
    held = leases()
    held.watch([JOB], 100.0)
    second = replace(JOB, attempt=2)
    held.watch([second], 100.0 + LEASE_S)
    assert held.expired([second], 101.0 + LEASE_S) == []
    assert held.expired([second], 100.0 + 2 * LEASE_S)


def test_after_an_outage_every_lease_is_whole() -> None:
    """Time in which nobody could be heard counts against nobody."""
    held = leases()
    held.watch([JOB], 100.0)
    held.renew_all(1000.0)
    assert held.expired([JOB], 1000.0 + LEASE_S - 0.1) == []


def test_the_patience_with_the_broker_doubles() -> None:
    """A queued job that an idle worker does not take is sent again after a lease of 15 s, then after 30 s, 60 s."""
    held = leases()
    job = replace(JOB, status="queued", begun_at=None)
    held.watch([job], 0.0)
    sent = [t for t in range(1, 300) if held.unclaimed([job], {job.id}, float(t))[0]]
    assert sent == [15, 45, 105, 225]
    assert held.unclaimed([job], (), 1e6) == ([], [])


def info(name: str, device_class: str = "cpu", **more: object) -> WorkerInfo:
    return WorkerInfo(name=name, device_class=device_class, device=f"{device_class} x", host="h", pid=1, **more)  # type: ignore[arg-type]


def test_a_fleet_counts_the_slots_that_may_serve() -> None:
    """Slots are those of the class that are not about to end; identities come once each."""
    fleet = Fleet((info("a"), info("b", state="busy"), info("c", state="stopping"), info("d", "cuda")))
    assert (fleet.slots("cpu"), fleet.slots("cuda"), fleet.slots("tpu")) == (2, 1, 0)
    assert fleet.devices("cpu") == ("cpu x",)
    assert dict(fleet.idle()) == {"cpu": 1, "cuda": 1}


@pytest.mark.parametrize(
    ("left_s", "ran", "due"), [(None, 59.0, None), (None, 60.0, 60.0), (5.0, 4.0, None), (5.0, 5.0, 5.0)]
)
def test_time_is_handed_out_in_portions(left_s: float | None, ran: float, due: float | None) -> None:
    """A minute at a time, or sooner when it spends the budget; and each second once."""
    watch = Stopwatch()
    watch.running(["s"], 100.0)
    assert watch.due("s", 100.0 + ran, left_s) == due
    assert watch.take("s", 100.0 + ran) == (0.0 if due else ran)
    watch.running([], 200.0)
    assert watch.take("s", 300.0) == 0.0
