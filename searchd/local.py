"""`searchd run`: broker, daemon and workers as processes of this machine, around one study and one folder.

The folder `out/NAME` holds everything: the study's database (`study.db`), the broker's append-only file, the trials'
files, logs, and at the end the report. Any of the processes may die at any time: it is started again and the study
goes on. Ctrl-C and SIGTERM end all of them; running the file again resumes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchd.again import write_front
from searchd.alive import STATE, STUDY_DB, daemon_state, live_daemon
from searchd.broker import broker, short_folder, wait_until_it_answers
from searchd.errors import NotFound, Refused, SearchdError, Unreachable
from searchd.folder import (
    BESIDE,
    Folder,
    teach_device,
    with_device,
    with_past,
)
from searchd.functions import lacking
from searchd.local_folder import is_over, lock, made, remove
from searchd.private import write_private
from searchd.processes import Family, Interrupted, Member, Signals, listening
from searchd.progress import Progress
from searchd.standing_in import stands_in
from searchd.waiting import ALL_REFUSE
from spaces.lint import lint_study
from spaces.study import Study

ENDED = frozenset({"done", "stopped", "faulted"})
DAEMON_START_S = 60.0
POLL_S = 0.5
REFUSED_S = 8.0
"""So long every worker refuses the study before its run ends: what the run before noted is replaced sooner."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a local run ended. `summary` and `front` as the views give them; `interrupted`: the user ended it early."""

    folder: Path
    summary: dict[str, Any]
    front: list[dict[str, Any]]
    interrupted: bool = False
    report: str = ""
    """Why there is no report.html, or nothing."""
    failures: tuple[tuple[int, str], ...] = ()
    """How many trials failed of what, the most frequent first."""


def run_local(
    path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "out",
    slots: int | None = None,
    fresh: bool = False,
    rebase: bool = False,
    progress: Progress,
    code: str | os.PathLike[str] | None = None,
) -> Outcome:
    """Run the study file at `path` to its end, in `out/NAME`; a folder with the same study is resumed.

    `slots`: workers (default: the study's `budget.parallel`, else 2). `rebase`: when this version does not replay the
    study's log, go on all the same. `code`: where a user's function or program lies, if not beside the file. Raises
    StudyError for a bad file, Refused when the folder holds another study or a run is going on there, SearchdError when
    a process dies again and again.
    """
    study = Study.load(Path(path))
    folder = made(Path(out) / study.name)
    beside = Path(path).resolve().parent if code is None else Path(code).resolve()
    with lock(folder), contextlib.closing(Folder(folder)) as reader, listening() as signals:
        if fresh:
            remove(folder)
        if is_over(reader, study, folder):
            progress.say("this study has ended; --fresh runs it anew, a larger budget in the file goes on with it")
            return _outcome(reader, study, folder, interrupted=False, report=_report(folder))
        if problem := lacking(study.task, beside):
            raise Refused(f"{problem} (task {study.task.name}); nothing was started")
        if not (folder / STUDY_DB).is_file():
            study = with_device(with_past(study, folder.parent), folder.parent)  # told before anything starts
        (folder / BESIDE).write_text(str(beside))
        run = _Run(study, beside, folder, slots or study.budget.parallel or 2, progress, signals, reader,
                   rebase=rebase)  # fmt: skip
        interrupted = run.to_the_end()
        if not interrupted and study.latency == "predicted":
            teach_device(str(folder), folder.parent)
        if not interrupted:
            write_front(lambda view: reader.read(str(folder), view), folder, beside)
        report = "" if interrupted else _report(folder)
        return _outcome(reader, study, folder, interrupted=interrupted, report=report)


def deepen_local(
    folder: Path, max_resource: int, trials: int | None = None, *, slots: int | None = None, progress: Progress
) -> Outcome:
    """Raise R of the study that a `searchd run` left in `folder`, and run it to its new end.

    A function is looked for where it was when the study was run last. Errors as of `run_local`.
    """
    made(folder)
    with lock(folder), contextlib.closing(Folder(folder)) as reader, listening() as signals:
        study = Study.parse(reader.read(str(folder), "spec"))
        beside = folder / BESIDE
        run = _Run(study, Path(beside.read_text()) if beside.is_file() else Path.cwd(), folder,
                   slots or study.budget.parallel or 2, progress, signals, reader, (max_resource, trials))  # fmt: skip
        interrupted = run.to_the_end()
        report = "" if interrupted else _report(folder)
        return _outcome(reader, study, folder, interrupted=interrupted, report=report)


@dataclass(slots=True)
class _Run:
    """One run: the family of processes and what is shown of it. `beside`: the folder of the study's file; `deepen`: the
    new R that it is to go on to, with a new number of trials; `rebase`: whatever another version decided."""

    study: Study
    beside: Path
    folder: Path
    slots: int
    progress: Progress
    signals: Signals
    reader: Folder
    deepen: tuple[int, int | None] | None = None
    rebase: bool = False
    family: Family = field(init=False)

    def to_the_end(self) -> bool:
        """True when the user ended it before its time."""
        self.family = Family(tell=self.progress.say)
        short = short_folder()
        try:
            self._start(short)
            self._submit()
            return self._watch()
        except Interrupted:
            return True
        finally:
            self.family.end(hurry=self.signals.twice)
            shutil.rmtree(short, ignore_errors=True)
            for name in (STATE, "token"):
                (self.folder / name).unlink(missing_ok=True)

    def _start(self, short: Path) -> None:
        folder, logs = self.folder.resolve(), self.folder / "logs"
        sock = short / "broker.sock"
        self.family.add(broker(sock, folder / "broker", logs / "broker.log"))
        wait_until_it_answers(sock, self._tend)
        token = folder / "token"
        write_private(token, secrets.token_urlsafe(24))
        (folder / STATE).unlink(missing_ok=True)
        self.family.add(daemon(f"unix://{sock}", f"sqlite:///{folder / STUDY_DB}", folder, logs / "daemon.log", token))
        self.family.add(workers(f"unix://{sock}", self.study.device, self.slots, folder, logs / "workers.log",
                                allowed(self.study), self.beside, self.study.needs))  # fmt: skip

    def _tend(self) -> None:
        self.signals.check()
        self.family.tend()

    def _submit(self) -> None:
        """Give the daemon the study, or bring the one it has up to the file."""
        wait_for_daemon(self.folder, self._tend)
        known = self.reader.studies()
        root = self.folder.parent
        if not known:
            with daemon_of(self.folder) as remote:
                remote.submit(with_device(with_past(self.study, root), root).dump(), ".")
            self.progress.say(f"{self.study.name}: {self.slots} workers, files in {self.folder}/")
            for finding in (*stands_in(self.study, root), *lint_study(self.study)):
                self.progress.say(f"look: {finding}")
            return
        summary, spec = known[0], self.reader.read(str(self.folder), "spec")
        wanted = self.study.dump()
        with daemon_of(self.folder) as remote:
            status = summary["status"]
            if self.rebase:
                status = self._rebase(remote, summary["id"]) or status
            if self.deepen is not None:
                R, trials = self.deepen
                body = {"max_resource": R, "trials": trials}
                status = remote.command(summary["id"], "deepen", body)["status"]
                self.progress.say(f"{self.study.name}: goes on to R = {R}")
            elif spec.get("budget") != wanted.get("budget"):
                status = remote.command(summary["id"], "extend", {"budget": wanted["budget"]})["status"]
                self.progress.say(f"{self.study.name}: resumed with the new budget of the file")
            else:
                self.progress.say(f"{self.study.name}: resumed at {summary['steps_done']} steps")
            if status in {"paused", "stopped", "faulted"}:
                remote.command(summary["id"], "resume")

    def _rebase(self, remote: Any, study: str) -> str | None:
        """The status afterwards; None when there was nothing to rebase."""
        try:
            answer = remote.command(study, "rebase", {"apply": True})
        except Refused as refused:
            self.progress.say(str(refused))
            return None
        self.progress.say(f"{self.study.name}: rebased, {answer['trials']} trials are kept; {answer['text']}")
        return str(answer["status"])

    def _watch(self) -> bool:
        name, news, after, willing = str(self.folder), "", 0, time.monotonic()
        while True:
            self._tend()
            with contextlib.suppress(NotFound):
                summary = self.reader.read(name, "")
                for entry in self.reader.read(name, "log", after=after, limit=500):
                    after = entry["seq"]
                    news = entry["text"] or news
                self.progress.show(summary, self.reader.read(name, "rungs"), news)
                if summary["status"] in ENDED:
                    return False
                if not str(summary["waits"]).startswith(ALL_REFUSE):
                    willing = time.monotonic()
                elif time.monotonic() - willing > REFUSED_S:  # no other worker will come
                    raise SearchdError(f"{self.study.name}: {summary['waits']}; then run it again")
            self._pause(POLL_S)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.signals.check()
            time.sleep(0.05)


# ---------------------------------------------------------------- the processes
def daemon(
    url: str, database: str, artifacts: Path, log: Path, token: Path | None, host: str = "127.0.0.1", port: int = 0
) -> Member:
    """The daemon: over `database` and the broker at `url`; writes `daemon.json` beside its artifacts when ready."""
    argv = [sys.executable, "-P", "-m", "searchd.daemon", "--database", database, "--broker", url]
    argv += ["--artifacts", str(artifacts), "--host", host, "--port", str(port)]
    argv += ["--state-file", str(artifacts / STATE)] + (["--token-file", str(token)] if token else [])
    return Member("daemon", argv, log, end_s=10.0)


def workers(
    url: str, device: str, slots: int, artifacts: Path, log: Path, allow: list[str], beside: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> Member:  # fmt: skip
    """The workers' supervisor with `slots` slots; `allow`: functions it may run, found in the folder `beside` too."""
    argv = [sys.executable, "-P", "-m", "workers", "--broker", url, "--device", device, "--slots", str(slots)]
    argv += ["--artifacts", str(artifacts)]
    for name in allow:
        argv += ["--allow", name]
    if beside is not None:
        argv += ["--path", str(beside)]
    for key, value in (labels or {}).items():
        argv += ["--label", f"{key}={value}"]
    return Member("workers", argv, log, end_s=15.0)


def allowed(study: Study) -> list[str]:
    """What the workers of this run may do beside the built-in task: running the file here is the permission."""
    match study.task.kind:
        case "function":
            return [study.task.name, *study.task.describe]
        case "command":
            return ["command"]
        case _:
            return []


def wait_for_daemon(folder: Path, tend: Callable[[], None]) -> None:
    """Until the daemon answers; Unreachable after a minute."""
    deadline = time.monotonic() + DAEMON_START_S
    while True:
        tend()
        state = daemon_state(folder)
        if state is not None and (remote := live_daemon(folder)) is not None:
            remote.close()
            return
        if time.monotonic() > deadline:
            raise Unreachable(f"the daemon did not start within {DAEMON_START_S:g} s; see {folder}/logs/daemon.log")
        time.sleep(0.05)


@contextlib.contextmanager
def daemon_of(folder: Path) -> Iterator[Any]:
    """The live daemon of a folder; Unreachable when there is none."""
    remote = live_daemon(folder)
    if remote is None:
        raise Unreachable(f"no daemon answers for {folder}/; see {folder}/logs/daemon.log")
    with contextlib.closing(remote):
        yield remote


def _report(folder: Path) -> str:
    """Write report.html, front.csv and front.png; answers why not, or nothing."""
    argv = [sys.executable, "-P", "-m", "ui.report", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}").splitlines()[-1]
    return f"no report: {last} (`{' '.join(argv[1:])}` tries again)"


def failures(trials: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, str], ...]:
    """Of those that failed, how many of what, the most frequent first: the reason and the last line of the error."""
    found: Counter[str] = Counter()
    for trial in trials:
        if trial["status"] == "failed":
            lines = str(trial["error"] or "").strip().splitlines()
            found[": ".join(filter(None, (trial["reason"], lines[-1].strip() if lines else "")))] += 1
    return tuple((count, why) for why, count in found.most_common())


def _outcome(reader: Folder, study: Study, folder: Path, *, interrupted: bool, report: str) -> Outcome:
    name = str(folder)
    try:
        why = failures(reader.read(name, "trials"))
        return Outcome(folder, reader.read(name, ""), reader.read(name, "front"), interrupted, report, why)
    except SearchdError:
        empty = {"name": study.name, "status": "queued", "steps_done": 0, "trials": {}, "reason": ""}
        return Outcome(folder, empty, [], interrupted, report)
