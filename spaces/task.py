"""What a trial runs: a built-in task (`classify`), a user's function, or a command."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces.builtin import BUILT_IN, BuiltIn
from spaces.checks import jsonable
from spaces.instances import read_instances
from spaces.problems import Problems
from spaces.suggest import did_you_mean, meant

KINDS: tuple[str, ...] = (*BUILT_IN, "function", "command")
BESIDE: Mapping[str, tuple[str, ...]] = {
    "function": ("describe", "time_limit_s"), "command": ("describe", "time_limit_s", "instances", "cap_s"),
}  # fmt: skip
"""What stands beside `function` or `command` and is ours; anything else is an option of the task's own."""
FUNCTION = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")


class Task(BaseModel):
    """`kind`: a built-in task's name, `function` or `command`; `name`: what to call (the built-in task,
    `package.module:function`, or the program); `argv` of a command.

    `describe`: what says a config's exact metrics before it is trained: a function's name alone, or a command's argv;
    empty: nothing does. `options` reach the worker as they are; for `classify`: `data`, `shape` and `classes` for a
    file, and `allocate`; for a command over `instances`: their names, and `cap_s`. All kinds: `time_limit_s`.
    `model_dump(mode="json")` is what a job carries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    argv: tuple[str, ...] = ()
    describe: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def built_in(self) -> BuiltIn | None:
        """What is known of the task without running it; None for a user's own."""
        return BUILT_IN.get(self.kind)

    @property
    def instances(self) -> tuple[str, ...]:
        """The problem instances that configs race on; none for a task that trains."""
        return tuple(self.options.get("instances", ())) if self.kind == "command" else ()

    def dump(self) -> dict[str, Any]:
        """The mapping of a study file that reads to this task."""
        value: Any = self.name
        if self.kind in BUILT_IN:
            return {self.kind: dict(self.options)}
        if self.kind == "command":
            value = list(self.argv)
        described: Any = list(self.describe) if self.kind == "command" else "".join(self.describe)
        return {self.kind: value, **({"describe": described} if self.describe else {}), **self.options}


def read_task(said: Any, problems: Problems, base: Path | None, *, typed: bool = False) -> Task | None:
    """The task of a study file, or None when a problem was added. Relative data paths count from `base`. `typed`: by a
    person just now, so that a slip of BESIDE's keys is a problem; what a log holds stays what it was."""
    if isinstance(said, str):
        if said in BUILT_IN:
            said = {said: {}}
        elif ":" in said:
            said = {"function": said}
        else:
            near = did_you_mean(said, BUILT_IN)
            problems.add(("task",), f"{said!r} is no task: {near}, package.module:function, or {{command: [...]}}")
            return None
    if not isinstance(said, Mapping):
        known = ", ".join(BUILT_IN)
        problems.add(("task",), f"{said!r} is no task: write {known}, package.module:function, or {{command: [...]}}")
        return None
    kinds = [k for k in KINDS if k in said]
    if len(kinds) != 1:
        near = did_you_mean(str(next(iter(said), "")), KINDS)
        problems.add(("task",), f"a task has exactly one of {', '.join(KINDS)}, but {len(kinds)} are here: {near}")
        return None
    value = said[kinds[0]]
    options = {k: v for k, v in said.items() if k != kinds[0]}
    if kinds[0] in BUILT_IN:
        return _built_in(BUILT_IN[kinds[0]], value, options, problems, base)
    if typed and _slips(kinds[0], options, problems):
        return None
    try:
        jsonable(options)
    except ValueError as error:
        problems.add(("task",), str(error))
        return None
    limit = options.get("time_limit_s")
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if limit is not None and not (number and 0 < limit < math.inf):
        problems.add(("task", "time_limit_s"), f"{limit!r} is not a number of seconds above 0")
        return None
    wants = "describe" in options
    described = options.pop("describe", None)
    if kinds[0] == "function":
        name = _name(value, "function", problems)
        describer = _name(described, "describe", problems) if wants else ""
        if name is None or describer is None:
            return None
        return Task(kind="function", name=name, describe=(describer,) if describer else (), options=options)
    words = _words(value, "command", problems)
    says = _words(described, "describe", problems) if wants else ()
    if not words or says is None:
        return None
    if not read_instances(options, problems, base):
        return None
    return Task(kind="command", name=words[0], argv=words, describe=says, options=options)


def _slips(kind: str, options: Mapping[str, Any], problems: Problems) -> bool:
    """Whether an option is one of our keys misspelt, which the task would get as an option of its own."""
    found = False
    for key in options:
        own = BESIDE[kind]
        right = None if key in own else meant(str(key), own)
        if right is not None:
            said = f"{key!r} looks like {right!r} and would be an option of the task's own"
            problems.add(("task", key), f"{said}: write {right}, or give an option of yours a name less alike")
            found = True
    return found


def _name(said: Any, key: str, problems: Problems) -> str | None:
    """The name of a function, or None when a problem was added."""
    if isinstance(said, str) and FUNCTION.fullmatch(said):
        return said
    problems.add(("task", key), f"{said!r} names no function: write package.module:function")
    return None


def _words(said: Any, key: str, problems: Problems) -> tuple[str, ...] | None:
    """The argv of a command, or None when a problem was added."""
    argv = said.split() if isinstance(said, str) else said
    if isinstance(argv, list) and argv and all(isinstance(a, str | int | float) for a in argv):
        return tuple(str(a) for a in argv)
    problems.add(("task", key), f"{said!r} is no command: write a list, such as [python, train.py, '{{config}}']")
    return None


def _built_in(task: BuiltIn, value: Any, beside: dict[str, Any], problems: Problems, base: Path | None) -> Task | None:
    path = ("task", task.name)
    for key in beside:
        problems.add(("task", key), f"unknown key {key!r} beside {task.name!r}: options go inside it")
    value = {} if value is None else value
    try:
        form = task.form.model_validate(value)
    except ValidationError as error:
        problems.add_all(path, error, task.form, value)
        return None
    if beside:
        return None
    read = task.options
    options = form.model_dump(exclude_none=True) if read is None else read(form, path, problems, base)
    return None if options is None else Task(kind=task.name, name=task.name, options=options)
