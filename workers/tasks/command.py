"""A user's program as a training task: the config goes in as JSON, JSON lines on its standard output are reports.

The program finds its config (nested) on standard input and in the file `$SEARCHD_CONFIG`; argv may hold `{config}`
(that file), `{seed}`, `{since}`, `{checkpoint}`, `{files}`, `{trial}`, `{python}` and any active parameter (`{lr}`,
`{optimizer.sgd.lr}`). Each line of JSON is a report: `{"step": 1, "val_error": 0.2}` (without `step`: the next one),
with `"points": [...]` and `"checkpoint": "FILE"` if it wants: a file in `$SEARCHD_FILES` that stays as it is until
the next report (name it after the step). It is copied, and a later job gets the copy as `$SEARCHD_CHECKPOINT`, with the
steps that it has behind it as `$SEARCHD_SINCE`. Other lines go to the log.
A program runs its steps one after the other until it gets SIGTERM; it need not know how many there are.
A program that describes a config gets the same, and ends by itself: its lines of JSON together are the description.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from searchd.errors import NotFound, Refused
from searchd.storage import write_atomically
from workers.pipes import CHUNK
from workers.tether import tied
from workers.trial import Ending, Trial
from workers.wanted import example

TAIL_CHARS = 4000
LINE_CHARS = 80
OURS = frozenset({"step", "points", "checkpoint"})
"""What is no metric in a line of JSON."""
END_S = 3.0
LOOK_S = 0.1


def runner(
    argv: list[str], allow: tuple[str, ...], path: tuple[str, ...], *, instances: bool = False
) -> Callable[[Trial], None]:
    """The training function that runs `argv`, in the first folder of `path`, a step at a time or on an instance.
    Refused when not allow-listed."""
    _check(argv, allow)
    folder = path[0] if path else None
    if instances:
        from workers.tasks import instance

        return lambda trial: instance.train(trial, argv, folder)
    return lambda trial: train(trial, argv, folder)


def describer(argv: list[str], allow: tuple[str, ...], path: tuple[str, ...]) -> Callable[[Trial], dict[str, Any]]:
    """The function that runs `argv` to its end and answers what it said. Refused when not allow-listed."""
    _check(argv, allow)
    return lambda trial: describe(trial, argv, path[0] if path else None)


def _check(argv: list[str], allow: tuple[str, ...]) -> None:
    if not argv:
        raise NotFound("task command has an empty argv; give the program and its arguments as a list")
    entries = [entry for entry in allow if entry == "command" or entry.startswith("command:")]
    if not any(entry == "command" or fnmatchcase(f"command:{argv[0]}", entry) for entry in entries):
        listed = ", ".join(allow) or "nothing"
        raise Refused(
            f"command {argv[0]!r} is not on this worker's allow-list, which has {listed}; "
            f"start the worker with --allow command:{argv[0]} to run it, or with --allow command for any"
        )


def describe(trial: Trial, argv: list[str], folder: str | None) -> dict[str, Any]:
    """Run the program to its end; its lines of JSON, the later ones over the earlier. Ending when it fails."""
    running = program(trial, argv, folder, {"since": "0", "checkpoint": ""})
    try:
        lines = running.to_the_end()
    finally:
        running.end()
    if not lines:
        raise Ending("failed", "bad description", "the command ended without a line of JSON; print one: "
                     '{"parameters": 1234}')  # fmt: skip
    return {name: value for line in lines for name, value in line.items()}


def program(trial: Trial, argv: list[str], folder: str | None, more: Mapping[str, str]) -> Program:
    """The program started with this trial's config; `more`: names beside ours that argv and environment know."""
    config = trial.files / "config.json"
    write_atomically(config, json.dumps(trial.config, indent=1).encode())
    known = {"config": str(config), "seed": str(trial.seed), "files": str(trial.files), "trial": str(trial.number),
             **more}  # fmt: skip
    return Program(fill(argv, known | {"python": sys.executable}, trial.flat), folder, known, trial)


def train(trial: Trial, argv: list[str], folder: str | None) -> None:
    """Run the program over this job's steps."""
    since, file = trial.resume_file()
    running = program(trial, argv, folder, {"since": str(since), "checkpoint": str(file or "")})
    try:
        report: dict[str, Any] | None = None
        for step in trial.steps():
            while report is None or report["step"] < step:
                report = running.report(step)
                if report is None:
                    return
            if report["step"] == step:
                _hand_over(trial, step, report)
                report = None
    finally:
        running.end()


def _hand_over(trial: Trial, step: int, report: Mapping[str, Any]) -> None:
    """One line of the program as a report, and its checkpoint made ours."""
    metrics = {k: v for k, v in report.items() if k not in OURS}
    if report.get("checkpoint"):
        file = trial.files / str(report["checkpoint"])
        try:
            trial.checkpointed(trial.checkpoints.adopt(step, file))
        except OSError as error:
            raise Ending("failed", "no checkpoint", f"step {step}: {file} cannot be read: {error.strerror}") from error
    try:
        trial.report(metrics, points=report.get("points"))
    except (TypeError, AttributeError) as error:
        raise Ending("failed", "bad report", f"step {step}: {error}") from error


def fill(argv: list[str], known: Mapping[str, str], flat: Mapping[str, Any]) -> list[str]:
    """argv with every `{name}` replaced. NotFound for a name that is neither ours nor an active parameter."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in known:
            return known[name]
        if name in flat:
            return str(flat[name])
        raise NotFound(
            f"{{{name}}} in the command is neither one of {', '.join(sorted(known))} nor an active parameter of this "
            f"trial ({', '.join(sorted(flat))}); read conditional parameters from the file {{config}}"
        )

    return [re.sub(r"\{([A-Za-z_][\w.]*)\}", value, part) for part in argv]


class Program:
    """The running program. It dies with this process, and its whole group is ended with it."""

    def __init__(self, argv: list[str], folder: str | None, known: Mapping[str, str], trial: Trial) -> None:
        self._trial = trial
        self._lines: list[dict[str, Any]] = []
        self._rest = {"out": b"", "err": b""}
        self._tail = ""
        self._names: dict[str, None] = {}  # of every metric that was said
        self._no_json = ""
        env = os.environ | {f"SEARCHD_{name.upper()}": value for name, value in known.items()}
        here = str(Path(sys.executable).parent)  # last, so that `python` is this environment's where there is no other
        env["PATH"] = os.pathsep.join(filter(None, [env.get("PATH"), here]))
        with Path(known["config"]).open("rb") as config:
            self._process = subprocess.Popen(
                tied(argv), cwd=folder, env=env, stdin=config, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._open = {"out": self._process.stdout, "err": self._process.stderr}

    def report(self, step: int) -> dict[str, Any] | None:
        """The next report with its step; None when the job was asked to end. Ends the job if the program did."""
        while not self._lines:
            if self._trial.stopping:
                return None
            self._read()
            if not self._lines and not self._open:
                self._ended(step)
        line = self._lines.pop(0)
        line.setdefault("step", step)
        if not isinstance(line["step"], int):
            raise Ending("failed", "bad report", f"the step of a report is {line['step']!r}, not a whole number")
        return line

    def to_the_end(self, limit: Callable[[], float] = lambda: math.inf) -> list[dict[str, Any]] | None:
        """All its lines of JSON once it has ended; None when it ran longer than `limit()` [s], which may shrink
        meanwhile. Ending when it did not end well."""
        began = time.monotonic()
        while self._open or self._process.poll() is None:
            if time.monotonic() - began > limit():
                return None
            if self._open:
                self._read(LOOK_S / 10)
            else:
                time.sleep(LOOK_S / 10)
        self._check_code()
        return self._lines

    def _ended(self, step: int) -> NoReturn:
        self._check_code()
        said = f"the command ended after step {step - 1}, but the trial goes on; let it run until it gets SIGTERM"
        lacking = [name for name in self._trial.objectives if name not in self._names]
        if not self._names:
            odd = f": {self._no_json} is none" if self._no_json else ""
            how = example("command", lacking)
            said = f"it ended and none of its lines was JSON{odd}; {how} after each step, until it gets SIGTERM"
        elif lacking:
            said += f". Its lines have {', '.join(self._names)}, and the objectives need {', '.join(lacking)}"
        raise Ending("failed", f"ended at step {step - 1}", said)

    def _check_code(self) -> None:
        code = self._process.wait()
        if code != 0:
            reason = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
            raise Ending("failed", reason, self._tail.strip() or "the command wrote nothing to standard error")

    def _read(self, wait_s: float = LOOK_S) -> None:
        """What both streams hold now; waits a moment when they hold nothing."""
        ready = select.select([s.fileno() for s in self._open.values()], [], [], wait_s)[0]
        for name, stream in list(self._open.items()):
            if stream.fileno() not in ready:
                continue
            data = os.read(stream.fileno(), CHUNK)
            if not data:
                del self._open[name]
                data = b"\n" if self._rest[name] else b""
            *lines, self._rest[name] = (self._rest[name] + data).split(b"\n")
            for line in lines:
                self._line(name, line.decode(errors="replace"))

    def _line(self, name: str, line: str) -> None:
        if name == "out" and line.lstrip().startswith("{"):
            with contextlib.suppress(json.JSONDecodeError):
                self._lines.append(json.loads(line))
                self._heard(self._lines[-1])
                return
            self._no_json = self._no_json or line.strip()[:LINE_CHARS]
        if name == "err":
            self._tail = f"{self._tail}{line}\n"[-TAIL_CHARS:]
        print(line, file=sys.stderr, flush=True)

    def _heard(self, line: Mapping[str, Any]) -> None:
        """Take note of the metrics that were said."""
        points = line.get("points")
        parts = [line, *(points if isinstance(points, list) else ())]
        self._names |= dict.fromkeys(n for part in parts if isinstance(part, dict) for n in part if n not in OURS)

    def end(self) -> None:
        """SIGTERM, a moment, SIGKILL for all of its group."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
