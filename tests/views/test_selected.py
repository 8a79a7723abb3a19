"""What tells operating points of one trial apart, in a cell of the front's table."""

from __future__ import annotations

from typing import Any

import pytest

from searchd.words import selected

UNITS = [{"kernels": [3, 5], "widths": [2, 4], "bits": [8, 32]}, {"kernels": [3], "widths": [8], "bits": [32]}]


@pytest.mark.parametrize(("metrics", "said"), [
    ({}, ""),
    ({"architecture": ["k3e1", "skip"]}, "k3e1,skip"),
    ({"skip": {"kind": "all"}}, "all layers"),
    ({"skip": {"kind": "unified", "layers": [0, 3]}}, "layers 0,3"),
    ({"skip": {"kind": "decode", "most": 4, "least": 1, "warm": 0}}, "layers 4 to 1"),
    ({"subnet": {"resolution": 8, "units": UNITS}}, "8: 3x2 5x4 | 3x8 · bits 8 32 | 32"),
    ({"subnet": {"resolution": 8, "units": [{**UNITS[1]}]}}, "8: 3x8"),
])  # fmt: skip
def test_every_kind_of_point_has_its_words(metrics: dict[str, Any], said: str) -> None:
    """Blocks, skip schedules and sub-networks; nothing where the config says it all."""
    assert selected({"metrics": metrics}) == said
