"""Whose weights a trial began with: a copy of its parent's (`pbt`), or these morphed to its own config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from searchd.store.base import JobRow, Reader, StudyRow


def parents(reader: Reader, row: StudyRow, jobs: Iterable[JobRow] | None = None) -> dict[int, dict[str, Any]]:
    """Trial → `{"trial", "step", "morphed", "taken", "text"}` for those that have a parent and were dispatched.

    `taken`: whether it began with these weights; null: it has not reported yet (of a copy it is not told). `text`: the
    same in a sentence, with the reason where they were not taken. `jobs`: those of the study, where they are at hand.
    """
    search = row.spec.get("search")
    search = search if isinstance(search, Mapping) else {}
    if search.get("scheduler") != "pbt" and not (search.get("options") or {}).get("morph"):
        return {}  # nobody has one: no table is read
    found: dict[int, dict[str, Any]] = {}
    for job in reader.jobs(row.id) if jobs is None else jobs:
        if morphed := job.spec.get("morphed"):
            found[job.trial] = _parent(morphed["trial"], morphed["step"], morphed=True)
        elif job.trial not in found and (copied := job.spec.get("parent")):
            found[job.trial] = _parent(*copied, morphed=False)
    for event in reader.events(row.id, kinds=("inherited",)):
        known = found.get(event.payload["trial"])
        if known is not None:
            known["taken"] = event.payload["ok"]
            if not event.payload["ok"]:
                known["text"] = f"from nothing: {_whose(known)} were not taken: {event.payload['reason']}"
    return found


def _parent(trial: int, step: int, *, morphed: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"trial": trial, "step": step, "morphed": morphed, "taken": None}
    return {**said, "text": f"from {_whose(said)}" + (", morphed" if morphed else "")}


def _whose(parent: Mapping[str, Any]) -> str:
    return f"the weights of trial {parent['trial']} at step {parent['step']}"
