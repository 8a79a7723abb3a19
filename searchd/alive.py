"""Whether a daemon stands behind a database, and what is to be done where none does.

A daemon writes `daemon.json` beside the database: `study.db` of a `searchd run`, `searchd.db` of `searchd serve
--local`. So the name of the database tells which command goes on with its studies.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from searchd.errors import Refused, Unreachable
from searchd.remote import Remote

STUDY_DB = "study.db"
SERVICE_DB = "searchd.db"
STATE = "daemon.json"


def live_daemon(folder: Path) -> Remote | None:
    """The daemon that wrote `folder/daemon.json`, if it is alive."""
    state = daemon_state(folder)
    if state is None or not _is_process(int(state.get("pid", 0))):
        return None
    remote = Remote(str(state["url"]), state.get("token"))
    if remote.alive(""):
        return remote
    remote.close()
    return None


def daemon_state(folder: Path) -> dict[str, Any] | None:
    """What `folder/daemon.json` says (`url`, `pid`, perhaps `token`), or None."""
    try:
        state = json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Refused(f"{folder / STATE} is another user's; run this as the user of the daemon") from error
    except ValueError:
        return None
    return state if isinstance(state, dict) and "url" in state else None


def present(folder: Path) -> bool:
    """Whether the process that wrote `folder/daemon.json` is there, without a question to it."""
    try:
        state = daemon_state(folder)
    except Refused:
        return True
    return state is not None and _is_process(int(state.get("pid", 0)))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def goes_on(database: Path) -> str:
    """What makes a study in this database go on, in words."""
    if database.name == STUDY_DB:
        return "`searchd run` its file again and it goes on"
    return f"{_serve(database)} goes on with it (`searchd run` of its file would begin another)"


def refusal(database: Path, study: str, status: str, verb: str) -> Unreachable:
    """Why nobody takes a command for a study that no daemon runs, and what remains possible."""
    nothing = f": there is nothing to {verb}" if verb in ("pause", "stop") else ""
    if status == "done":
        deeper = f"`searchd deepen {study} --max-resource N` trains further"
        if database.name == STUDY_DB:
            remains = f"a larger budget in its file and `searchd run` go on with it, {deeper}"
        else:
            remains = f"{_serve(database)} takes it, or `searchd resume {study} --trials N`; {deeper} then"
        return Unreachable(f"study {study!r} is done{nothing or ', and no daemon runs it now'}; {remains}")
    if status in ("stopped", "faulted") and nothing:
        return Unreachable(f"study {study!r} is {status}{nothing}; {goes_on(database)}")
    return Unreachable(f"no daemon runs study {study!r} now; {goes_on(database)}")


def _serve(database: Path) -> str:
    where = "" if database.parent == Path("out") else f" --root {database.parent}"
    return f"`searchd serve --local{where}`"
