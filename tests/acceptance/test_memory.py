"""Memory, for real: jobs that share it, the kernel's killer, and a job that does not stop when it is asked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.wire import stop_key
from tests.support.broker import Broker
from tests.support.fleet import Fleet
from tests.support.service import service
from workers.memory import groups

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_jobs_share_a_memory_where_they_fit(broker: Broker, tmp_path: Path) -> None:
    """Four slots share 320 MiB; jobs hold about 90 and a fifth more is kept free: the first runs alone until its rung
    is reached, then there are two or more at a time and never four, and nothing runs out of memory."""
    study = {
        "study": "pack", "space": {"mib": {"const": 60}, "x": {"float": [0, 1]}, "pause": {"const": 0.4}},
        "objectives": {"error": "minimize"}, "budget": {"trials": 8}, "task": "poison_tasks:grows",
        "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    }  # fmt: skip
    broker.flush()
    with service(broker, tmp_path) as at, Fleet(broker, tmp_path, "--share", "--memory", "320", slots=4) as fleet:
        for slot in range(4):
            fleet.ready(slot)
        at.until(lambda: len(at.client.workers()) == 4, "all are seen")
        at.client.submit(study)
        assert at.client.wait("pack", 150)["status"] == "done"
        spans = [(j["begun"], j["ended"]) for t in at.client.trials("pack")
                 for j in at.client.trial("pack", t["trial"])["jobs"]]  # fmt: skip
        beside = {begun: sum(b <= begun < e for b, e in spans) for begun, _ in spans}
        first = min(spans)
        assert not [b for b, _ in spans if first[0] < b < first[1]], "nothing began beside the first"
        assert 2 <= max(beside.values()) <= 3
        assert at.client.show("pack")["ends"] == {}


@contextlib.contextmanager
def group(mib: int) -> Iterator[Path]:
    """A memory control group of its own below this process's; skips where none can be made."""
    above = groups()
    if not above:
        pytest.skip("no memory control groups here")
    made = above[0] / f"searchd-test-{os.getpid()}"
    try:
        made.mkdir()
        limit = next(made / n for n in ("memory.max", "memory.limit_in_bytes") if (made / n).is_file())
        limit.write_text(str(mib << 20))
    except (OSError, StopIteration):
        with contextlib.suppress(OSError):
            made.rmdir()
        pytest.skip("no memory control group can be made here")
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            made.rmdir()


def test_the_kernels_kill_is_out_of_memory(broker: Broker, tmp_path: Path) -> None:
    """A job that the kernel kills because its control group has no memory left is out of memory, and not lost."""
    broker.flush()
    with group(400) as made, Fleet(broker, tmp_path) as fleet:
        fleet.ready()
        for process in fleet.remember():
            (made / "cgroup.procs").write_text(str(process.pid))
        before = fleet.ready().child_pid
        leaves = fleet.send(fleet.job("leaves"))  # a fresh child, which its slot counts kills of the group for
        fleet.ended(leaves)
        task = {"kind": "function", "name": "poison_tasks:grows", "argv": [], "options": {}}
        ended = fleet.ended(fleet.send(fleet.job(task=task, config={"mib": 900}, nested={"mib": 900})))
        assert (ended.outcome, ended.cause) == ("failed", "out_of_memory"), ended
        assert fleet.ended(fleet.send(fleet.job())).outcome == "finished"
        assert fleet.ready().child_pid != before
        fleet.terminate()
        fleet.gone(20)


def test_a_job_that_does_not_look_up_is_ended(broker: Broker, tmp_path: Path) -> None:
    """A job that is asked to stop and comes to no report is ended after six graces; its slot goes on."""
    broker.flush()
    with Fleet(broker, tmp_path, "--grace", "0.3") as fleet:
        fleet.ready()
        spec = fleet.send(fleet.job("no_steps", config={"pause": 600}, nested={"pause": 600}))
        fleet.redis.set(stop_key(spec.id), "stopped by the user")
        ended = fleet.ended(spec)
        assert (ended.outcome, ended.reason, ended.cause) == ("stopped", "stopped by the user", "stopped")
        assert fleet.ended(fleet.send(fleet.job())).outcome == "finished"
