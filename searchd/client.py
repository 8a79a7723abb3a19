"""The SDK: studies of a daemon (over HTTP) or of a folder on this machine (no daemon needed), with the same answers.

    from searchd import Client, Study

    client = Client("http://127.0.0.1:8700", token="...")      # or Client(): the folder ./out
    study = client.submit(Study.load("digits.yaml"))
    for event in client.watch(study):
        print(event["text"])
    client.front(study, frame=True)                            # a DataFrame
    client.download(study, trial=12, to="best/")               # model.onnx, weights, config
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import httpx

from searchd.errors import Missing, NotFound, SearchdError, Unreachable
from searchd.folder import Folder
from searchd.remote import Remote

if TYPE_CHECKING:
    import pandas as pd

    from spaces.study import Study

ENDED = frozenset({"done", "stopped", "faulted"})
POLL_S = 0.5


class Backend(Protocol):
    """Where the answers come from: `Remote` (HTTP) or `Folder`."""

    def studies(self) -> list[dict[str, Any]]: ...
    def read(self, study: str, view: str, **params: Any) -> Any: ...
    def command(self, study: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]: ...
    def submit(self, spec: dict[str, Any], artifacts: str | None = None) -> str: ...
    def workers(self) -> list[dict[str, Any]]: ...
    def fetch(self, study: str, path: str, to: Path) -> None: ...
    def devices(self) -> list[dict[str, Any]]: ...
    def device(self, name: str, *, whole: bool = False) -> dict[str, Any]: ...
    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]: ...
    def remove_device(self, name: str) -> None: ...
    def profile_device(self, name: str, spec: dict[str, Any], architectures: int | None) -> dict[str, Any]: ...
    def me(self) -> dict[str, Any]: ...
    def tokens(self) -> list[dict[str, Any]]: ...
    def add_token(self, name: str, scope: str, expires_s: float | None = None) -> dict[str, Any]: ...
    def remove_token(self, name: str) -> None: ...
    def alive(self, study: str) -> bool: ...
    def goes_on(self, study: str) -> str: ...
    def home(self, study: str) -> Path | None: ...
    def code(self, study: str) -> Path | None: ...
    def close(self) -> None: ...


class Client:
    """Everything a person can ask of searchd. STUDY is a name, an id, or (without a URL) a folder.

    `url` defaults to SEARCHD_URL, `token` to SEARCHD_TOKEN or the text of the file SEARCHD_TOKEN_FILE; with neither a
    URL nor that variable, or when `root` is given, the folder `root` (SEARCHD_ROOT, else `out`) is read. Answers are
    plain JSON values. Raises `SearchdError`s.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        from searchd.settings import load_settings

        if url is None and root is None:
            url = load_settings("url").url
        self.backend: Backend
        if url is not None:
            at = load_settings("url", "token", url=url, token=token or None)
            self.backend = Remote(str(at.url), at.secret, timeout_s=timeout_s, transport=transport)
        else:
            self.backend = Folder(root or os.environ.get("SEARCHD_ROOT") or "out")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.backend.close()

    # ------------------------------------------------------------ reads
    def studies(self) -> list[dict[str, Any]]:
        """Every study at a glance, newest first."""
        return self.backend.studies()

    def show(self, study: str) -> dict[str, Any]:
        """One study at a glance: status, trials by state, steps_done, hypervolume, busy_fraction, seconds, ..."""
        answer: dict[str, Any] = self.backend.read(study, "")
        return answer

    def spec(self, study: str) -> dict[str, Any]:
        """The study file as a dict, defaults written out; `Study.parse` takes it."""
        answer: dict[str, Any] = self.backend.read(study, "spec")
        return answer

    @overload
    def front(self, study: str, frame: Literal[False] = False) -> list[dict[str, Any]]: ...
    @overload
    def front(self, study: str, frame: Literal[True]) -> pd.DataFrame: ...
    def front(self, study: str, frame: bool = False) -> Any:
        """The points that no other dominates: `{"trial", "point", "step", "config", "metrics"}`, or a DataFrame."""
        points: list[dict[str, Any]] = self.backend.read(study, "front")
        return _frame(points) if frame else points

    @overload
    def trials(self, study: str, frame: Literal[False] = False) -> list[dict[str, Any]]: ...
    @overload
    def trials(self, study: str, frame: Literal[True]) -> pd.DataFrame: ...
    def trials(self, study: str, frame: bool = False) -> Any:
        """Every trial with its config, status and last metrics; `frame`: a DataFrame."""
        rows: list[dict[str, Any]] = self.backend.read(study, "trials")
        return _frame(rows) if frame else rows

    def trial(self, study: str, n: int) -> dict[str, Any]:
        """One trial's whole life: reports, jobs, points, files."""
        answer: dict[str, Any] = self.backend.read(study, f"trials/{int(n)}")
        return answer

    def logs(self, study: str, trial: int) -> list[dict[str, Any]]:
        """What a trial's jobs printed, attempt by attempt: `output`, `error` (the traceback), `cause` of the end."""
        answer: list[dict[str, Any]] = self.backend.read(study, f"trials/{int(trial)}/logs")
        return answer

    def curves(self, study: str, metric: str | None = None) -> list[dict[str, Any]]:
        """`{"trial", "step", "value"}` of a metric (default: the first objective), by trial and step."""
        answer: list[dict[str, Any]] = self.backend.read(study, "curves", metric=metric)
        return answer

    def rungs(self, study: str) -> list[dict[str, Any]]:
        """Who stands on which rung of which bracket."""
        answer: list[dict[str, Any]] = self.backend.read(study, "rungs")
        return answer

    def compare(
        self, study: str, parameter: str, metric: str | None = None, step: int | None = None
    ) -> dict[str, Any]:
        """The `options` of a choice side by side (default: by the first objective, after the deepest step), the best
        first, and the `test` whether the best two differ."""
        found = self.backend.read(study, "compare", parameter=parameter, metric=metric, step=step)
        answer: dict[str, Any] = found
        return answer

    def log(self, study: str, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """The decision log after seq `after`, oldest first."""
        answer: list[dict[str, Any]] = self.backend.read(study, "log", after=after, limit=limit)
        return answer

    def watch(self, study: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """The log as it grows, until the study ends."""
        while True:
            status = self.show(study)["status"]
            entries = self.log(study, after, 500)
            for entry in entries:
                after = entry["seq"]
                yield entry
            if entries:
                continue
            if status in ENDED:
                return
            time.sleep(POLL_S)

    def wait(self, study: str, timeout_s: float | None = None) -> dict[str, Any]:
        """The summary once the study has ended; raises SearchdError when `timeout_s` is over first."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while (summary := self.show(study))["status"] not in ENDED:
            if end is not None and time.monotonic() > end:
                raise SearchdError(f"study {study!r} is {summary['status']} after {timeout_s:g} s; wait longer")
            time.sleep(POLL_S)
        return summary

    def past_problems(self, study: Study) -> list[str]:
        """What would go wrong with the `warm_start` of a study that is submitted here: a name that is not there, one
        that nothing can be learned from. Empty as well where nobody can tell: no folder yet, no part to read it."""
        from searchd.folder import past_problem

        found = (past_problem(study, name, self.backend) for name in study.warm_start)
        return list(dict.fromkeys(f"warm_start: {said.removeprefix('warm_start: ')}" for said in found if said))

    def workers(self) -> list[dict[str, Any]]:
        """Every live worker slot: name, device, labels, state, since when, and its job: study, trial, step, until."""
        return self.backend.workers()

    def devices(self) -> list[dict[str, Any]]:
        """Every registered device with its profile at a glance."""
        return self.backend.devices()

    def device(self, name: str, *, whole: bool = False) -> dict[str, Any]:
        """One registered device: identity, facts, profile and how good it is; `whole`: the profile's table itself."""
        return self.backend.device(name, whole=whole)

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        """Register the device that live workers of this class serve (`searchd device add` does it without a daemon)."""
        return self.backend.add_device(name, runtime)

    def remove_device(self, name: str) -> None:
        """Forget a device and its profile."""
        self.backend.remove_device(name)

    def profile_device(
        self, name: str, study: Study | Mapping[str, Any], architectures: int | None = None
    ) -> dict[str, Any]:
        """Have the operators of a study timed on a device; answers at once: `device(name)` says how it goes."""
        from spaces.study import Study

        spec = study if isinstance(study, Study) else Study.parse(dict(study))
        return self.backend.profile_device(name, spec.dump(), architectures)

    def me(self) -> dict[str, Any]:
        """Whose token this is, and how far it reaches: `{"name", "scope"}`."""
        return self.backend.me()

    def tokens(self) -> list[dict[str, Any]]:
        """Every token of the daemon but its own: name, scope, created, expires, expired. Never a secret."""
        return self.backend.tokens()

    def add_token(self, name: str, scope: str, expires_s: float | None = None) -> dict[str, Any]:
        """A new token of scope `read`, `submit` or `admin`; `token` of the answer is its secret, told this once."""
        return self.backend.add_token(name, scope, expires_s)

    def remove_token(self, name: str) -> None:
        """The token is none from now on."""
        self.backend.remove_token(name)

    def local_root(self) -> Path | None:
        """The folder that is read, where no daemon serves it; None: a daemon answers."""
        from searchd.alive import live_daemon

        if not isinstance(self.backend, Folder):
            return None
        daemon = live_daemon(self.backend.root)
        if daemon is None:
            return self.backend.root
        daemon.close()
        return None

    def folder(self, study: str) -> Path | None:
        """The folder of a study that `searchd run` left there; None of one that a service keeps."""
        return self.backend.home(study)

    def alive(self, study: str) -> bool:
        """Whether a daemon stands behind the study now."""
        return self.backend.alive(study)

    def goes_on(self, study: str) -> str:
        """What makes a study go on that no daemon runs, in words."""
        return self.backend.goes_on(study)

    def download(
        self, study: str, trial: int, to: str | os.PathLike[str], *, checkpoints: bool = False
    ) -> list[Path]:
        """Copy a trial's files (model.onnx, weights.bin, config.json, ... of a verified front trial) into `to`.

        With `checkpoints` those of its training too. A trial of a function or a command gets config, card and
        `reproduce.yaml` besides.
        """
        from searchd import again

        found = self.trial(study, trial)
        there = found["files"]
        if found.get("files_unknown"):
            raise Unreachable(found["files_unknown"])
        names = [n for n in there if checkpoints or not n.startswith(("ckpt-", "log-"))]
        by_user = again.made_by_user(self.spec(study))
        if not names and not by_user:
            what = "no files but checkpoints and logs (--checkpoints copies them)" if there else "no files"
            raise NotFound(f"trial {trial} of {study!r} has {what}; those on the front of an ended study have a model")
        folder = Path(to)
        written = []
        for name in names:
            path = _below(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.backend.fetch(study, f"trials/{int(trial)}/{name}", path)
            written.append(path)
        if by_user:
            mine = again.write(lambda view: self.backend.read(study, view), trial, folder, self.backend.code(study))
            written += [path for path in mine if path not in written]
        return written

    # ------------------------------------------------------------ changes
    def submit(self, study: Study | Mapping[str, Any] | str | os.PathLike[str], artifacts: str | None = None) -> str:
        """Give a daemon a study (a Study, a dict, or the path of a file); answers its id."""
        from spaces.study import Study

        if isinstance(study, str | os.PathLike):
            study = Study.load(Path(study))
        elif not isinstance(study, Study):
            study = Study.parse(dict(study))
        if study.warm_start:
            from searchd.folder import with_past

            study = with_past(study)
        return self.backend.submit(study.dump(), artifacts)

    def pause(self, study: str) -> dict[str, Any]:
        """No new jobs; running ones go on."""
        return self.backend.command(study, "pause")

    def resume(self, study: str) -> dict[str, Any]:
        """Go on with a paused or stopped study."""
        return self.backend.command(study, "resume")

    def stop(self, study: str) -> dict[str, Any]:
        """End the search; the front is verified, then the study is `stopped`."""
        return self.backend.command(study, "stop")

    def stop_trial(self, study: str, trial: int) -> dict[str, Any]:
        """Give up on one trial for good."""
        return self.backend.command(study, f"trials/{int(trial)}/stop")

    def inject(self, study: str, values: Mapping[str, Any]) -> int:
        """Make a config of yours the next trial; answers its number."""
        return int(self.backend.command(study, "inject", {"values": dict(values)})["trial"])

    def deepening(self, study: str, max_resource: int, trials: int | None = None) -> dict[str, Any]:
        """What `deepen` would cost: `extra` work and that of a `fresh` search, by `rungs`; nothing is changed."""
        found = self.backend.read(study, "deepen", max_resource=int(max_resource), trials=trials)
        answer: dict[str, Any] = found
        return answer

    def deepen(self, study: str, max_resource: int, trials: int | None = None) -> dict[str, Any]:
        """Raise R to `max_resource` (R · eta^k), and perhaps `trials`; training goes on from the checkpoints."""
        return self.backend.command(study, "deepen", {"max_resource": int(max_resource), "trials": trials})

    def gc(self, study: str, *, dry_run: bool = False, final: bool = False) -> dict[str, Any]:
        """Remove checkpoints that can no longer be needed; with `dry_run` only count them (`files`, `bytes`, `why`,
        `kept_files`, `kept_bytes`). `final`: the study is never deepened or extended: only the front keeps its own."""
        if dry_run:
            found: dict[str, Any] = self.backend.read(study, "gc", final=final)
            return found
        return self.backend.command(study, "gc", {"final": final})

    def extend(self, study: str, **budget: Any) -> dict[str, Any]:
        """Replace the budget (`trials`, `hours`, `steps`, `parallel`; absent: no limit). An ended study goes on."""
        return self.backend.command(study, "extend", {"budget": budget})

    def prioritize(self, study: str, priority: float) -> dict[str, Any]:
        """Give a study another weight where studies share worker slots: twice the weight, twice the slots."""
        return self.backend.command(study, "priority", {"priority": priority})

    def rebase(self, study: str, *, apply: bool = False) -> dict[str, Any]:
        """Let the daemon's version decide from here on a study whose log it does not replay: what was trained stays.

        Without `apply` nothing changes, and a folder needs no daemon: `difference` and `text` (the first decision that
        comes out otherwise; None where there is none, then `apply` is refused), `trials` and `steps` that are kept,
        `jobs` that would end.
        """
        return self.backend.command(study, "rebase", {"apply": apply})


def _below(folder: Path, name: str) -> Path:
    """Where a file of this name goes; SearchdError when a daemon names one that would not lie in the folder."""
    path = folder / name
    try:
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts and "\\" not in name
        inside = inside and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise SearchdError(f"the daemon names a file {name!r}, which would not lie in {folder}: it was not written")
    return path


def _frame(rows: list[dict[str, Any]]) -> Any:
    """Rows as a DataFrame: metrics as columns of their own names, the config as `config.NAME`, a parent's number."""
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise Missing("a DataFrame needs pandas: pip install 'searchd[ui]' (or pandas)") from error
    flat = []
    for row in rows:
        rest = {k: v for k, v in row.items() if k not in {"metrics", "config"}}
        config = {f"config.{k}": v for k, v in row["config"].items()}
        if "parent" in row:
            rest["parent"] = None if row["parent"] is None else row["parent"]["trial"]
        flat.append(rest | (row.get("metrics") or {}) | config)
    return pd.DataFrame(flat)
