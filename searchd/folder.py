"""Studies in a folder of this machine, read without a daemon; what changes a study goes to the daemon that runs it.

Below the root lie `NAME/study.db` (one a `searchd run`) and `searchd.db` (of `searchd serve --local`), each with a
`daemon.json` beside it while a daemon is alive. This module reaches the store lazily: importing it stays light.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchd.alive import SERVICE_DB, STUDY_DB, goes_on, live_daemon, present, refusal
from searchd.errors import Missing, NotFound, Refused, SearchdError, Unreachable
from searchd.remote import Remote
from searchd.storage import copy_to, open_storage

if TYPE_CHECKING:
    from searchd.store.base import Reader, Store
    from spaces.study import Study

DEVICES = ".devices"
DEVICES_DB = "devices.db"
BESIDE = "beside"
"""The file that names the folder of the study's file: there a function is found again."""


class Folder:
    """The backend of a `Client` without a URL. STUDY is a name, an id, or a folder with a `study.db`."""

    def __init__(self, root: str | os.PathLike[str] = "out") -> None:
        self.root = Path(root)
        self._open: dict[Path, Store] = {}

    # ------------------------------------------------------------ reads
    def studies(self) -> list[dict[str, Any]]:
        from searchd import views

        found: list[dict[str, Any]] = []
        for path in self._databases():
            with contextlib.suppress(SearchdError), self._store(path).reading() as reader:
                found += [views.summary(reader, row.id, _now(path, reader, row.id)) for row in reader.studies()]
        return sorted(found, key=lambda s: s["created"], reverse=True)

    def read(self, study: str, view: str, **params: Any) -> Any:
        """One view of a study: `""` (the summary), `spec`, `front`, `trials`, `trials/N`, `trials/N/logs`, `curves`,
        `rungs`, `log`, `compare`, `deepen`."""
        from searchd import views

        path, identity = self._locate(study)
        with self._store(path).reading() as reader:
            head, _, rest = view.partition("/")
            match head:
                case "":
                    return views.summary(reader, identity, _now(path, reader, identity))
                case "spec":
                    return self._spec(reader, identity)
                case "front":
                    return views.front(reader, identity)
                case "trials" if rest.endswith("/logs"):
                    return views.captured(reader, identity, int(rest.removesuffix("/logs")))
                case "trials" if rest:
                    return views.trial(reader, identity, int(rest))
                case "trials":
                    return views.trials(reader, identity)
                case "curves":
                    metric = params.get("metric") or next(iter(self._spec(reader, identity)["objectives"]))
                    return views.curves(reader, identity, metric)
                case "compare":
                    wanted = (params["parameter"], params.get("metric"), params.get("step"))
                    return views.compare(reader, identity, *wanted)
                case "rungs":
                    return views.rungs(reader, identity)
                case "log":
                    return views.log(reader, identity, params.get("after") or 0, params.get("limit"))
                case "deepen":
                    from searchd.deepen import deepening

                    return deepening(reader, identity, params["max_resource"], params.get("trials"))
                case "gc":
                    from searchd.garbage import garbage

                    return garbage(lambda: self._reading(study), identity, final=params["final"]).told(removed=False)
                case _:
                    raise ValueError(f"no view {view!r}: a bug in the client")

    @contextlib.contextmanager
    def opened(self, study: str) -> Iterator[tuple[Reader, str]]:
        """One consistent view of the database that holds the study, and the study's id."""
        path, identity = self._locate(study)
        with self._store(path).reading() as reader:
            yield reader, identity

    def fetch(self, study: str, path: str, to: Path) -> None:
        """Copy one file of the study to `to`."""
        with self.opened(study) as (reader, identity):
            row = reader.study(identity)
        try:
            copy_to(open_storage(row.artifacts if row else ""), path, to)
        except FileNotFoundError:
            raise NotFound(f"no file {path!r} in study {study!r}") from None

    # ------------------------------------------------------------ changes
    def submit(self, spec: dict[str, Any], artifacts: str | None = None) -> str:
        daemon = live_daemon(self.root)
        if daemon is None:
            raise Unreachable(
                f"no daemon runs over {self.root}/: `searchd run FILE` runs one study here, `searchd serve --local` "
                "starts a service; or give the URL of one (--url, SEARCHD_URL)"
            )
        with contextlib.closing(daemon):
            return daemon.submit(spec, artifacts)

    def command(self, study: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        path, identity = self._locate(study)
        daemon = live_daemon(path.parent)
        if daemon is None and verb == "rebase":
            return self._rebase(study, apply=bool((body or {}).get("apply")))
        if daemon is None and verb == "gc":
            return self._collect(study, identity, final=bool((body or {}).get("final")))
        if daemon is None:
            with self._store(path).reading() as reader:
                row = reader.study(identity)
            raise refusal(path, study, row.status if row else "", verb)
        with contextlib.closing(daemon):
            return daemon.command(identity, verb, body)

    def _collect(self, study: str, identity: str, *, final: bool) -> dict[str, Any]:
        """Without a daemon nothing is in flight but what the log knows."""
        from searchd.garbage import collect, garbage

        found = garbage(lambda: self._reading(study), identity, final=final)
        collect(found)
        return found.told(removed=True)

    @contextlib.contextmanager
    def _reading(self, study: str) -> Iterator[Reader]:
        with self.opened(study) as (reader, _):
            yield reader

    def workers(self) -> list[dict[str, Any]]:
        """The live worker slots of every daemon below the root."""
        found: list[dict[str, Any]] = []
        for path in self._databases():
            if (daemon := live_daemon(path.parent)) is not None:
                with contextlib.closing(daemon), contextlib.suppress(Unreachable):
                    found += daemon.workers()
        return found

    def devices(self) -> list[dict[str, Any]]:
        """The devices of the service below the root, or those that were registered without one."""
        from searchd.devices.shown import shown

        return [shown(row) for row in self._device_rows()]

    def device(self, name: str, *, whole: bool = False) -> dict[str, Any]:
        from searchd.devices.shown import shown, table

        rows = self._device_rows()
        row = next((r for r in rows if r.name == name), None)
        if row is None:
            there = ", ".join(r.name for r in rows) or "none yet"
            raise NotFound(f"no device {name!r} in {self.root}/; there are: {there}; `searchd device add {name}` "
                           "registers one")  # fmt: skip
        return table(row) if whole else shown(row)

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        with contextlib.closing(self._daemon(f"`searchd device add {name}` does it without one")) as daemon:
            return daemon.add_device(name, runtime)

    def remove_device(self, name: str) -> None:
        with contextlib.closing(self._daemon(f"`searchd device remove {name}` does it without one")) as daemon:
            daemon.remove_device(name)

    def profile_device(self, name: str, spec: dict[str, Any], architectures: int | None) -> dict[str, Any]:
        with contextlib.closing(self._daemon(f"`searchd device profile {name} STUDY` starts its own")) as daemon:
            return daemon.profile_device(name, spec, architectures)

    def me(self) -> dict[str, Any]:
        with contextlib.closing(self._daemon("tokens are a daemon's")) as daemon:
            return daemon.me()

    def tokens(self) -> list[dict[str, Any]]:
        with contextlib.closing(self._daemon("tokens are a daemon's")) as daemon:
            return daemon.tokens()

    def add_token(self, name: str, scope: str, expires_s: float | None = None) -> dict[str, Any]:
        with contextlib.closing(self._daemon("tokens are a daemon's")) as daemon:
            return daemon.add_token(name, scope, expires_s)

    def remove_token(self, name: str) -> None:
        with contextlib.closing(self._daemon("tokens are a daemon's")) as daemon:
            daemon.remove_token(name)

    def alive(self, study: str) -> bool:
        """Whether a daemon stands behind the study."""
        path, _ = self._locate(study)
        daemon = live_daemon(path.parent)
        if daemon is not None:
            daemon.close()
        return daemon is not None

    def goes_on(self, study: str) -> str:
        """What makes a study go on that no daemon runs, in words."""
        path, _ = self._locate(study)
        return goes_on(path)

    def home(self, study: str) -> Path | None:
        """The folder that a `searchd run` made for the study; None of a study in a service's database."""
        path, _ = self._locate(study)
        return path.parent if path.name == STUDY_DB else None

    def code(self, study: str) -> Path | None:
        """Where the function or program of a study lies that `searchd run` ran; None where nobody says."""
        home = self.home(study)
        beside = None if home is None else home / BESIDE
        return Path(beside.read_text()) if beside is not None and beside.is_file() else None

    def close(self) -> None:
        for store in self._open.values():
            store.close()
        self._open.clear()

    # ------------------------------------------------------------ inside
    def _rebase(self, study: str, *, apply: bool) -> dict[str, Any]:
        """What a rebase would mean, by this version of searchd; Unreachable where it is to be done."""
        from searchd.engine.rebasing import outlook
        from searchd.views.plain import plain

        with self.opened(study) as (reader, identity):
            row, found = reader.study(identity), outlook(reader, identity)
        if apply and found.difference is not None:
            raise Unreachable(
                f"no daemon runs study {study!r} now; `searchd run FILE --rebase` of its file rebases it and goes on"
            )
        if apply:
            raise Refused(found.text)
        return {"id": identity, "status": row.status if row else "", **plain(found.as_json())}

    def _daemon(self, else_: str) -> Remote:
        daemon = live_daemon(self.root)
        if daemon is None:
            raise Unreachable(f"no daemon runs over {self.root}/: {else_}; or give the URL of one (--url, SEARCHD_URL)")
        return daemon

    def _device_rows(self) -> list[Any]:
        found: dict[str, Any] = {}
        for path in device_stores(self.root):
            with self._store(path).reading() as reader:
                for row in reader.devices():
                    found.setdefault(row.name, row)
        return [found[name] for name in sorted(found)]

    def _databases(self) -> list[Path]:
        own = [p for p in (self.root / STUDY_DB, self.root / SERVICE_DB) if p.is_file()]
        return own + sorted(self.root.glob(f"*/{STUDY_DB}"))

    def _locate(self, study: str) -> tuple[Path, str]:
        """The database that holds the study, and the study's id."""
        from searchd.lookup import find, unknown

        as_folder = Path(study) / STUDY_DB
        if as_folder.is_file():
            with self._store(as_folder).reading() as reader:
                rows = reader.studies()
            if not rows:
                raise NotFound(f"{study}: the run has not submitted its study yet; try again in a moment")
            return as_folder, rows[-1].id
        names: list[str] = []
        first = self.root / study / STUDY_DB
        for path in sorted(self._databases(), key=lambda p: p != first):
            with self._store(path).reading() as reader:
                try:
                    return path, find(reader, study).id
                except NotFound:
                    names += [row.name for row in reader.studies()]
        if not self.root.is_dir():
            raise NotFound(f"no study {study!r}: there is no folder {self.root}/ here; --root names another")
        raise unknown(study, names)

    def _store(self, path: Path) -> Store:
        """The database opened for reading; each read opens the file anew, so one replaced by `--fresh` is noticed."""
        from searchd.store import open_store

        if path not in self._open:
            self._open[path] = open_store(f"sqlite:///{path.resolve()}", readonly=True)
        return self._open[path]

    @staticmethod
    def _spec(reader: Reader, identity: str) -> dict[str, Any]:
        row = reader.study(identity)
        if row is None:
            raise NotFound(f"no study {identity!r}")
        return dict(row.spec)


def _now(path: Path, reader: Reader, identity: str) -> float:
    """Up to when a study in this database is told: without a daemon to the last thing recorded, as nobody goes on."""
    from searchd.views.clock import last_known

    return time.time() if present(path.parent) else last_known(reader, identity, time.time())


def with_past(study: Study, root: Path | None = None) -> Study:
    """The study with those of its `warm_start` looked up that are on this machine: folders of runs, and with a `root`
    names of runs below it. Errors as of `searchd.earlier`; without a root other names are left to the daemon."""
    from searchd.earlier import look_up

    known = {e.name for e in study.earlier}
    found = list(study.earlier)
    with contextlib.closing(Folder(root or "out")) as folder:
        for name in study.warm_start:
            if name not in known and (root is not None or (Path(name) / STUDY_DB).is_file()):
                try:
                    with folder.opened(name) as (reader, identity):
                        found.append(look_up(study, reader, name, identity))
                except NotFound as error:
                    raise NotFound(f"warm_start: {str(error).removeprefix('warm_start: ')}") from None
    return study.model_copy(update={"earlier": tuple(found)})


def device_stores(root: Path) -> list[Path]:
    """The databases below a root that may know devices: a service's, and that of devices without one."""
    return [p for p in (root / SERVICE_DB, root / DEVICES / DEVICES_DB) if p.is_file()]


def with_device(study: Study, root: Path) -> Study:
    """The study with the predictor of its device, if it wants one, and its runtime, from what is registered below the
    root. Errors as of `searchd.devices.with_predictor`."""
    from searchd.devices import with_predictor, with_runtime

    with contextlib.closing(Folder(root)) as folder, contextlib.ExitStack() as open_:
        readers = [open_.enter_context(folder._store(p).reading()) for p in device_stores(root)]
        return with_runtime(with_predictor(study, readers), readers)


def past_problem(study: Study, name: str, backend: Folder | Any) -> str:
    """Why nothing can be learned from the study `name` of a `warm_start` by whoever has this backend; empty: nothing is
    known to be wrong."""
    here = backend.root if isinstance(backend, Folder) else None
    only = study.model_copy(update={"warm_start": (name,), "earlier": ()})
    try:
        if here is not None and not here.is_dir():
            with_past(only)  # a folder of a run is found without
        elif here is not None or (Path(name) / STUDY_DB).is_file():
            with_past(only, here)
        else:
            backend.read(name, "")
    except Missing:
        return ""
    except SearchdError as error:
        elsewhere = here is not None and isinstance(error, NotFound)
        where = f" (in {here}/; another folder: --root, a daemon: --url)" if elsewhere else ""
        return f"{error}{where}"
    return ""


def teach_device(study: str, root: Path) -> int:
    """Put what a study's front cost into the profile of its device, where that is registered below the root without a
    service; how many figures."""
    path = root / DEVICES / DEVICES_DB
    if not path.is_file():
        return 0
    from searchd.devices.learning import learn
    from searchd.store import open_store

    with contextlib.ExitStack() as open_:
        store = open_.enter_context(contextlib.closing(open_store(f"sqlite:///{path.resolve()}")))
        folder = open_.enter_context(contextlib.closing(Folder(root)))
        reader, identity = open_.enter_context(folder.opened(study))
        return learn(identity, reader, store)
