"""What a user would write without searchd: Celery on Redis, a driver with ASHA (stopping), reports that are answered.

    python -P bench/engine/celery_by_hand.py lost|noop TRIALS       (peers.py runs it: `--system celery`)

No checkpoints, nothing recorded, nothing recovered: a driver that dies loses the study, a worker that dies its trial.
A report goes to a stream; the driver's answer (go on or stop) to the trial's own list, where the worker waits for it.
Prints [steps, wall s, CPU s of worker and driver] as JSON. The wall begins when the workers answer.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from celery import Celery
from redis import Redis

URL = os.environ.get("BENCH_BROKER", "")
STEPS, STEP_S, WORKERS, ETA = 27, 0.05, 2, 3
app = Celery("by_hand", broker=URL.replace("unix://", "redis+socket://"))
app.conf.update(worker_prefetch_multiplier=1, task_ignore_result=True, worker_hijack_root_logger=False)
_redis: list[Redis] = []


def connection() -> Redis:
    """One for each process, made at its first use (Celery's children are forks)."""
    if not _redis:
        _redis.append(Redis.from_url(URL, decode_responses=True))
    return _redis[0]


@app.task(name="train")
def train(number: int, momentum: float, pause: float) -> None:
    redis = connection()
    for step in range(1, STEPS + 1):
        if pause:
            time.sleep(pause)
        loss = (momentum - 0.5) ** 2 + 1.0 / (1 + step)
        redis.xadd("up", {"m": json.dumps({"trial": number, "step": step, "loss": loss})})
        answer = redis.blpop([f"down:{number}"], timeout=30)
        if answer is None or answer[1] == "stop":
            break
    redis.xadd("up", {"m": json.dumps({"trial": number, "end": True})})


def drive(what: str, trials: int) -> tuple[int, float]:
    """(steps, wall seconds) of `trials` trials, as many at once as there are workers."""
    redis, draw = connection(), random.Random(0)
    rungs: dict[int, list[float]] = defaultdict(list)
    begun = ended = steps = 0
    after = "0"
    began = time.perf_counter()
    while ended < trials:
        while begun < trials and begun - ended < WORKERS:
            train.delay(begun, draw.uniform(0, 0.99), STEP_S if what == "lost" else 0.0)
            begun += 1
        for _, entries in redis.xread({"up": after}, block=5000) or []:
            for entry, fields in entries:
                after, said = entry, json.loads(fields["m"])
                if said.get("end"):
                    ended += 1
                    continue
                steps += 1
                stop = False
                if what == "lost" and said["step"] in (1, 3, 9):
                    rung = rungs[said["step"]]
                    rung.append(said["loss"])
                    stop = said["loss"] > sorted(rung)[(len(rung) - 1) // ETA]
                redis.rpush(f"down:{said['trial']}", "stop" if stop or said["step"] == STEPS else "go")
    return steps, time.perf_counter() - began


def main(what: str, trials: int) -> None:
    import psutil
    from stage import cpu_s

    argv = [sys.executable, "-P", "-m", "celery", "-A", "celery_by_hand", "worker", "-c", str(WORKERS), "-l", "error",
            "--without-gossip", "--without-mingle", "--without-heartbeat"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    worker = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not app.control.ping(timeout=0.5):
            time.sleep(0.1)
        before = cpu_s(worker.pid, children=True) + sum(psutil.Process().cpu_times()[:2])
        steps, wall = drive(what, trials)
        spent = cpu_s(worker.pid, children=True) + sum(psutil.Process().cpu_times()[:2]) - before
        print(json.dumps([steps, wall, spent]))
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1], int(sys.argv[2]))
