"""Every file in `interpreted/` passes under TRITON_INTERPRET=1, in one process for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kernels._choose import triton_there

FOLDER = Path(__file__).parent / "interpreted"
ROOT = FOLDER.parents[2]
FILES = sorted(p.stem for p in FOLDER.glob("test_*.py"))

# The first of these tests runs them all: NumPy runs a program at a time, minutes on a slow machine.
pytestmark = [
    pytest.mark.skipif(not triton_there(), reason="triton is not installed"), pytest.mark.timeout(1200),
]  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], str]:
    """File → how each of its tests ended (passed, failure, error, skipped); and what was printed."""
    place = tmp_path_factory.mktemp("interpreted")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SEARCHD_KERNELS"))}
    env |= {"TRITON_INTERPRET": "1", "SEARCHD_KERNEL_CACHE": str(place / "none.json")}
    asked = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={place / 'told.xml'}", str(FOLDER)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *asked], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    printed = ran.stdout[-8000:] + ran.stderr[-2000:]
    assert ran.returncode in {0, 1}, printed
    ends = defaultdict(list)
    for case in ElementTree.parse(place / "told.xml").iter("testcase"):
        name = (case.get("classname") or case.get("name") or "").rsplit(".", 1)[-1]
        ends[name] += [part.tag for part in case if part.tag in {"failure", "error", "skipped"}] or ["passed"]
    return ends, printed


@pytest.mark.parametrize("file", FILES)
def test_interpreted(file: str, told: tuple[dict[str, list[str]], str]) -> None:
    """The kernels equal their references, run by Triton's interpreter; none is skipped."""
    ends, printed = told
    assert set(ends[file]) == {"passed"}, f"{file}: {sorted(set(ends[file])) or 'no test of it was run'}\n{printed}"


def test_each_was_asked(told: tuple[dict[str, list[str]], str]) -> None:
    """What was run is what there is: no failure goes by the name of a file that nobody looks at."""
    assert sorted(told[0]) == FILES, told[1]
