"""The study that makes a trial of a user's own task again, from what a client can read of it.

A built-in task's export brings `reproduce.yaml` with it; a function or a command has no export, so that its file is
written when somebody takes the trial away, or when a run on this machine has ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from searchd.errors import Refused
from spaces.reproduces import FILE, Parent, again, as_yaml, chain, command, split

EXACT = "what the task computes from config, seed and step: equal if its code and data are what they were"
MAY_DIFFER = "whatever a clock decides, and what the task draws beside trial.seed and the seeded generators"
Read = Callable[[str], Any]
"""A view of one study: `""`, `spec`, `trials/N`."""


def made_by_user(spec: Mapping[str, Any]) -> bool:
    """Whether the task is a user's function or command."""
    return not {"function", "command"}.isdisjoint(spec.get("task") or ())


def reproduction(read: Read, trial: int) -> dict[str, Any]:
    """The study that trains `trial` again, with its ancestors, its points with the metrics that were reported of them.

    Refused for a race on instances, whose figures a clock decides, and for a trial that has reported nothing.
    """
    spec, known = read("spec"), {trial: read(f"trials/{trial}")}
    if "instances" in (spec.get("task") or {}):
        raise Refused(f"trial {trial} won its place in a race that a clock decided, which no command makes again: run "
                      "the program with its config on the instances, or race it anew (`searchd inject`)")  # fmt: skip
    points = known[trial]["points"]
    if not points:
        raise Refused(f"trial {trial} has no points, so there is nothing to make again: choose one that reported")

    def of(number: int) -> Mapping[str, Any]:
        if number not in known:
            known[number] = read(f"trials/{number}")
        found: Mapping[str, Any] = known[number]
        return found

    def parent(number: int) -> Parent | None:
        said = of(number)["parent"]
        if said is None or said["taken"] is False:
            return None
        return int(said["trial"]), int(said["step"]), "morph" if said["morphed"] else "copy"

    rows = []
    for point in points:
        selects, recorded = split(point["metrics"])
        rows.append({"point": point["point"], "selects": selects, "recorded": recorded})
    found = chain(trial, points[0]["step"], lambda n: of(n)["config"], parent)
    return again(spec, read("")["id"], found, rows)


def write(read: Read, trial: int, to: Path, code: Path | None) -> list[Path]:
    """`config.json`, `card.json` and `reproduce.yaml` of a user's trial in the folder `to`, beside what the task itself
    left there under these names. `code`: where the task's module or program lies, if that is known. The card of what
    no command makes again says so, and there is no `reproduce.yaml`."""
    known = read(f"trials/{trial}")
    files: dict[str, bytes] = {"config.json": _json(known["config"])}
    try:
        study = reproduction(read, trial)
    except Refused as refused:
        said: dict[str, Any] = {"command": None, "why_not": str(refused)}
    else:
        line = command(path=None if code is None else str(code))
        said = {"file": FILE, "command": line, "exact": EXACT, "may_differ": MAY_DIFFER}
        if code is None:
            said["needs"] = "the task's module or program: beside the file, or name its folder with --path"
        files[FILE] = as_yaml(study, line)
    spec = read("spec")
    files["card.json"] = _json({
        "study": read("")["id"], "trial": trial, "step": known["step"], "task": spec["task"],
        "points": [{"point": p["point"], "metrics": p["metrics"]} for p in known["points"]],
        "device": sorted({j["device"] for j in known["jobs"] if j["device"]}), "reproduce": said,
    })  # fmt: skip
    to.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in files.items():
        if name == FILE or not (to / name).is_file() or _ours(to / name):
            (to / name).write_bytes(content)
            written.append(to / name)
    return written


def write_front(read: Read, folder: Path, code: Path) -> None:
    """The same for every trial on the front of a run in its folder; nothing where the task is built in."""
    if made_by_user(read("spec")):
        for trial in sorted({p["trial"] for p in read("front")}):
            write(read, trial, folder / "trials" / str(trial), code)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _ours(path: Path) -> bool:
    """Whether a file there is a card that was written here before."""
    return path.name == "card.json" and b'"reproduce"' in path.read_bytes()
