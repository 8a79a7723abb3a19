"""What a config says of early exits: weights by name, values that are none, hidden heads in the arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.errors import SpaceError, StudyError
from spaces.exits import RULES, WEIGHTS, exit_training, in_words, loss_weights
from spaces.nets import network
from spaces.study import Study


def test_weights_by_hand() -> None:
    """Of three exits; they sum to 1, but for `equilibrium`, which scales gradients instead."""
    assert loss_weights("uniform", 3) == pytest.approx([1 / 3] * 3)
    assert loss_weights("linear", 3) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert loss_weights("branchynet", 3) == pytest.approx([1 / 1.6, 0.3 / 1.6, 0.3 / 1.6])
    assert loss_weights("geometric", 3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert loss_weights("equilibrium", 3) == (1, 1, 1)
    assert all(loss_weights(name, 1) == (1.0,) for name in WEIGHTS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"exit_rule": "entrophy"}, "did you mean 'entropy'"),
        ({"exit_weights": 3}, "exit_weights = 3 is not one of uniform"),
        ({"exit_backbone": "cold"}, "is not one of joint, frozen"),
        ({"exit_distill": 1.5}, "no share"),
        ({"exit_distill": True}, "no share"),
        ({"exit_head": -1}, "exit_head = -1"),
        ({"exit_head": "hidden"}, "exit_head = 'hidden'"),
    ],
)
def test_values_that_are_none_are_told_before_a_trial(config: dict[str, Any], said: str) -> None:
    """The study that holds one is refused, in the words of the rule."""
    space = {name: {"const": value} for name, value in config.items()}
    with pytest.raises(StudyError, match=said):
        Study.parse({"study": "s", "space": space, "objectives": {"val_error": "minimize"}, "task": "classify"})


def test_unknown_weights_are_told() -> None:
    """Also where they are asked for directly."""
    with pytest.raises(SpaceError, match="did you mean 'linear'"):
        loss_weights("liner", 2)


def test_each_rule_has_words() -> None:
    """A card can say every rule; only patience needs no temperature."""
    for rule in RULES:
        assert ("temperature" in in_words(rule)) == (rule != "patience")
    assert exit_training({}).rule in RULES


def test_a_hidden_head_by_hand() -> None:
    """5 units: 4 channels x 4 cells x 5 + 5 and 5 x 10 + 10 instead of 16 x 10 + 10, in every figure; the last head is
    linear, and what has no early exit is the same network."""
    plain = network({"width": 4, "depth": 2, "exits": [0]}, (1, 8, 8), 10)
    deep = network({"width": 4, "depth": 2, "exits": [0], "exit_head": 5}, (1, 8, 8), 10)
    assert [layer.name for layer in deep.layers] == ["blocks.0", "heads.0.hidden", "heads.0", "blocks.1", "heads.1"]
    assert deep.params - plain.params == (16 * 5 + 5 + 5 * 10 + 10) - (16 * 10 + 10)
    assert deep.macs - plain.macs == 16 * 5 + 5 * 10 - 16 * 10
    assert deep.bytes - plain.bytes == 4 * (deep.params - plain.params)
    assert [layer.name for layer in deep.prefix(0)] == ["blocks.0", "heads.0.hidden", "heads.0"]
    assert deep.signature(0) != plain.signature(0)
    assert deep.exits[-1].hidden is None
    assert network({"depth": 2, "exit_head": 5}, (1, 8, 8), 10) == network({"depth": 2}, (1, 8, 8), 10)
    eight = network({"width": 4, "depth": 2, "exits": [0], "exit_head": 5, "bits": [4, 32]}, (1, 8, 8), 10)
    assert [layer.bits for layer in eight.layers] == [4, 8, 8, 32, 32]


def test_signatures_of_earlier_versions_stay() -> None:
    """A network without hidden heads has the signature that was recorded before there were any."""
    spec = network({"width": 16, "depth": 3, "bits": [8, 32, 4], "exits": [0]}, (1, 8, 8), 10)
    assert [spec.signature(k) for k in range(2)] == ["cff4c914b5987491", "db0da2cf1383f8d2"]
