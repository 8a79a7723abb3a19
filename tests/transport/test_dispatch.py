"""A dispatch reaches a real Celery worker by name, once, whole; a broker that is away is told and survived."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from searchd.dispatch import CeleryDispatcher, MemoryDispatcher
from searchd.errors import Unreachable
from searchd.wire import CheckpointRef, Dispatch, JobSpec, queue
from tests.support.broker import Broker

ROOT = Path(__file__).parents[2]


def dispatch(job: str = "j", attempt: int = 1, **config: Any) -> Dispatch:
    kept = CheckpointRef(step=3, path="trials/0/ckpt-3-a1.safetensors", sha256="ab" * 32, bytes=9)
    spec = JobSpec(
        id=job, study="s", trial=0, attempt=attempt, kind="train", since=3, until=9, config=config or {"lr": 0.1},
        nested={"optimizer": {"name": "sgd", "lr": 0.1}}, task={"name": "classify"}, artifacts="out", checkpoint=kept,
        points=({"point": 0, "threshold": 0.5},),
    )  # fmt: skip
    return Dispatch(id=f"{job}@{attempt}", jobs=(spec,))


@contextmanager
def celery_worker(broker: Broker, *queues: str) -> Iterator[None]:
    argv = [sys.executable, "-m", "celery", "-A", "tests.support.celery_echo", "worker", "--pool=solo", "-l", "warning",
            "--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", ",".join(queues)]  # fmt: skip
    environ = {**os.environ, "ECHO_BROKER": broker.url, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        argv, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        process.kill()
        _, said = process.communicate()
        sys.stderr.write(said)  # shown when the test fails


def echoed(broker: Broker, n: int, timeout_s: float = 30) -> list[dict[str, Any]]:
    found = []
    with broker.client() as client:
        for _ in range(n):
            answer = client.blpop(["echo"], timeout=timeout_s)
            assert answer is not None, "the worker got nothing"
            found.append(json.loads(answer[1]))
    return found


def test_a_real_worker_gets_what_was_sent(clean_broker: Broker) -> None:
    """Sent by name to the queue of the device class, over a unix socket: the worker of that class gets the same
    Dispatch with its id as the task's id, in order; another class's worker would not; nothing stays behind."""
    sender = CeleryDispatcher(clean_broker.url)
    sent = [dispatch("a"), dispatch("a", 2), dispatch("b", lr=1e-300, note="é🙂", top=math.inf)]
    sender.publish(dispatch("elsewhere"), "cuda")
    for one in sent:
        sender.publish(one, "cpu")
    with celery_worker(clean_broker, queue("cpu")):
        got = echoed(clean_broker, 3)
    assert [Dispatch.model_validate(g["dispatch"]) for g in got] == sent
    assert [g["task_id"] for g in got] == ["a@1", "a@2", "b@1"]
    assert {g["queue"] for g in got} == {"searchd.cpu"}
    with clean_broker.client() as client:
        assert client.llen("searchd.cuda") == 1
        assert client.exists("searchd.cpu") == 0
        assert not client.keys("celery-task-meta-*"), "there is no result backend"
    sender.close()


def test_it_is_made_ready_beside_other_work_once(clean_broker: Broker) -> None:
    """`warm` makes the application in a thread, a dispatch that comes meanwhile takes that one; where it cannot be made
    nothing is said before the first dispatch."""
    sender = CeleryDispatcher(clean_broker.url)
    assert sender._made is None
    sender.warm()
    sender.publish(dispatch("a"), "cpu")
    made = sender._made
    for thread in threading.enumerate():
        if thread.name == "dispatcher":
            thread.join(30)
    assert made is sender._made
    with clean_broker.client() as client:
        assert client.llen(queue("cpu")) == 1
    sender.close()
    hopeless = CeleryDispatcher("redis://127.0.0.1:1/0")
    hopeless._url = "nonsense://x"
    hopeless.warm()
    for thread in threading.enumerate():
        if thread.name == "dispatcher":
            thread.join(30)  # an exception there would fail this test
    with pytest.raises(Exception, match="nonsense"):
        hopeless.publish(dispatch("a"), "cpu")


def test_a_broker_that_is_away_is_unreachable_and_then_used_again(own_broker: Broker) -> None:
    """While it is away `publish` raises within seconds; after its restart the same dispatcher works, and what was
    on the queue before is still there."""
    sender = CeleryDispatcher(own_broker.url)
    sender.publish(dispatch("a"), "cpu")
    own_broker.kill()
    for _ in range(2):
        with pytest.raises(Unreachable, match="is it running"):
            sender.publish(dispatch("b"), "cpu")
    own_broker.start()
    sender.publish(dispatch("c"), "cpu")
    with own_broker.client() as client:
        raw = client.lrange(queue("cpu"), 0, -1)
    assert sorted(json.loads(r)["headers"]["id"] for r in raw) == ["a@1", "c@1"]
    sender.close()


def test_a_password_is_never_shown() -> None:
    """The URL in the message has its password hidden."""
    sender = CeleryDispatcher("redis://me:secret@127.0.0.1:1/0")
    with pytest.raises(Unreachable) as e:
        sender.publish(dispatch(), "cpu")
    assert "secret" not in str(e.value)
    sender.close()


def test_a_bug_is_no_outage(clean_broker: Broker) -> None:
    """What cannot be sent because it is no JSON raises as it is, not as Unreachable."""
    sender = CeleryDispatcher(clean_broker.url)
    with pytest.raises(Exception, match=r"(?i)serializ") as e:
        sender.publish(dispatch(thing=object()), "cpu")
    assert not isinstance(e.value, Unreachable)
    sender.close()


def test_in_one_process_the_worker_gets_a_copy() -> None:
    """The memory dispatcher hands over what a worker would read from JSON."""
    got: list[tuple[Dispatch, str]] = []
    sender = MemoryDispatcher(lambda d, at: got.append((d, at)))
    sent = dispatch("a", lr=0.5, exits=(0, 1))
    sender.publish(sent, "cpu")
    sender.publish(sent, "cpu", "w0")
    assert [at for _, at in got] == ["searchd.cpu", "searchd:slot:w0"]
    assert got[0][0].jobs[0].config == {"lr": 0.5, "exits": [0, 1]}
    assert got[0][0].id == "a@1"
    sender.close()
