"""What a study's `task` means on a worker: `resolve` turns it into functions, importing only what that task needs.

kind `classify`  the built-in task (workers.tasks.classify): train, measure, export
kind `function`  a user's `pkg.module:name`, called with a Trial; allow-listed on the worker
kind `command`   a user's program, config in, JSON lines out; allow-listed on the worker as `command[:PROGRAM]`

The last two may come with a `describe` of the same kind: what is known of a config before it is trained.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from searchd.errors import Missing, Refused
from searchd.wire import JobSpec
from workers.trial import Trial


@dataclass(frozen=True, slots=True)
class Runner:
    """A task's functions. `measure` answers what a signature costs, `export` the numbers of the exported files,
    `describe` the exact metrics of a config: numbers by name, and perhaps `veto`, why it must not be trained."""

    name: str
    train: Callable[[Trial], object]
    measure: Callable[[JobSpec], Mapping[str, Any]] | None = None
    export: Callable[[Trial, JobSpec], Mapping[str, Any]] | None = None
    describe: Callable[[Trial], object] | None = None


def resolve(task: Mapping[str, Any], allow: tuple[str, ...] = (), path: tuple[str, ...] = ()) -> Runner:
    """The runner of a dumped task. `allow`: what this worker may run; `path`: folders where users' code lies.

    Raises Refused (not allow-listed, unknown kind), NotFound (no such module or function), Missing (no torch).
    """
    described = [str(a) for a in task.get("describe") or ()]
    match task.get("kind"):
        case "classify":
            try:
                module = importlib.import_module("workers.tasks.classify")
            except ModuleNotFoundError as error:
                raise Missing(
                    f"task classify needs {error.name}, which this worker does not have; pip install 'searchd[worker]'"
                ) from error
            return Runner("classify", module.train, module.measure, module.export)
        case "function":
            from workers.tasks.function import load

            name = str(task.get("name"))
            describe = load(described[0], allow) if described else None
            return Runner(name, load(name, allow), describe=describe)
        case "command":
            from workers.tasks.command import describer, runner

            instances = bool((task.get("options") or {}).get("instances"))
            train = runner([str(a) for a in task.get("argv") or ()], allow, path, instances=instances)
            return Runner("command", train, describe=describer(described, allow, path) if described else None)
        case kind:
            raise Refused(f"task kind {kind!r} is not known to this worker; it knows classify, function, command")
