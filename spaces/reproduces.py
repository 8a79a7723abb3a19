"""A point that is made again: the study that trains exactly its trial, with its seed, and asks for the same points.

`again` makes that study out of what is known of the first one; `as_yaml` writes it as a file that `searchd run` takes;
`compared` says afterwards what came out the same. Training by a built-in task is a function of config, data, seed and
steps on one processor and one set of library versions; what a clock or a counter says is not (`timed`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spaces.config import Config
from spaces.errors import SpaceError
from spaces.forms import ReproducesForm
from spaces.formulas import formula
from spaces.problems import Problems
from spaces.space import Space
from spaces.task import Task

FILE = "reproduce.yaml"
SELECTS = frozenset({"threshold"})
"""Selection keys of a point that are plain numbers: any other plain number is a metric."""
CLOCKED = ("_ms", "_us", "_s", "_h", "_j", "_mj")
UNSTEADY = frozenset({"peak_memory_bytes", "energy_mj_shared", "train_energy_shared"})
Begins = Literal["fresh", "copy", "morph"]
Parent = tuple[int, int, Begins]
"""Whose weights a trial began with: (trial, step, how)."""


def timed(name: str, objectives: Mapping[str, Any] | None = None) -> bool:
    """Whether a metric is a clock's or a counter's, by the unit that its name ends with, or is computed from one."""
    said = (objectives or {}).get(name)
    if isinstance(said, Mapping) and said.get("formula"):
        return any(timed(read) for read in formula(str(said["formula"])).reads)
    return name.endswith(CLOCKED) or name in UNSTEADY


def chain(
    trial: int, until: int, config: Callable[[int], Mapping[str, Any]], parent: Callable[[int], Parent | None]
) -> list[dict[str, Any]]:
    """A trial and those whose weights it began with, oldest first, as `reproduces.trials` has them."""
    found: list[dict[str, Any]] = []
    at: tuple[int, int] | None = (trial, until)
    while at is not None:
        number, step = at
        above = parent(number)
        begins: Begins = "fresh" if above is None else above[2]
        found.append({"trial": number, "until": step, "config": dict(config(number)), "begins": begins})
        at = None if above is None else (above[0], above[1])
    return found[::-1]


def split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """(what selects a point, its plain numbers) of the mapping that a point is."""
    number = {n: v for n, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    recorded = {n: v for n, v in number.items() if n not in SELECTS and n != "point"}
    return {n: v for n, v in metrics.items() if n not in recorded and n != "point" and v is not None}, recorded


def again(
    spec: Mapping[str, Any], study: str, trials: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The study file, as a mapping, that trains `trials` of the study `spec` (its dump) again. `study`: its id.

    A job's time limit is left out: what several jobs trained is trained by one.
    """
    if spec.get("reproduces"):
        return json.loads(json.dumps(dict(spec)))  # type: ignore[no-any-return]
    last, search = trials[-1], spec.get("search") or {}
    task = {
        k: {n: v for n, v in said.items() if n != "time_limit_s"} if isinstance(said, Mapping) else said
        for k, said in spec["task"].items() if k != "time_limit_s"
    }  # fmt: skip
    made = {
        "study": f"{spec['study'][:48]}-again-{last['trial']}",
        "space": spec["space"], "constraints": spec.get("constraints") or [], "objectives": spec["objectives"],
        "search": {"scheduler": "fifo", "searcher": "random", "R": last["until"], "unit": search.get("unit", "epoch")},
        "budget": {"trials": len(trials), "parallel": 1},
        "task": task, "device": spec.get("device", "cpu"), "seed": spec.get("seed", 0),
        "reproduces": {"study": study, "trials": list(trials), "points": list(points)},
    }  # fmt: skip
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def as_yaml(study: Mapping[str, Any], line: str) -> bytes:
    """The study as a file; `line`: the command that runs it, for its head."""
    import yaml

    said = study["reproduces"]
    last = said["trials"][-1]
    head = f"# Trial {last['trial']} of study {said['study']}, trained again to step {last['until']}: {line}\n"
    return (head + yaml.safe_dump(dict(study), sort_keys=False, allow_unicode=True, width=110)).encode()


def command(file: str = FILE, path: str | None = None) -> str:
    """The line for a shell. `path`: the folder of a user's function or program, which does not lie beside the file."""
    return shlex.join(["searchd", "run", file, *([] if path is None else ["--path", path])])


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of a point: as it was recorded, and as it came out now. `exact`: it has to be the same number."""

    point: int
    metric: str
    recorded: float
    again: float | None
    exact: bool

    @property
    def same(self) -> bool:
        return self.again == self.recorded

    @property
    def off(self) -> float | None:
        """How much more (or less) than recorded, as a share; None where that says nothing."""
        return None if self.again is None or not self.recorded else self.again / self.recorded - 1


def compared(study: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> list[Compared]:
    """What a reproduction (its dump) recorded beside what its run brought: `points` as `{"point", "metrics"}`."""
    found = {p["point"]: p["metrics"] for p in points}
    objectives = study.get("objectives") or {}
    rows = []
    for said in (study.get("reproduces") or {}).get("points", ()):
        now = found.get(said["point"], {})
        for name, value in said.get("recorded", {}).items():
            rows.append(Compared(said["point"], name, value, now.get(name), not timed(name, objectives)))
    return rows


def check_reproduces(said: ReproducesForm, space: Space, task: Task, problems: Problems) -> None:
    """Configs of the space, in an order in which each can begin as it says."""
    if task.instances:
        problems.add(("reproduces",), "races on instances are timed by a clock and cannot be made again: leave it out")
    for i, one in enumerate(said.trials):
        at = ("reproduces", "trials", i)
        try:
            space.check(Config(one.config))
        except (SpaceError, TypeError, ValueError) as error:
            problems.add((*at, "config"), str(error))
        if one.begins != "fresh" and i == 0:
            problems.add((*at, "begins"), f"the first has none before it whose weights it could {one.begins}: fresh")
        if one.begins == "copy" and i > 0 and one.until <= said.trials[i - 1].until:
            rule = f"a copy goes on from step {said.trials[i - 1].until}, but is trained to {one.until}"
            problems.add((*at, "until"), f"{rule}: raise it")
        for name in one.files:
            if "/" in name or name.startswith(".") or not name.endswith(".json"):
                problems.add((*at, "files", name), f"{name!r} is no name of a JSON file: write it as figures.json")
    numbers = [p.point for p in said.points]
    if len(set(numbers)) < len(numbers):
        problems.add(("reproduces", "points"), "a point is here twice: keep one")
