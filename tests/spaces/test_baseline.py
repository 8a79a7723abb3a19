"""Baselines of a search: what is drawn, what stays, and that both are studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spaces.baseline import name_of, once_more, random_architectures
from spaces.describe import describe
from spaces.errors import SpaceError
from spaces.study import Study

SAID: dict[str, Any] = {
    "study": "nets",
    "space": {
        "width": {"int": [4, 24], "log": True}, "depth": {"int": [1, 3]}, "exits": {"subset": [0, 1]},
        "bits": {"repeat": "depth", "choice": [2, 4, 8, 32], "ordered": True}, "batch_size": {"int": [16, 64]},
        "optimizer": {"choice": {"sgd": {"lr": {"float": [0.01, 1]}}, "adamw": {"lr": {"float": [1e-4, 0.1]}}}},
    },
    "constraints": ["width * depth <= 48", "optimizer.sgd.lr < 0.9", "all(b >= 4 for b in bits[1:])"],
    "objectives": {"val_error": "minimize", "bytes": {"goal": "minimize", "at_most": 9000}},
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "width": 9, "depth": 2, "exits": (0,), "bits.0": 2, "bits.1": 8, "batch_size": 32, "optimizer": "adamw",
    "optimizer.adamw.lr": 0.01,
}  # fmt: skip
ARCHITECTURE = ("width", "depth", "kernel", "bits", "exits")


def test_random_architectures_under_one_protocol() -> None:
    """Width, depth, bits, exits vary within constraints and bounds; optimizer and batch size are the found ones."""
    study = Study.parse(SAID)
    made = Study.parse(random_architectures(study, CONFIG, 27, ARCHITECTURE))
    assert (made.name, made.search.scheduler, made.search.R, made.budget.trials) == ("nets-random", "fifo", 27, 8)
    assert [c.text for c in made.space.constraints] == [SAID["constraints"][0], SAID["constraints"][2]]
    assert made.objectives == study.objectives
    rng = np.random.default_rng(0)
    drawn = [made.space.nested(made.space.sample(rng)) for _ in range(40)]
    assert {(d["batch_size"], d["optimizer"]["name"], d["optimizer"]["lr"]) for d in drawn} == {(32, "adamw", 0.01)}
    assert len({d["width"] for d in drawn}) > 5
    assert all(d["width"] * d["depth"] <= 48 and len(d["bits"]) == d["depth"] for d in drawn)


def test_the_found_config_again_is_the_same_network() -> None:
    """Every draw is that config, lists included; trials have seeds of their own; the network is described alike."""
    study = Study.parse(SAID)
    made = Study.parse(once_more(study, CONFIG, 27, 3))
    config = made.space.sample(np.random.default_rng(1))
    one = {k: tuple(v) if isinstance(v, list) else v for k, v in made.space.nested(config).items()}
    assert one == {
        "width": 9, "depth": 2, "exits": (0,), "bits": (2, 8), "batch_size": 32,
        "optimizer": {"name": "adamw", "lr": 0.01},
    }  # fmt: skip
    found, before = describe(made.task, made.space, config), describe(study.task, study.space, CONFIG)
    assert found is not None
    assert before is not None
    assert found.metrics == before.metrics
    assert made.seed != study.seed


def test_a_differentiable_search_is_compared_with_every_path() -> None:
    """Random: one candidate a layer that this layer has; again: the found path; nothing of the search is left."""
    said = {
        "study": "d", "space": {"width": {"int": [4, 8]}, "weight": {"float": [0.01, 1]}, "theta_lr": 0.1},
        "objectives": {"val_error": "minimize"}, "task": {"dnas": {"candidates": ["k3e1", "k5e2", "skip"]}},
    }  # fmt: skip
    study, config = Study.parse(said), {"width": 4, "weight": 0.1, "theta_lr": 0.1}
    made = Study.parse(random_architectures(study, config, 9, ("architecture",)))
    rng = np.random.default_rng(0)
    paths = {tuple(made.space.nested(made.space.sample(rng))["architecture"]) for _ in range(200)}
    assert len(paths) == 3 * 2 * 2 * 3
    assert set(made.space.dump()) == {"width", "architecture"}
    again = Study.parse(once_more(study, config, 9, 2, ["skip", "k3e1", "k5e2", "skip"]))
    nested = again.space.nested(again.space.sample(rng))
    assert (nested["width"], list(nested["architecture"])) == (4, ["skip", "k3e1", "k5e2", "skip"])


def test_what_cannot_be_kept_is_told() -> None:
    """A schedule, and a repeated choice with parameters, have no one value."""
    lr = {"float": [0.1, 1], "schedule": {"piecewise": [1, 3]}}
    study = Study.parse({**SAID, "space": {"x": lr}, "constraints": [], "objectives": {"l": "minimize"}, "task": "m:f"})
    with pytest.raises(SpaceError, match="x has a schedule"):
        once_more(study, {"x.0": 0.1, "x.1": 0.2}, 9, 2)
    layers = {"repeat": 2, "choice": {"a": {"k": {"int": [1, 3]}}}}
    study = Study.parse({"study": "s", "space": {"x": layers}, "objectives": {"l": "minimize"}, "task": "m:f"})
    with pytest.raises(SpaceError, match="x repeats a choice"):
        once_more(study, {}, 9, 2)


def test_names_stay_names() -> None:
    """A long name is cut, so that the study can be read."""
    assert name_of("a" * 64, "random") == "a" * 57 + "-random"
    assert len(name_of("a" * 64, "again")) == 64
