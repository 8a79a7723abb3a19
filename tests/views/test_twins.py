"""Trials that came out as another one: which, when it is said, and in what words."""

from __future__ import annotations

from random import Random
from typing import Any

from searchd.views.twins import told, twins, whose


def rung(step: int, values: dict[int, float | None]) -> dict[str, Any]:
    """As `rungs` answers: the best first, those that diverged last."""
    ranked = sorted(values.items(), key=lambda each: (each[1] is None, each[1] or 0.0, each[0]))
    return {"bracket": 0, "step": step, "trials": [{"trial": t, "value": v, "state": "paused"} for t, v in ranked]}


def study(digits: int | None) -> list[dict[str, Any]]:
    """Trials 2n and 2n + 1 are one config; with `digits` every report is its own, rounded to so many."""

    def value(trial: int, step: int) -> float:
        if digits is not None:
            return round(Random(trial // 2).random() + 0.2 * Random(f"{trial} {step}").random(), digits)
        return Random(trial // 2).random() + 0.1 * Random(f"{trial // 2} {step}").random()

    return [rung(step, {t: value(t, step) for t in range(0, 60, 2 if step > 4 else 1)}) for step in (1, 3, 9)]


def test_twins_are_named_with_their_elders() -> None:
    """Every second trial, as far as it came; the line counts them and names some; who diverged is nobody's."""
    rungs = study(None)
    rungs[0]["trials"] += [{"trial": t, "value": None, "state": "stopped"} for t in (60, 61, 62)]
    found = twins(rungs)
    assert found == {t: t - 1 for t in range(1, 60, 2)}
    (line,) = told(found, 63)
    assert line.startswith("30 of 63 trials came out exactly as another one at every rung (1 as 0, 3 as 2, 5 as 4, …)")
    assert twins(rungs, objectives=2) == {}


def test_who_failed_is_nobodys_elder() -> None:
    """The next one is, and waits for nobody."""
    rungs = study(None)
    first = next(t for t in rungs[0]["trials"] if t["trial"] == 0)
    rungs[0]["trials"].insert(rungs[0]["trials"].index(first), {**first, "trial": 60})
    assert twins(rungs)[1] == twins(rungs)[60] == 0
    for each in rungs:
        for entry in each["trials"]:
            entry["state"] = "failed" if entry["trial"] == 0 else "paused"
    found = twins(rungs)
    assert found[60] == 1
    assert not {0, 1} & set(found)


def test_equal_by_chance_is_not_said() -> None:
    """Losses of two digits are often equal; nothing is said, nor of nothing."""
    assert twins(study(2)) == {}
    assert twins([]) == {}
    assert told({}, 9) == []


def test_one_trial_in_words() -> None:
    """A paused one waits, under `auto`."""
    same = "it came out exactly as trial 3 at every rung"
    assert whose(3, "paused", "auto") == f"{same}; of such trials one is trained on, and the others if it fails"
    assert whose(3, "done", "auto") == whose(3, "paused", "asha") == same
