"""Training functions for the tests of workers. A worker imports this file by `--path tests/support`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from workers.trial import Trial


def slow_count(trial: Trial) -> None:
    """A step takes `pause` seconds; counts over jobs."""
    count = trial.load(count=0).get("count", 0)
    for step in trial.steps():
        time.sleep(trial.config.get("pause", 0.02))
        count += 1
        trial.report(error=1.0 / step, count=count, pid=os.getpid(), torch="torch" in sys.modules)
        trial.save(count=count)


def describes(trial: Trial) -> object:
    """Whatever its config has under `said`."""
    return trial.config["said"]


def size(trial: Trial) -> dict[str, object]:
    """Ten a unit of k; four units are too many."""
    k = trial.config["k"]
    return {"size": 10 * k, "veto": "four is too many"} if k == 4 else {"size": 10 * k}


def learns(trial: Trial) -> None:
    """An error that falls, and nothing of the size."""
    trial.load(count=0)
    for step in trial.steps():
        trial.report(error=trial.config["x"] + 1.0 / step)
        trial.save(count=step)


def no_steps(trial: Trial) -> None:
    time.sleep(trial.config.get("pause", 60))


def raises(trial: Trial) -> None:
    for step in trial.steps():
        trial.report(error=float(step))
        if step == 2:
            raise ValueError("a secret of the user's code")


def out_of_memory(trial: Trial) -> None:
    for _ in trial.steps():
        bytearray(2**62)


def torch_out_of_memory(trial: Trial) -> None:
    import torch

    for _ in trial.steps():
        torch.empty(2**50)


def accelerator_out_of_memory(trial: Trial) -> None:
    import torch

    for _ in trial.steps():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def diverges(trial: Trial) -> None:
    for step in trial.steps():
        trial.report(error=float("nan") if step == 2 else 0.5)


def segfaults(trial: Trial) -> None:
    for _ in trial.steps():
        os.kill(os.getpid(), signal.SIGSEGV)


def leaves(trial: Trial) -> None:
    for _ in trial.steps():
        os._exit(3)


def calls_exit(trial: Trial) -> None:
    for _ in trial.steps():
        sys.exit("enough")


def ends_early(trial: Trial) -> None:
    for step in trial.steps():
        trial.report(error=1.0)
        if step == 2:
            break


def prints(trial: Trial) -> None:
    for _ in trial.steps():
        print('{"up": "ended", "outcome": "failed"}')
        os.write(1, b"raw bytes on the standard output\n")
        trial.report(error=1.0)


def train_net(trial: Trial) -> None:
    """A small net, with everything that has state; slow enough to be killed in the middle."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(trial.seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    trial.load(model, optimizer)
    x = torch.linspace(-1, 1, 64).reshape(16, 4)
    for _ in trial.steps():
        time.sleep(trial.config.get("pause", 0.0))
        loss = ((model(x[torch.randperm(16)]) - x[:, :1]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(error=loss)
        trial.save(model, optimizer)


def detaches(trial: Trial) -> None:
    """Starts a program in a session of its own, twice removed, and forgets it."""
    popen = "subprocess.Popen(['sleep', '300'], start_new_session=True, stdout=-3, stderr=-3)"
    code = f"import subprocess; print({popen}.pid)"
    for _ in trial.steps():
        time.sleep(0.1)
        if trial.step == 1:
            pid = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        trial.report(error=1.0, detached=int(pid))
