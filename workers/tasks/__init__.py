"""What a study's `task` means on a worker: `resolve` turns it into functions, importing only what that task needs.

a built-in task  its module here has its name (workers.tasks.classify): train, and measure and export where it has them
kind `function`  a user's `pkg.module:name`, called with a Trial; allow-listed on the worker
kind `command`   a user's program, config in, JSON lines out; allow-listed on the worker as `command[:PROGRAM]`

The last two may come with a `describe` of the same kind: what is known of a config before it is trained.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from searchd.errors import Refused
from searchd.wire import JobSpec
from workers.trial import Trial


@dataclass(frozen=True, slots=True)
class Runner:
    """A task's functions. `measure` answers what a signature costs, `export` the numbers of the exported files,
    `describe` the exact metrics of a config: numbers by name, and perhaps `veto`, why it must not be trained;
    `prepare` makes a network ready to be timed (`workers.profile.Prepare`); `rests_on`: JSON files in a trial's folder
    that its training reads, beside config, data and seed."""

    name: str
    train: Callable[[Trial], object]
    measure: Callable[[JobSpec], Mapping[str, Any]] | None = None
    export: Callable[[Trial, JobSpec], Mapping[str, Any]] | None = None
    describe: Callable[[Trial], object] | None = None
    prepare: Callable[..., Callable[[], object]] | None = None
    rests_on: tuple[str, ...] = ()

    def profiled(self, spec: JobSpec) -> Mapping[str, Any]:
        """Operators and architectures of the task timed one by one. Refused for a task that has none to time."""
        if self.prepare is None:
            raise Refused(f"task {self.name} has no operators that can be timed alone; built-in tasks have")
        from workers.profile import profile

        return profile(spec, self.prepare)


def resolve(task: Mapping[str, Any], allow: tuple[str, ...] = (), path: tuple[str, ...] = ()) -> Runner:
    """The runner of a dumped task. `allow`: what this worker may run; `path`: folders where users' code lies.

    Raises Refused for what this worker may not or cannot do (not allow-listed, unknown kind, no such module or
    function, no torch): another may. NotFound for what is no task anywhere (a bad name, an empty argv).
    """
    described = [str(a) for a in task.get("describe") or ()]
    match task.get("kind"):
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
            return _built_in(str(kind))


def _built_in(name: str) -> Runner:
    from spaces.builtin import BUILT_IN  # not above: it needs NumPy, and a user's task may not

    if name not in BUILT_IN:
        known = ", ".join((*BUILT_IN, "function", "command"))
        raise Refused(f"task kind {name!r} is not known to this worker; it knows {known}")
    try:
        module = importlib.import_module(f"workers.tasks.{name}")
    except ModuleNotFoundError as error:
        raise Refused(
            f"task {name} needs {error.name}, which this worker does not have; pip install 'searchd[worker]'"
        ) from error
    task = BUILT_IN[name]
    measure = module.measure if task.measured else None
    prepare = module.prepare if task.operators is not None else None
    rests_on = tuple(getattr(module, "RESTS_ON", ()))
    export = module.export if task.exported else None
    return Runner(name, module.train, measure, export, prepare=prepare, rests_on=rests_on)
