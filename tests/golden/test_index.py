"""The index of golden numbers names tests that exist, and every file of this folder."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_the_index_is_true() -> None:
    """Each `file::test` of README.md is defined in that file (`::test` alone: in the one named last); no golden file is
    missing; G1 to G17 are there but for G8, which there is not."""
    index = (HERE / "README.md").read_text()
    named, seen = "", set()
    for file, test in re.findall(r"`([\w/.]*)::(\w+)`", index):
        named = file or named
        assert f"def {test}(" in (ROOT / named).read_text(), f"{named}::{test}"
        seen.add(named)
    here = {str(path.relative_to(ROOT)) for path in HERE.glob("test_*.py")} - {str(Path(__file__).relative_to(ROOT))}
    assert here <= seen
    assert [int(n) for n in re.findall(r"^\| G(\d+) ", index, re.M)] == [n for n in range(1, 18) if n != 8]
