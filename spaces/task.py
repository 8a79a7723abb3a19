"""What a trial runs: the built-in `classify`, a user's function, or a command."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces.allocating import AllocateForm
from spaces.checks import jsonable
from spaces.data import NAMED, data_shape
from spaces.errors import SpaceError
from spaces.forms import Form
from spaces.instances import read_instances
from spaces.problems import Problems
from spaces.suggest import did_you_mean, meant

Kind = Literal["classify", "function", "command"]
KINDS: tuple[str, ...] = ("classify", "function", "command")
BESIDE: Mapping[str, tuple[str, ...]] = {
    "function": ("describe", "time_limit_s"), "command": ("describe", "time_limit_s", "instances", "cap_s"),
}  # fmt: skip
"""What stands beside `function` or `command` and is ours; anything else is an option of the task's own."""
FUNCTION = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")


class ClassifyForm(Form):
    """Options of the built-in task. `shape` and `classes` are filled in from the data file."""

    data: str = "digits"
    shape: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1, max_length=3)
    classes: Annotated[int, Field(ge=2)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    allocate: AllocateForm | None = None


class Task(BaseModel):
    """`kind`; `name`: what to call (`classify`, `package.module:function`, or the program); `argv` of a command.

    `describe`: what says a config's exact metrics before it is trained: a function's name alone, or a command's argv;
    empty: nothing does. `options` reach the worker as they are; for `classify`: `data`, `shape` and `classes` for a
    file, and `allocate`; for a command over `instances`: their names, and `cap_s`. All kinds: `time_limit_s`.
    `model_dump(mode="json")` is what a job carries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    argv: tuple[str, ...] = ()
    describe: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def instances(self) -> tuple[str, ...]:
        """The problem instances that configs race on; none for a task that trains."""
        return tuple(self.options.get("instances", ())) if self.kind == "command" else ()

    def dump(self) -> dict[str, Any]:
        """The mapping of a study file that reads to this task."""
        value: Any = self.name
        if self.kind == "classify":
            return {"classify": dict(self.options)}
        if self.kind == "command":
            value = list(self.argv)
        described: Any = list(self.describe) if self.kind == "command" else "".join(self.describe)
        return {self.kind: value, **({"describe": described} if self.describe else {}), **self.options}


def read_task(said: Any, problems: Problems, base: Path | None, *, typed: bool = False) -> Task | None:
    """The task of a study file, or None when a problem was added. Relative data paths count from `base`. `typed`: by a
    person just now, so that a slip of BESIDE's keys is a problem; what a log holds stays what it was."""
    if isinstance(said, str):
        if said == "classify":
            said = {"classify": {}}
        elif ":" in said:
            said = {"function": said}
        else:
            near = did_you_mean(said, ["classify"])
            problems.add(("task",), f"{said!r} is no task: {near}, package.module:function, or {{command: [...]}}")
            return None
    if not isinstance(said, Mapping):
        problems.add(("task",), f"{said!r} is no task: write classify, package.module:function, or {{command: [...]}}")
        return None
    kinds = [k for k in KINDS if k in said]
    if len(kinds) != 1:
        near = did_you_mean(str(next(iter(said), "")), KINDS)
        problems.add(("task",), f"a task has exactly one of {', '.join(KINDS)}, but {len(kinds)} are here: {near}")
        return None
    value = said[kinds[0]]
    options = {k: v for k, v in said.items() if k != kinds[0]}
    if kinds[0] == "classify":
        return _classify(value, options, problems, base)
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


def _classify(value: Any, options: dict[str, Any], problems: Problems, base: Path | None) -> Task | None:
    path = ("task", "classify")
    for key in options:
        problems.add(("task", key), f"unknown key {key!r} beside 'classify': options go inside it")
    value = {} if value is None else value
    try:
        form = ClassifyForm.model_validate(value)
    except ValidationError as error:
        problems.add_all(path, error, ClassifyForm, value)
        return None
    if options:
        return None
    out = form.model_dump(exclude_none=True)
    if form.data.endswith(".npz"):
        if base is not None and not Path(form.data).is_absolute():
            out["data"] = str((base / form.data).resolve())
        if form.shape is not None and form.classes is not None:
            return Task(kind="classify", name="classify", options=out)
    elif form.data in NAMED:
        if form.shape is not None or form.classes is not None:
            problems.add(path, f"shape and classes belong to a data file, and {form.data!r} is none: leave them out")
            return None
        return Task(kind="classify", name="classify", options=out)
    try:
        found = data_shape(str(out["data"]))
    except SpaceError as error:
        problems.add((*path, "data"), str(error))
        return None
    out.update(shape=list(found.shape), classes=found.classes)
    return Task(kind="classify", name="classify", options=out)
