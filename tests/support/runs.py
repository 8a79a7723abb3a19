"""`searchd run` as a user starts it; its whole family can be found by a mark in the environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from searchd import Client
from searchd.errors import SearchdError
from searchd.folder import Folder
from searchd.replay import replay

MARK = "SEARCHD_TEST_FAMILY"


class Run:
    """One `searchd run FILE`; `family` finds every process that came of it, also one that lost its parent.

    `command`: another one, with its options, the last of which takes `out`; `file` is then what it is about.
    """

    def __init__(self, file: Path | str, out: Path, *args: str, command: Sequence[str] = ("run", "--out")) -> None:
        self.mark = uuid.uuid4().hex
        self.out = out.resolve()
        self.client = Client(root=out)
        argv = [sys.executable, "-P", "-c", "from searchd.cli import main; main()", command[0], str(file)]
        argv += [*command[1:], str(out)]
        self.process = subprocess.Popen(
            [*argv, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark},
        )

    def family(self) -> list[psutil.Process]:
        """Every living process with our mark, beside `searchd run` itself.

        The broker writes its title over its environment: it is known by its folder.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get(MARK) == self.mark or Path(process.cwd()).is_relative_to(self.out)
                if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != self.process.pid:
                    found.append(process)
        return found

    def named(self, *words: str) -> list[psutil.Process]:
        """Those of the family whose command line holds all `words` (and is not the guard on its way to become it)."""
        found = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if all(w in line for w in words) and "searchd.guard" not in line:
                    found.append(process)
        return found

    def end(self, timeout_s: float = 240.0) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def answer(self) -> dict[str, Any]:
        """With --json: what it printed at its successful end."""
        code, out, err = self.end()
        assert code == 0, (code, out[-1000:], err[-1000:])
        told: dict[str, Any] = json.loads(out)
        return told

    def steps(self, study: str) -> int:
        """How many steps are recorded; 0 while there is no study yet."""
        try:
            return int(self.client.show(study)["steps_done"])
        except SearchdError:
            return 0

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> Any:
        end = time.monotonic() + timeout_s
        while not (answer := condition()):
            if self.process.poll() is not None:
                _, error = self.process.communicate()
                raise AssertionError(f"it ended with {self.process.returncode} before {what}: {error[-1000:]}")
            assert time.monotonic() < end, f"waited {timeout_s:g} s in vain for {what}"
            time.sleep(0.1)  # to ask costs 15 ms of the processor that the study needs
        return answer

    def close(self) -> None:
        """Nothing of it outlives the test."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()


def check_reports(client: Client, study: str, trials: int) -> None:
    """What holds of every ended study, whatever happened to it: nothing is lost and nothing counted twice."""
    summary = client.show(study)
    assert summary["status"] == "done", summary
    assert summary["trials"]["total"] == trials
    assert summary["trials"]["failed"] == 0, [t for t in client.trials(study) if t["status"] == "failed"]
    assert summary["jobs"] == {"queued": 0, "running": 0}
    steps = 0
    for row in client.trials(study):
        reported = [r["step"] for r in client.trial(study, row["trial"])["reports"]]
        assert reported == list(range(1, row["step"] + 1)), "every step once, none missing"
        steps += row["step"]
    assert summary["steps_done"] == summary["reports"] == steps
    told = Counter((e["payload"]["trial"], e["payload"]["step"]) for e in client.log(study)
                   if e["kind"] == "told" and e["payload"]["event"] == "reported")  # fmt: skip
    assert set(told.values()) == {1}, "no report is counted twice"
    assert all("test_accuracy" in p["metrics"] for p in client.front(study))


def check_ended(out: Path, study: str, trials: int) -> None:
    """`check_reports` of a study in a folder, and its whole log replays."""
    with Client(root=out) as client:
        check_reports(client, study, trials)
    folder = Folder(out)
    with folder.opened(study) as (reader, identity):
        report = replay(reader, identity)
    folder.close()
    assert report.equal, report.differences


@contextlib.contextmanager
def running(
    file: Path | str, out: Path, *args: str, command: Sequence[str] = ("run", "--out")
) -> Iterator[Run]:
    run = Run(file, out, *args, command=command)
    try:
        yield run
    finally:
        run.close()
