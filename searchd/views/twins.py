"""Trials that came out exactly as another one: to the task they are the same config, and a parameter may do nothing.

Equal losses are told from those that are equal by chance as in `searchd.schedulers.twins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.schedulers.twins import Twins

NAMED = 3
"""So many are named in the line that counts them."""


def twins(rungs: Sequence[Mapping[str, Any]], objectives: int = 1) -> dict[int, int]:
    """The trials of an answer of `rungs` that came out as another one at every rung that they reached, and which one:
    that with the lowest id that did not fail. By their losses: bounds are not looked at. Empty where equal losses are
    not known to mean that, and with several objectives."""
    found: dict[int, int] = {}
    if objectives != 1:
        return found
    ladders: dict[int, list[Mapping[str, Any]]] = {}
    for rung in sorted(rungs, key=lambda r: (r["bracket"], r["step"])):
        ladders.setdefault(rung["bracket"], []).append(rung)
    for ladder in ladders.values():
        account, last, out = Twins(), dict[int, int](), set[int]()
        for k, rung in enumerate(ladder):
            ranked = [t["value"] for t in rung["trials"]]  # the best first
            better = ranked.index(ranked[len(ranked) // 2]) if ranked else 0
            for place, entry in sorted(enumerate(rung["trials"]), key=lambda each: each[1]["trial"]):
                if entry["value"] is None:
                    continue
                agrees = account.enter(entry["trial"], k, (0.0, ((entry["value"],),)))
                last[entry["trial"]] = k
                if entry["state"] in {"failed", "stopped"}:
                    out.add(entry["trial"])
                if agrees is not None and place < better:
                    account.learn(agrees)
        for trial in out:
            account.leave(trial)
        for trial, k in last.items():
            elder = account.elder(trial, k)
            if elder is not None:
                found[trial] = elder
    return found


def told(found: Mapping[int, int], trials: int) -> list[str]:
    """A line where there are any, of so many trials."""
    if not found:
        return []
    some = ", ".join(f"{trial} as {elder}" for trial, elder in sorted(found.items())[:NAMED])
    more = ", …" if len(found) > NAMED else ""
    return [
        f"{len(found)} of {trials} trials came out exactly as another one at every rung ({some}{more}): "
        "the task sees no difference between them; some parameter may do nothing"
    ]


def whose(elder: int, status: str, scheduler: str) -> str:
    """What is said of one such trial, of this status, under this scheduler."""
    waits = ""
    if status == "paused" and scheduler == "auto":
        waits = "; of such trials one is trained on, and the others if it fails"
    return f"it came out exactly as trial {elder} at every rung{waits}"
