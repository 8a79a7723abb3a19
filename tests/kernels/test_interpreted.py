"""Every file in `interpreted/` passes under TRITON_INTERPRET=1, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels._choose import triton_there

FOLDER = Path(__file__).parent / "interpreted"
ROOT = FOLDER.parents[2]


@pytest.mark.skipif(not triton_there(), reason="triton is not installed")
@pytest.mark.parametrize("file", sorted(p.name for p in FOLDER.glob("test_*.py")))
@pytest.mark.timeout(400)  # NumPy runs a program at a time: minutes on a slow machine
def test_interpreted(file: str) -> None:
    """The kernels equal their references, run by Triton's interpreter."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SEARCHD_KERNELS"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(FOLDER / file)],
        cwd=ROOT, env=env | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "skipped" not in ran.stdout, ran.stdout[-2000:]
