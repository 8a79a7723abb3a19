"""The same work by peers, beside `lost_time.py` and `throughput.py` in one run.

    python -P bench/engine/peers.py [--system searchd …] [--what lost noop] [--runs 3] > bench/engine/peers.csv
    python -P bench/engine/peers.py --python ANOTHER/bin/python --system ray ray-reused syne-tune

`lost`: 27 steps of 50 ms, 2 workers, 60 trials, successive halving, eta = 3; `lost_s` = (wall × 2 − steps × 50 ms) ÷
trials. Peers stop trials; our `asha` pauses and promotes them, in more and shorter jobs, so `searchd-stopping` is like
with like. `noop`: 400 trials of 27 reports that take no time, 2 workers. The wall begins when everything is started and
imported, where the peer lets one tell (Optuna's processes meet at a barrier; Ray and Syne Tune start theirs a trial).
`cpu_ms`: of all its processes, a trial. Ray Tune and Syne Tune want an environment of their own, and fewer trials:
what they cost a trial does not depend on how many there are.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP_S, STEPS, WORKERS = 0.05, 27, 2
COLUMNS = ("system", "what", "trials", "steps", "wall_s", "trials_s", "lost_s", "cpu_ms")
OURS = ("searchd", "searchd-stopping", "celery", "optuna-journal", "optuna-sqlite")
THEIRS = ("ray", "ray-reused", "syne-tune")


def _row(system: str, what: str, trials: int, steps: int, wall: float, cpu_s: float) -> dict[str, Any]:
    lost = (wall * WORKERS - steps * STEP_S) / trials if what == "lost" else ""
    return {"system": system, "what": what, "trials": trials, "steps": steps, "wall_s": round(wall, 2),
            "trials_s": round(trials / wall, 2), "lost_s": lost and round(lost, 4),
            "cpu_ms": round(1e3 * cpu_s / trials, 2)}  # fmt: skip


# ---------------------------------------------------------------- Optuna
def _storage(system: str, folder: str) -> Any:
    import optuna

    if system == "optuna-sqlite":
        patience = {"connect_args": {"timeout": 60}}
        return optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db", engine_kwargs=patience)
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(f"{folder}/journal.log"))


def _optuna_worker(system: str, what: str, folder: str, trials: int, meet: Any, said: Any) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name="bench", storage=_storage(system, folder), sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )  # fmt: skip
    steps = 0

    def objective(trial: Any) -> float:
        nonlocal steps
        x = trial.suggest_float("momentum", 0, 0.99)
        trial.suggest_float("lr", 1e-4, 1, log=True)
        loss = 0.0
        for step in range(1, STEPS + 1):
            if what == "lost":
                time.sleep(STEP_S)
            steps += 1
            loss = (x - 0.5) ** 2 + 1.0 / (1 + step)
            trial.report(loss, step)
            if what == "lost" and trial.should_prune():
                raise optuna.TrialPruned
        return loss

    meet.wait()
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    study.optimize(objective, n_trials=trials // WORKERS)
    said.put((steps, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before))


def optuna_bench(system: str, what: str, trials: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        optuna.create_study(study_name="bench", storage=_storage(system, folder))
        meet, said = context.Barrier(WORKERS + 1), context.Queue()
        processes = [context.Process(target=_optuna_worker, args=(system, what, folder, trials, meet, said))
                     for _ in range(WORKERS)]  # fmt: skip
        for process in processes:
            process.start()
        meet.wait()
        began = time.perf_counter()
        found = [said.get() for _ in processes]
        wall = time.perf_counter() - began
        for process in processes:
            process.join()
    return _row(system, what, trials, sum(n for n, _ in found), wall, sum(cpu for _, cpu in found))


# ---------------------------------------------------------------- searchd
def searchd_bench(system: str, what: str, trials: int) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parent))
    import lost_time
    import stage
    import throughput

    if what == "noop":
        row = throughput.workers(stage.HERE, trials)
        cpu = row["daemon_cpu_ms"] + row["broker_cpu_ms"] + row["workers_cpu_ms"]
        return _row(system, what, trials, row["reports"], row["wall_s"], cpu * trials / 1e3)
    row = lost_time.measure(stage.HERE, trials, "stopping" if system == "searchd-stopping" else "asha")
    return _row(system, what, trials, row["steps"], row["wall_s"],
                (row["daemon_cpu_ms"] + row["workers_cpu_ms"]) * trials / 1e3)  # fmt: skip


# ---------------------------------------------------------------- Celery by hand
def celery_bench(what: str, trials: int) -> dict[str, Any]:
    """`celery_by_hand.py` over the same kind of broker as ours."""
    from searchd.broker import broker, short_folder, wait_until_it_answers

    folder = short_folder()
    server = broker(folder / "broker.sock", folder / "data", folder / "log")
    server.start()
    try:
        wait_until_it_answers(folder / "broker.sock", lambda: None)
        done = subprocess.run(
            [sys.executable, "-P", str(Path(__file__).parent / "celery_by_hand.py"), what, str(trials)], check=True,
            env=os.environ | {"BENCH_BROKER": f"unix://{folder}/broker.sock"}, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        assert server.process is not None
        server.process.terminate()
        server.process.wait(30)
        shutil.rmtree(folder)
    steps, wall, cpu = json.loads(done.stdout.strip().splitlines()[-1])
    return _row("celery", what, trials, steps, wall, cpu)


# ---------------------------------------------------------------- Ray Tune, Syne Tune: in their own environment
RAY = """
import json, os, resource, sys, time
what, trials, reused = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "ray-reused"
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

class Steps(tune.Trainable):
    def setup(self, config): self.x, self.n = config["momentum"], 0
    def reset_config(self, config): self.setup(config); return True
    def step(self):
        if what == "lost": time.sleep(0.05)
        self.n += 1
        return {"loss": (self.x - 0.5) ** 2 + 1.0 / (1 + self.n), "done": self.n >= 27}
    def save_checkpoint(self, folder): open(os.path.join(folder, "n"), "w").write(str(self.n))
    def load_checkpoint(self, folder): self.n = int(open(os.path.join(folder, "n")).read())

scheduler = ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3) if what == "lost" else FIFOScheduler()
began = time.perf_counter()
found = tune.Tuner(
    tune.with_resources(Steps, {"cpu": 1}), param_space={"momentum": tune.uniform(0, 0.99)},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=trials, scheduler=scheduler,
                                max_concurrent_trials=2, reuse_actors=reused),
    run_config=tune.RunConfig(verbose=0, storage_path=sys.argv[4]),
).fit()
wall = time.perf_counter() - began
steps = sum(r.metrics["training_iteration"] for r in found)
import psutil
cpu = sum(sum(p.cpu_times()[:2]) for p in [psutil.Process(), *psutil.Process().children(recursive=True)])
print(json.dumps([steps, wall, cpu]))
"""
SYNE_TASK = """
import argparse, time
from syne_tune import Reporter
p = argparse.ArgumentParser(); p.add_argument("--momentum", type=float); p.add_argument("--pause", type=float)
p.add_argument("--counter")
a, _ = p.parse_known_args(); report = Reporter()
for step in range(1, 28):
    time.sleep(a.pause)
    open(a.counter, "a").write(".")
    report(epoch=step, loss=(a.momentum - 0.5) ** 2 + 1.0 / (1 + step))
"""
SYNE = """
import json, logging, os, resource, sys, time
logging.disable(logging.CRITICAL)
what, trials, task = sys.argv[1], int(sys.argv[2]), sys.argv[4] + "/task.py"
open(task, "w").write(open(sys.argv[4] + "/source").read())
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import ASHA, RandomSearch
space = {"momentum": uniform(0, 0.99), "pause": 0.05 if what == "lost" else 0.0,
         "counter": sys.argv[4] + "/steps"}
if what == "lost":
    scheduler = ASHA(space, metric="loss", time_attr="epoch", max_t=27, grace_period=1, reduction_factor=3)
else:
    scheduler = RandomSearch(space, metrics=["loss"])
tuner = Tuner(trial_backend=LocalBackend(entry_point=task), scheduler=scheduler, n_workers=2, sleep_time=0.1,
              stop_criterion=StoppingCriterion(max_num_trials_finished=trials), save_tuner=False,
              results_update_interval=1e9, print_update_interval=1e9)
began = time.perf_counter()
tuner.run()
wall = time.perf_counter() - began
steps = os.path.getsize(sys.argv[4] + "/steps")
kids = resource.getrusage(resource.RUSAGE_CHILDREN); own = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([steps, wall, sum(kids[:2]) + sum(own[:2])]))
"""


def other(python: str, system: str, what: str, trials: int) -> dict[str, Any]:
    """In another interpreter: what its script printed last."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source").write_text(SYNE_TASK)
        script = SYNE if system == "syne-tune" else RAY
        done = subprocess.run(
            [python, "-c", script, what, str(trials), system, folder], capture_output=True, text=True, timeout=900,
            env={**os.environ, "PYTHONPATH": "", "SYNETUNE_FOLDER": folder, "RAY_DEDUP_LOGS": "1"}, check=False,
            cwd=folder,  # Syne Tune leaves a file where it runs
        )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    steps, wall, cpu = json.loads(done.stdout.strip().splitlines()[-1])
    return _row(system, what, trials, steps, wall, cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--system", nargs="*", default=list(OURS))
    parser.add_argument("--what", nargs="*", default=["lost", "noop"])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--runs", type=int, default=1)
    said = parser.parse_args()
    rows = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for _ in range(said.runs):
        for what in said.what:
            for system in said.system:
                few = system in THEIRS
                trials = said.trials or {"lost": 20 if few else 60, "noop": 20 if few else 400}[what]
                if system == "searchd-stopping" and what == "noop":
                    continue  # a trial is one job without rungs, whatever decides
                if system.startswith("searchd"):
                    row = searchd_bench(system, what, trials)
                elif system == "celery":
                    row = celery_bench(what, trials)
                elif system.startswith("optuna"):
                    row = optuna_bench(system, what, trials)
                else:
                    row = other(said.python, system, what, trials)
                rows.writerow(row)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
