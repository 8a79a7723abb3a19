"""The `dnas` task as a study says it: layouts, what is refused, what is known before training."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.blocks import layout
from spaces.builtin.dnas import plan_of
from spaces.describe import describe
from spaces.errors import SpaceError, StudyError
from spaces.lint import lint_study
from spaces.study import Study

SAID: dict[str, Any] = {
    "study": "d", "space": {"width": {"int": [4, 8]}, "weight": {"float": [0.01, 1], "log": True}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"}, "task": "dnas",
}  # fmt: skip


def test_a_layout_by_hand() -> None:
    """8 x 8 digits, width 8: maps 8, 8 -> 4 -> 2, 2; channels 8, 16, 32, 32; skip where the shape stays; one block by
    hand."""
    made = layout((1, 8, 8), 10, 8, 4, ["k3e1", "k5e3", "skip"])
    assert [(x.inputs, x.outputs, x.stride, x.height) for x in made.layers] == [
        (8, 8, 1, 8), (8, 16, 2, 8), (16, 32, 2, 4), (32, 32, 1, 2),
    ]  # fmt: skip
    assert ["skip" in x.candidates for x in made.layers] == [True, False, False, True]
    expand, depthwise, project = made.layers[1].ops("k5e3")
    assert (expand.weights, depthwise.weights, project.weights) == (8 * 24, 24 * 25, 24 * 16)
    assert (expand.macs, depthwise.macs, project.macs) == (192 * 64, 600 * 16, 384 * 16)
    stem, head = 9 * 8 + 8, 128 * 10 + 10
    blocks = [192 + 24 + 600 + 24 + 384 + 16, 16 * 16 + 16 + 16 * 9 + 16 + 16 * 32 + 32]
    assert made.figures(["skip", "k5e3", "k3e1", "skip"])["params"] == stem + sum(blocks) + head


def test_a_search_has_no_figures_and_an_architecture_has() -> None:
    """Bounds on what a given architecture weighs are kept before training; a search has yet to choose."""
    study = Study.parse(SAID)
    found = describe(study.task, study.space, {"width": 4, "weight": 0.1})
    assert found is not None
    assert dict(found.metrics) == {}
    names = {"repeat": 4, "choice": ["k3e1", "k3e3"]}
    fixed = Study.parse({**SAID, "space": {"width": 4, "architecture": names}})
    config = {"width": 4, **{f"architecture.{i}": "k3e1" for i in range(4)}}
    known = describe(fixed.task, fixed.space, config)
    assert known is not None
    assert set(known.metrics) == {"params", "macs", "bytes"}
    assert known.signature


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": {"dnas": {"candidates": ["k4e1"]}}}, "even kernel"),
        ({"task": {"dnas": {"candidates": ["e2"]}}}, "'e2' is no candidate for images"),
        ({"task": {"dnas": {"data": "wine", "candidates": ["k3e1"]}}}, "is no candidate for vectors"),
        ({"task": {"dnas": {"candidates": ["skip"]}}}, "cannot be skipped"),
        ({"task": {"dnas": {"candidates": ["k3e1", "k3e1"]}}}, "each once"),
        ({"task": {"dnas": {"loss": "fbent"}}}, "fbnet"),
        ({"task": {"dnas": {"theta_share": 1.0}}}, "theta_share"),
        ({"task": {"dnas": {"layres": 3}}}, "did you mean 'layers'"),
        ({"space": {"temperature": {"float": [0, 0]}}}, r"temperature = 0.0, but the search needs a number in"),
        ({"space": {"target_ms": -1}}, "target_ms = -1"),
        ({"space": {"width": {"choice": ["a"]}}}, "width = 'a'"),
        ({"space": {"architecture": {"repeat": 3, "choice": ["k3e1"]}}}, "name one candidate for each of 4 layers"),
        ({"space": {"architecture": {"repeat": 4, "choice": ["k9e9"]}}}, "layer 0 has no candidate 'k9e9'"),
        ({"space": {"temperature": {"float": [1, 2], "schedule": {"piecewise": [1, 3]}}}}, "leave schedule out"),
        ({"objectives": {"val_eror": "minimize"}}, "did you mean 'val_error'"),
        ({"search": {"searcher": "evolution", "options": {"morph": 0.5}}}, "the dnas task cannot morph weights"),
    ],
)
def test_slips_are_told_when_the_file_is_read(change: dict[str, Any], said: str) -> None:
    """Each with its value, rule and remedy."""
    with pytest.raises(StudyError, match=said):
        Study.parse({**SAID, **change})


def test_what_is_odd_is_told() -> None:
    """Parameters of the search beside a given architecture do nothing."""
    space = {"weight": {"float": [0.1, 1]}, "architecture": {"repeat": 4, "choice": ["k3e1"]}}
    found = " ".join(str(line) for line in lint_study(Study.parse({**SAID, "space": space})))
    assert "there is nothing to choose then" in found


def test_temperature_falls_by_a_factor_an_epoch() -> None:
    """FBNet: 5 times .956 an epoch; the first trains at 5."""
    plan = plan_of({}, {})
    assert (plan.tau(1), plan.tau(3)) == (5.0, pytest.approx(5 * 0.956**2))
    assert (plan_of({}, {}).beta, plan_of({"loss": "proxyless-mul"}, {}).beta) == (0.6, 0.3)
    with pytest.raises(SpaceError, match="more than 1 us"):
        plan_of({"loss": "proxyless-mul"}, {"target_ms": 0.0005})
