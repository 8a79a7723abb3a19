"""Every kernel compiles for sm_80 and sm_90 on a machine without a GPU: Triton's by Triton, CUDA's by nvcc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kernels
from kernels._choose import triton_there
from kernels._kernel import CAPABILITIES, with_triton

ROOT = Path(kernels.__file__).parent
SOURCES = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.cu"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str]:
    """What one process compiled, all operators in it, and what it complained of: torch and Triton are imported once."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    ran = subprocess.run(
        [sys.executable, "-m", "kernels._kernel"], cwd=ROOT.parent, env=env, capture_output=True, text=True, check=False
    )
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return rows, "" if ran.returncode == 0 else f"it ended with {ran.returncode}: {ran.stderr[-8000:]}"


@pytest.mark.skipif(not triton_there(), reason="triton is not installed")
@pytest.mark.parametrize("op", with_triton())
@pytest.mark.timeout(1200)  # the first of them waits for a compiler for each kernel, twice
def test_triton(op: str, made: tuple[list[dict[str, Any]], str]) -> None:
    """Each kernel that the operator lists gives a cubin for both capabilities, and it lists each that it launches."""
    everything, wrong = made
    rows = [row for row in everything if row["op"] == op]
    assert rows, wrong
    for name in {r["kernel"] for r in rows}:
        assert [r["capability"] for r in rows if r["kernel"] == name] == list(CAPABILITIES), wrong
    for row in rows:
        assert row["cubin_bytes"] > 0
        assert row["shared_bytes"] <= 163 * 1024, f"{row} needs more shared memory than an A100 gives to one block"


@pytest.mark.skipif(not triton_there(), reason="triton is not installed")
@pytest.mark.timeout(1200)
def test_triton_compiles_all(made: tuple[list[dict[str, Any]], str]) -> None:
    """No kernel of any operator stops the compiler."""
    assert not made[1], made[1]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the PATH")
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.timeout(400)
def test_cuda(source: str, capability: int, tmp_path: Path) -> None:
    """Each CUDA source gives a cubin."""
    out = tmp_path / "out.cubin"
    ran = subprocess.run(
        ["nvcc", "-std=c++17", "-O3", "-cubin", f"-arch=sm_{capability}", "-o", str(out), str(ROOT / source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-8000:]
    assert out.stat().st_size > 0
