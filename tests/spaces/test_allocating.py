"""`allocate` in a study file: what it may say, the lines of mistakes, and what bounds are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searchd.search import Search
from spaces.allocating import AllocateForm, ground
from spaces.describe import describe
from spaces.errors import StudyError
from spaces.lint import lint_study
from spaces.nets import network
from spaces.study import Study

TEXT = """study: a
space: {width: {int: [4, 32]}, depth: {int: [1, 3]}}
objectives: {val_error: minimize, bytes: {goal: minimize, at_most: BOUND}}
budget: {trials: 4}
task:
  classify:
    data: digits
    allocate:
      bits: BITS
      by: hawq
      fixed: {first: 8}
      limits: {bytes: LIMIT}
"""


def text(bits: str = "[4, 2, 8]", bound: float = 20_000, limit: float = 50_000) -> str:
    return TEXT.replace("BITS", bits).replace("BOUND", str(bound)).replace("LIMIT", str(limit))


def test_what_is_left_out_is_filled_in() -> None:
    """Defaults reach the worker with the rest, a study reads back the same, and widths come narrowest first."""
    study = Study.loads(text("[8, fp8, 1.58, 16, 2]"))
    said = study.task.options["allocate"]
    assert (said["by"], said["points"], said["tune"], said["at"]) == ("hawq", 6, "norm", "end")
    assert Study.parse(study.dump()) == study
    assert AllocateForm.model_validate(said).widths == [1.58, 2, 8, "fp8", 16]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("[4, 2, 8]", "[5, 8]", r"study:9: task.classify.allocate.bits: bits = 5 is no width that the network has: 1"),
    ("[4, 2, 8]", "[8, 8]", r"study:9: .*names a width twice"),
    ("[4, 2, 8]", "[8]", r"study:9: .*2 are needed"),
    ("[4, 2, 8]", "[2, 4]", r"study:8: task.classify.allocate: fixed names 8, which bits do not have: add it"),
    ("hawq", "hawk", r"study:10: task.classify.allocate.by: 'hawk' is not allowed here: did you mean"),
    ("{first: 8}", "{frist: 8}", r"study:11: .*unknown key 'frist': did you mean 'first'"),
    ("50000", "9", r"study:12: task.classify.allocate.limits: bytes at most 9 cannot be met: the least possible is"),
    ("{first: 8}", "{first: 8}\n      ties: [[0, 1], [0, 9]]", r"ties\[1\]: there is no block 9: up to 3 blocks are"),
    ("50000", "-9", r"study:12: .*-9: should be greater than 0"),
])  # fmt: skip
def test_mistakes_have_their_line(old: str, new: str, said: str) -> None:
    """Value, rule, remedy, and the line; a limit that no config keeps is told before anything runs, with the least."""
    with pytest.raises(StudyError, match=said):
        Study.loads(text().replace(old, new))


def test_a_bound_is_held_against_the_least_allocation() -> None:
    """A float network that is too large starts when an allocation of it is small enough; its own point says its own
    bytes. Without allocations it never starts."""
    study = Study.loads(text(bound=3000, limit=1e6))
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(40):
        config = study.space.sample(rng)
        found = describe(study.task, study.space, config)
        assert found is not None
        nested = study.space.nested(config)
        on = ground(nested, (1, 8, 8), 10, AllocateForm.model_validate(study.task.options["allocate"]))
        bits = [8] + [2] * (nested["depth"] - 1)
        assert on.least("bytes") == network({**nested, "bits": bits}, (1, 8, 8), 10).bytes
        assert found.metrics["bytes"] == network(nested, (1, 8, 8), 10).bytes
        assert found.bounded["bytes"] == min(found.metrics["bytes"], on.least("bytes"))
        assert found.bounded["params"] == found.metrics["params"]
        refused = Search(study)._vetting.refusal(config)
        assert (refused is None) == (found.bounded["bytes"] <= 3000)
        seen.add((found.metrics["bytes"] <= 3000, found.bounded["bytes"] <= 3000))
    assert seen == {(True, True), (False, True), (False, False)}


def test_a_limit_that_some_configs_cannot_keep_refuses_those() -> None:
    """The study is taken; a config whose least allocation is above the limit does not start, and the reason says so."""
    study = Study.loads(text(limit=1500))
    search = Search(study)
    said: list[Any] = [search._vetting.refusal(study.space.sample(np.random.default_rng(i))) for i in range(20)]
    assert None in said
    assert any(s and "bytes at most 1500 cannot be met: the least possible is" in s for s in said)


def test_costs_are_those_of_the_networks() -> None:
    """The table of an allocation adds up to the network's figures, heads and exits included, for every cost."""
    config = {"width": 6, "depth": 3, "exits": [0, 1], "granularity": "group", "group": 8, "activation_bits": [4, 8, 2]}
    said = AllocateForm(bits=[2, 8, "fp8", 32])
    on = ground(config, (3, 9, 6), 4, said)
    rng = np.random.default_rng(0)
    for _ in range(20):
        choice = rng.integers(0, 4, 3).tolist()
        spec = network({**config, "bits": [on.widths[c] for c in choice]}, (3, 9, 6), 4)
        for name in ("bytes", "bops"):
            assert sum(on.costs[name][i][c] for i, c in enumerate(choice)) == getattr(spec, name)


def test_widths_without_a_kernel_are_told() -> None:
    """fp8 and 16 bits in a study that asks for latency: a finding says that they run as float32."""
    said = {"study": "s", "space": {"bits": {"choice": [8, "fp8", 16], "ordered": True}, "width": {"int": [4, 9]}},
            "objectives": {"val_error": "minimize"}, "budget": {"trials": 3}}  # fmt: skip
    assert lint_study(Study.parse(said)) == ()
    said["objectives"]["latency_ms"] = "minimize"  # type: ignore[index]
    (found,) = lint_study(Study.parse(said))
    assert str(found).startswith("space.bits: fp8, 16: no runtime here has a kernel for them")
