"""A worker process of a few lines, for the daemon's acceptance tests: a real Celery worker that trains a formula.

`python scripted_worker.py BROKER_URL CELERY_URL NAME STEP_S`. It claims, beats, reports and ends over the real broker,
and notes every step that it computes in the list `trained` (`trial:step`), which is what the tests count.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import redis
from celery import Celery

from searchd.wire import (
    BEAT_S,
    LEASE_S,
    TASK,
    UP,
    Beat,
    Begun,
    CheckpointRef,
    Dispatch,
    Ended,
    Report,
    WorkerInfo,
    claim_key,
    encode,
    queue,
    stop_key,
    worker_key,
)  # fmt: skip

BROKER, CELERY, NAME, STEP_S = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
CLAIM = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= held then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

broker = redis.Redis.from_url(BROKER, decode_responses=True)
app = Celery("scripted", broker=CELERY)
app.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True, worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True, worker_enable_remote_control=False,
)  # fmt: skip
busy: list[Any] = []


def up(kind: Any, **more: Any) -> None:
    job = busy[0]
    message = kind(study=job.study, job=job.id, trial=job.trial, attempt=job.attempt, worker=NAME, **more)
    broker.xadd(UP, {"m": encode(message)})


def alive() -> None:
    while True:
        info = WorkerInfo(
            name=NAME, device_class="cpu", device="scripted", host="here", pid=1, state="busy" if busy else "idle"
        )
        broker.hset(worker_key(NAME), "m", info.model_dump_json())
        broker.expire(worker_key(NAME), int(LEASE_S))
        if busy:
            up(Beat)
        time.sleep(BEAT_S / 4)


@app.task(name=TASK)
def dispatch(message: dict[str, Any]) -> None:
    job = Dispatch.model_validate(message).jobs[0]
    if not broker.eval(CLAIM, 1, claim_key(job.id), job.attempt):
        return
    busy.append(job)
    try:
        up(Begun, device="scripted")
        for step in range(job.since + 1, job.until + 1):
            time.sleep(STEP_S)
            if reason := broker.get(stop_key(job.id)):
                up(Ended, outcome="stopped", step=step - 1, reason=reason)
                return
            broker.rpush("trained", f"{job.trial}:{step}")
            kept = CheckpointRef(step=step, path=f"trials/{job.trial}/{step}", sha256="0" * 64, bytes=1)
            loss = (job.config["x"] - 0.3) ** 2 + 1.0 / (1 + step)
            up(Report, step=step, metrics={"loss": loss}, checkpoint=kept)
        up(Ended, outcome="finished", step=job.until)
    finally:
        busy.clear()


if __name__ == "__main__":
    threading.Thread(target=alive, daemon=True).start()
    app.worker_main(["worker", "--pool=solo", "-Q", queue("cpu"), "-l", "WARNING", "-n", NAME, "--without-mingle",
                     "--without-gossip", "--without-heartbeat"])  # fmt: skip
