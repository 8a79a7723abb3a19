"""A user's folder on the child's path: what lies in it must not be taken for ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("content", ["raise RuntimeError('not ours')", None])
def test_a_users_folder_named_like_ours_shadows_nothing(tmp_path: Path, content: str | None) -> None:
    """`kernels/`, `spaces/`, `workers/` beside a study file, packages or plain folders, even first on the path."""
    for name in ("kernels", "spaces", "workers", "searchd"):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "__init__.py").write_text(content)
    code = (
        f"import sys, workers.child; sys.path.insert(0, {str(tmp_path)!r});"
        "import kernels.fake_quant, spaces.study, workers.tasks, searchd.errors"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
