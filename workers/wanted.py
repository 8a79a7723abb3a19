"""What a user's task has to say in its reports: which objective is missing, and which name was meant for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spaces.suggest import meant

BY_USER = frozenset({"function", "command"})
LONG = 5
"""Words of fewer letters are other words with one letter more or less."""


def missing(kind: str, objectives: Sequence[str], step: int, metrics: Mapping[str, float],
            points: Sequence[Mapping[str, Any]], *, first: bool, last: bool) -> str:  # fmt: skip
    """What is wrong with a report of a user's task, in words; empty: nothing yet.

    At the `last` step of a job, where a trial is judged, every objective must be there. Before it may come later: then
    the `first` report is wrong only where it has a name that is a slip of one that it lacks.
    """
    if kind not in BY_USER or not (first or last):
        return ""
    lacking = [o for o in objectives if o not in metrics and not all(o in p for p in points or ({},))]
    names = {*metrics, *(name for point in points for name in point)}
    slips = {o: name for o in lacking for name in sorted(names - {*objectives}) if _slip(name, o)}
    if slips:
        near = ", ".join(slips)
        return f"step {step} reports {', '.join(slips.values())}, and the objectives need {near}: did you mean {near}?"
    if not lacking or not last:
        return ""
    has, how = ", ".join(sorted(metrics)) or "nothing", example(kind, lacking)
    return f"step {step}: the report has {has}, but the objectives need {', '.join(lacking)}; {how} in every step"


def example(kind: str, names: Iterable[str]) -> str:
    """How a task says a metric."""
    name = next(iter(names), "val_error")
    return f'print a line of JSON such as {{"{name}": 0.5}}' if kind == "command" else f"call trial.report({name}=…)"


def _slip(said: str, wanted: str) -> bool:
    """Whether a name was written for another: `_`, `-` or capitals are otherwise, or in a word of it letters are
    missing, too many or swapped. Names that differ in a number (acc1, acc5), in a short word (mae and mape, ms and s;
    but not a doubled letter: los) or have another letter (mae, mse) may both be meant."""
    if re.findall(r"\d+", said) != re.findall(r"\d+", wanted) or meant(said, [wanted]) is None:
        return False
    ours, theirs = ([w for w in re.split(r"[\d_-]+", name.lower()) if w] for name in (said, wanted))
    return "".join(ours) == "".join(theirs) or (
        len(ours) == len(theirs) and all(_same_word(a, b) for a, b in zip(ours, theirs, strict=True))
    )


def _same_word(said: str, wanted: str) -> bool:
    if len(said) == len(wanted):
        return sorted(said) == sorted(wanted)
    return len(wanted) >= LONG or (len(wanted) > 2 and _undoubled(said) == _undoubled(wanted))


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)
