"""Which network can go on as which, before any torch."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.describe import unfit_weights
from spaces.morphs import unfit
from spaces.nets import network
from spaces.study import Study

BASE: dict[str, Any] = {"width": 4, "depth": 3, "kernel": 3, "bits": 32}


def net(shape: tuple[int, ...] = (1, 8, 8), classes: int = 4, **changes: Any) -> Any:
    return network(BASE | changes, shape, classes)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"width": 5}, None),
        ({}, {"depth": 5}, None),
        ({}, {"width": 9, "depth": 4}, None),
        ({"bits": 4}, {"bits": 4, "width": 7}, None),
        ({"bits": 2}, {"bits": 2, "width": 8}, None),
        ({"bits": [2, 32, 32]}, {"bits": [2, 32, 32], "width": 5}, None),
        ({"bits": [32, 2, 32]}, {"bits": [32, 2, 32], "width": 5}, "multiply the width"),
        ({"bits": [32, 32, 1]}, {"bits": [32, 32, 1, 1], "depth": 4}, "cannot say 1 and 0"),
        ({}, {"bits": [32, 32, 32, 8], "depth": 4}, "new blocks have the bits of the last"),
        ({"depth": 1}, {"depth": 2}, "block 1 pools"),
        ({}, {"width": 3}, "raise it"),
        ({}, {"width": 5, "depth": 2}, "raise it"),
        ({}, {"kernel": 5}, "kernel or bits differ"),
        ({}, {"bits": 8}, "kernel or bits differ"),
        ({}, {"classes": 5}, "the data differ"),
        ({"shape": (6,), "depth": 1}, {"shape": (6,), "depth": 3}, None),
    ],
)
def test_who_fits(before: dict[str, Any], after: dict[str, Any], words: str | None) -> None:
    """Wider and deeper fit, with exceptions that have a remedy; nothing else does."""
    said = unfit(net(**before), net(**after))
    assert said is None if words is None else words in (said or "")


def test_a_config_that_builds_no_network_fits_nothing() -> None:
    """An odd config is told as a reason and not raised; a user's task is asked later."""
    said: dict[str, Any] = {"study": "s", "space": {"width": {"int": [4, 8]}, "kernel": {"choice": [3, 5]}},
                            "objectives": {"val_error": "minimize"}, "task": "classify"}  # fmt: skip
    study = Study.parse(said)
    small = study.space.complete({"width": 4, "kernel": 3})
    assert unfit_weights(study.task, study.space, small, study.space.complete({"width": 8, "kernel": 3})) is None
    odd = Study.parse({**said, "space": {"width": {"int": [4, 8]}, "kernel": {"choice": [3, 4]}}, "task": "m:f",
                       "objectives": {"loss": "minimize"}})  # fmt: skip
    even = odd.space.complete({"width": 8, "kernel": 4})
    assert "even" in (unfit_weights(study.task, odd.space, odd.space.complete({"width": 4, "kernel": 3}), even) or "")
    assert unfit_weights(odd.task, odd.space, even, even) is None
