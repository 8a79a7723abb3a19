"""What a study file may say of super-networks: shapes by config, options with the line of each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from spaces.builtin.supernet import SUPERNET, distill_of, space_of
from spaces.errors import SpaceError, StudyError
from spaces.lint import lint_study
from spaces.study import Study

FILE = """
study: s
space: {{width: {{int: [4, 8]}}, depth: {{int: [1, 3]}}}}
objectives: {{val_error: minimize, bytes: minimize}}
budget: {{trials: 4}}
task:
  supernet:
    data: {data}
    {more}
"""


def said(more: str = "", data: str = "digits") -> Study:
    return Study.loads(FILE.format(data=data, more=more), file="s.yaml")


def test_options_are_read_and_written() -> None:
    """Bits and resolutions are sorted, what is left out has its default, and a dumped study is the same study."""
    study = said("bits: [32, 4, 8]\n    resolutions: [8, 6]\n    search: {method: linas, at_most: {latency_ms: 0.5}}")
    options = study.task.options
    assert (options["bits"], options["resolutions"], options["points"]) == ([4, 8, 32], [6, 8], 8)
    assert options["search"]["method"] == "linas"
    assert options["search"]["evaluations"] == 40
    assert Study.parse(study.dump()) == study
    assert lint_study(study) == ()
    assert Study.parse({**study.dump(), "task": "supernet"}).task.options["data"] == "digits"


@pytest.mark.parametrize(("more", "data", "error"), [
    ("bits: [4, 9]", "digits", r"s.yaml:9: task.supernet.bits: 9 is no width of the super-network: 2, 3, 4"),
    ("resolutions: [16]", "digits", r"s.yaml:9: task.supernet.resolutions: 16 is larger than the images"),
    ("resolutions: [4]", "wine", r"s.yaml:9: .*only square images have resolutions"),
    ("search: {at_most: {latncy_ms: 1}}", "digits", r"s.yaml:9: .*no cost of a sub-network: did you mean 'latency_ms'"),
    ("search: {at_most: {bytes: 0}}", "digits", r"s.yaml:9: .*0 leaves no sub-network"),
    ("search: {method: magic}", "digits", r"s.yaml:9: task.supernet.search.method: 'magic' is not allowed here"),
    ("search: {evaluation: 9}", "digits", r"s.yaml:9: .*unknown key 'evaluation': did you mean 'evaluations'"),
    ("points: 0", "digits", r"s.yaml:9: task.supernet.points"),
    ("", "digit", r"s.yaml:8: task.supernet.data: 'digit' is no data set: did you mean 'digits'"),
])  # fmt: skip
def test_mistakes_have_lines(more: str, data: str, error: str) -> None:
    """Each wrong option is told with file, line and place."""
    with pytest.raises(StudyError, match=error):
        said(more, data)


@pytest.mark.parametrize(("config", "error"), [
    ({"kernel": 4}, "kernel = 4 is even"), ({"depth": 0}, "depth = 0"), ({"expand": 0}, r"expand = 0"),
    ({"block": "dense"}, "block = 'dense' is none of"), ({"training": "magic"}, "training = 'magic' is none of"),
    ({"samples": True}, "samples = True"), ({"stage": 0}, "stage = 0"),
])  # fmt: skip
def test_configs_that_cannot_be_built(config: dict[str, Any], error: str) -> None:
    """A config that no trial could train is refused with its value."""
    with pytest.raises(SpaceError, match=error):
        SUPERNET.describe({}, config)


def test_the_largest_shape() -> None:
    """Units double their channels and halve the map while it is large; vectors have residual blocks without kernels."""
    config = {"width": 4, "units": 4, "depth": 2, "kernel": 7, "expand": 6}
    space = space_of({"resolutions": [6, 8], "bits": [8, 32]}, config)
    assert [(u.channels, u.stride) for u in space.units] == [(4, 1), (8, 2), (16, 2), (16, 1)]
    assert space.units[0].kernels == (3, 5, 7)
    assert space.units[0].widths == (1.5, 3.0, 6.0)
    assert (space.stem, space.block, space.resolutions, space.bits) == (4, "bottleneck", (6, 8), (8, 32))
    vector = space_of({"data": "wine"}, {})
    assert (vector.block, vector.units[0].kernels, vector.resolutions) == ("residual", (1,), ())
    assert space_of({}, {"kernel": 1}).units[0].kernels == (1,)


@pytest.mark.parametrize("value", [-0.1, 1.5, True, "half", float("nan")])
def test_distillation_is_a_share(value: object) -> None:
    """Anything but a number from 0 to 1 is refused."""
    with pytest.raises(SpaceError, match="it is a share"):
        distill_of({"distill": value})
