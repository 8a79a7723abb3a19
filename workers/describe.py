"""A describe job: what a user's task knows of a config before it is trained.

    def describe(trial):
        model = build(trial.config)
        parameters = sum(p.numel() for p in model.parameters())
        if parameters > 1_000_000:
            return {"parameters": parameters, "veto": "too large for the device"}
        return {"parameters": parameters}

The numbers are merged into every report of the trial. A `veto` ends the trial before any training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from workers.trial import Ending, Trial, plain_number

VETO = "veto"


def describe(function: Callable[[Trial], object], trial: Trial) -> dict[str, Any]:
    """The result of a describe job: `metrics`, and `veto` when there is one. Ending for an answer that is none."""
    said = function(trial)
    if not isinstance(said, Mapping):
        raise _bad(f"it answered {said!r}, a {type(said).__name__}")
    veto = said.get(VETO)
    if veto is not None and (not isinstance(veto, str) or not veto.strip()):
        raise _bad(f"its {VETO} is {veto!r}: give the reason as text")
    metrics: dict[str, float] = {}
    for name, value in said.items():
        if name == VETO:
            continue
        try:
            metrics[str(name)] = plain_number(str(name), value)
        except TypeError as error:
            raise _bad(str(error)) from error
        if not math.isfinite(metrics[str(name)]):
            raise _bad(f"{name} is {metrics[str(name)]}, which is not finite")
    return {"metrics": metrics} if veto is None else {"metrics": metrics, VETO: veto.strip()}


def _bad(what: str) -> Ending:
    return Ending("failed", "bad description", f"{what}; a describe function answers numbers by name, all finite, and "
                  f"`{VETO}` with a reason where the config must not be trained")  # fmt: skip
