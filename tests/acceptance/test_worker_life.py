"""Workers as real processes over a real broker: what happens to a job when things are killed, stopped, restarted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from searchd import wire
from searchd.wire import Begun, Dispatch, Ended
from tests.support.broker import Broker
from tests.support.fleet import Fleet, until

pytestmark = pytest.mark.acceptance


@pytest.fixture
def fleet(clean_broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(clean_broker, tmp_path) as fleet:
        fleet.ready()
        yield fleet


def test_a_killed_child_is_lost_at_once_and_the_slot_goes_on(fleet: Fleet) -> None:
    """kill -9 of the child: the job is lost within seconds, its last durable checkpoint named, the slot not changed."""
    slot = fleet.ready().pid
    spec = fleet.send(fleet.job(until=1000, nested={"pause": 0.05}))
    until(lambda: any(r.checkpoint for r in fleet.reports(spec.id)), "a checkpoint on the way")
    child = fleet.ready().child_pid
    assert child
    began = time.monotonic()
    os.kill(child, signal.SIGKILL)
    ended = fleet.ended(spec)
    assert time.monotonic() - began < 5
    assert (ended.outcome, ended.reason) == ("lost", "worker process killed (SIGKILL)")
    assert ended.checkpoint is not None
    again = spec.model_copy(update={"attempt": 2, "checkpoint": ended.checkpoint, "until": ended.step + 5})
    fleet.send(again)
    assert fleet.ended(again).outcome == "finished"
    steps = [r.step for r in fleet.reports(spec.id, 2)]
    assert steps == list(range(ended.checkpoint.step + 1, again.until + 1))
    assert fleet.reports(spec.id, 2)[-1].metrics["count"] == again.until
    assert fleet.ready().pid == slot
    assert fleet.ready().child_pid != child


def test_a_killed_slot_is_replaced_and_its_job_said_lost(fleet: Fleet) -> None:
    """kill -9 of the slot: its child dies too, the supervisor starts a new slot, and that one says the job lost."""
    info = fleet.ready()
    spec = fleet.send(fleet.job(until=1000, nested={"pause": 0.05}))
    fleet.report(spec)
    fleet.remember()
    os.kill(info.pid, signal.SIGKILL)
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == ("lost", "worker slot killed")
    assert info.child_pid
    until(lambda: not psutil.pid_exists(info.child_pid or 0), "the child of the killed slot gone")
    again = fleet.send(spec.model_copy(update={"attempt": 2, "until": 3}))
    assert fleet.ended(again).outcome == "finished"
    assert fleet.ready().pid != info.pid


def test_a_killed_supervisor_leaves_no_orphan(fleet: Fleet) -> None:
    """kill -9 of the supervisor: the job is said lost, and slot and child are gone within seconds."""
    spec = fleet.send(fleet.job(until=1000, nested={"pause": 0.05}))
    fleet.report(spec)
    fleet.remember()
    fleet.process.kill()
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == ("lost", "worker shut down")
    fleet.gone(12)


def test_a_supervisor_killed_while_a_job_hangs_leaves_no_orphan(clean_broker: Broker, tmp_path: Path) -> None:
    """Even a function that never looks up does not outlive its supervisor by more than the grace."""
    with Fleet(clean_broker, tmp_path, "--grace", "1") as fleet:
        fleet.ready()
        spec = fleet.send(fleet.job("no_steps"))
        until(lambda: fleet.messages(spec.id), "the job begun")
        fleet.remember()
        fleet.process.kill()
        fleet.gone(12)


def test_a_child_deep_in_its_work_does_not_outlive_slot_and_supervisor(fleet: Fleet) -> None:
    """kill -9 of both at once: a child that never looks up is gone too, by the kernel's hand."""
    spec = fleet.send(fleet.job("no_steps"))
    until(lambda: fleet.messages(spec.id), "the job begun")
    slot = fleet.ready().pid
    fleet.process.kill()
    os.kill(slot, signal.SIGKILL)
    fleet.gone(5)


def test_sigterm_ends_the_job_with_a_checkpoint_and_everything_leaves(fleet: Fleet) -> None:
    """SIGTERM: the job writes its checkpoint, is lost as `worker shut down`, and all processes are gone in seconds."""
    spec = fleet.send(fleet.job(until=10_000, nested={"pause": 0.05}))
    fleet.report(spec, 3)
    began = time.monotonic()
    assert fleet.terminate() == 0
    assert time.monotonic() - began < 8
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == ("lost", "worker shut down")
    assert ended.checkpoint is not None
    assert ended.checkpoint.step == fleet.reports(spec.id)[-1].step
    fleet.gone(2)
    assert fleet.info() is None
    assert fleet.redis.llen(wire.queue("cpu")) == 0


def test_sigterm_of_a_job_that_never_looks_up(clean_broker: Broker, tmp_path: Path) -> None:
    """A function deep in its work is killed after the grace, its job lost, and nothing stays."""
    with Fleet(clean_broker, tmp_path, "--grace", "1") as fleet:
        fleet.ready()
        spec = fleet.send(fleet.job("no_steps"))
        until(lambda: fleet.messages(spec.id), "the job begun")
        assert fleet.terminate() == 0
        assert (fleet.ended(spec).outcome, fleet.ended(spec).reason) == ("lost", "worker shut down")
        fleet.gone(2)


def test_an_idle_fleet_leaves_at_once(clean_broker: Broker, tmp_path: Path) -> None:
    """SIGTERM with nothing to do: exit code 0 within a few seconds."""
    with Fleet(clean_broker, tmp_path, slots=2) as fleet:
        fleet.ready(0), fleet.ready(1)
        began = time.monotonic()
        assert fleet.terminate() == 0
        assert time.monotonic() - began < 5
        fleet.gone(2)


def test_a_stop_ends_the_job_at_its_next_report(fleet: Fleet) -> None:
    """A stop key set between two reports: the next report is the last, and the job ends stopped, with a checkpoint."""
    spec = fleet.send(fleet.job(until=10_000, nested={"pause": 0.3}))
    fleet.report(spec, 2)
    seen = len(fleet.reports(spec.id))
    fleet.redis.set(wire.stop_key(spec.id), "rank 9 of 9 at rung 1")
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == ("stopped", "rank 9 of 9 at rung 1")
    assert ended.checkpoint is not None
    assert ended.checkpoint.step == ended.step
    assert len(fleet.reports(spec.id)) <= seen + 1


def test_a_broker_restart_under_a_job(own_broker: Broker, tmp_path: Path) -> None:
    """The broker dies and comes back: every report arrives, in order, those of the last moments perhaps twice; and
    the slot takes the next job."""
    with Fleet(own_broker, tmp_path) as fleet:
        slot = fleet.ready().pid
        spec = fleet.send(fleet.job(until=60, nested={"pause": 0.05}))
        fleet.report(spec, 5)
        own_broker.kill()
        time.sleep(1.0)
        own_broker.start()
        fleet.seen.clear()
        fleet._after = "0"
        ended = fleet.ended(spec)
        assert ended.outcome == "finished"
        steps = [r.step for r in fleet.reports(spec.id)]
        assert list(dict.fromkeys(steps)) == list(range(1, 61))
        after = fleet.send(fleet.job())
        assert fleet.ended(after).outcome == "finished"
        assert fleet.ready().pid == slot


def test_a_broker_restart_under_an_idle_slot(own_broker: Broker, tmp_path: Path) -> None:
    """An idle slot finds the broker again, or is replaced by one that does; its log says both in words."""
    with Fleet(own_broker, tmp_path) as fleet:
        fleet.ready()
        own_broker.kill()
        until(lambda: "no jobs come while the broker is away" in fleet.log.read_text(), "the slot says why it waits")
        own_broker.start()
        spec = fleet.send(fleet.job())
        assert fleet.ended(spec).outcome == "finished"
        assert "jobs come again" in fleet.log.read_text()
        assert "DeprecationWarning" not in fleet.log.read_text()


def test_workers_wait_for_a_broker_that_is_not_there_yet(own_broker: Broker, tmp_path: Path) -> None:
    """Started before the broker, the fleet waits, and serves when it comes."""
    own_broker.kill()
    with Fleet(own_broker, tmp_path) as fleet:
        until(lambda: "waiting for it" in fleet.log.read_text(), "the fleet says that it waits")
        own_broker.start()
        fleet.ready()
        spec = fleet.send(fleet.job())
        assert fleet.ended(spec).outcome == "finished"


def test_a_stale_task_is_dropped(fleet: Fleet) -> None:
    """A redelivered message of the same or an older attempt runs nothing; a newer one does."""
    spec = fleet.send(fleet.job(attempt=2))
    assert fleet.ended(spec).outcome == "finished"
    before = len(fleet.messages(spec.id))
    fleet.send(spec)
    fleet.send(spec.model_copy(update={"attempt": 1}))
    newer = fleet.send(spec.model_copy(update={"attempt": 3}))
    assert fleet.ended(newer).outcome == "finished"
    assert len(fleet.messages(spec.id)) - before == len(fleet.messages(spec.id, 3))
    assert [m.attempt for m in fleet.messages(spec.id) if isinstance(m, Begun)] == [2, 3]


def test_begun_comes_first_and_beats_go_on_while_nothing_is_reported(fleet: Fleet) -> None:
    """The claim and `begun` are one; a job that reports nothing for long is still alive by its beats."""
    spec = fleet.job("no_steps", nested={"pause": 3})
    fleet.dispatcher.publish(Dispatch(id="quick", jobs=(spec,), lease_s=2.5), "cpu")
    fleet.ended(spec)
    kinds = [m.kind for m in fleet.messages(spec.id)]
    assert kinds[0] == "begun"
    assert kinds.count("beat") >= 4
    assert kinds[-1] == "ended"


def test_jobs_of_one_dispatch_run_one_after_the_other(fleet: Fleet) -> None:
    """A pack of jobs runs whole, each with its own end."""
    first, second = fleet.job(), fleet.job()
    fleet.send(first, second)
    assert fleet.ended(second).outcome == "finished"
    assert fleet.ended(first).outcome == "finished"


def test_a_message_that_is_no_dispatch_is_dropped(fleet: Fleet) -> None:
    """Garbage on the queue neither ends the slot nor blocks it."""
    fleet.dispatcher._celery.send_task(wire.TASK, args=[{"jobs": 3}], queue=wire.queue("cpu"))
    fleet.dispatcher._celery.send_task("no.such.task", args=[], queue=wire.queue("cpu"))
    spec = fleet.send(fleet.job())
    assert fleet.ended(spec).outcome == "finished"


def test_two_slots_work_side_by_side(clean_broker: Broker, tmp_path: Path) -> None:
    """Two slots run two jobs at the same time, each in its own child."""
    with Fleet(clean_broker, tmp_path, slots=2) as fleet:
        fleet.ready(0), fleet.ready(1)
        a = fleet.send(fleet.job(until=40, nested={"pause": 0.05}))
        b = fleet.send(fleet.job(until=40, nested={"pause": 0.05}))
        fleet.ended(a), fleet.ended(b)
        assert fleet.reports(a.id)[0].metrics["pid"] != fleet.reports(b.id)[0].metrics["pid"]
        ends = [i for i, m in enumerate(fleet.seen) if isinstance(m, Ended)]
        begins = [i for i, m in enumerate(fleet.seen) if isinstance(m, Begun)]
        assert max(begins) < min(ends)


def test_a_busy_slot_hoards_no_jobs(clean_broker: Broker, tmp_path: Path) -> None:
    """Jobs that wait are taken by whichever slot is free, never kept by one that is busy."""
    with Fleet(clean_broker, tmp_path, slots=2) as fleet:
        fleet.ready(0), fleet.ready(1)
        long = fleet.send(fleet.job(until=10_000, nested={"pause": 0.05}))
        fleet.report(long)
        short = [fleet.send(fleet.job()) for _ in range(6)]
        for spec in short:
            assert fleet.ended(spec).outcome == "finished"
        assert not [m for m in fleet.messages(long.id) if isinstance(m, Ended)]
        assert len({m.worker for s in short for m in fleet.messages(s.id)}) == 1


def test_what_a_job_left_behind_ends_with_its_child(fleet: Fleet) -> None:
    """A process that a function started and detached is ended when the child is, and by nobody else's doing."""
    spec = fleet.send(fleet.job("detaches", until=10_000))
    pid = int(fleet.report(spec).metrics["detached"])
    assert psutil.pid_exists(pid)
    os.kill(fleet.ready().child_pid or 0, signal.SIGKILL)
    assert fleet.ended(spec).outcome == "lost"
    until(lambda: not psutil.pid_exists(pid), "the detached process gone")


def test_what_a_job_left_behind_ends_with_its_slot(fleet: Fleet) -> None:
    """The same when the slot is killed: the supervisor adopts and ends it."""
    spec = fleet.send(fleet.job("detaches", until=10_000))
    pid = int(fleet.report(spec).metrics["detached"])
    os.kill(fleet.ready().pid, signal.SIGKILL)
    assert fleet.ended(spec).outcome == "lost"
    until(lambda: not psutil.pid_exists(pid), "the detached process gone")
