"""`searchd run` with a `warm_start` that is not there: told before any process is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from searchd.errors import NotFound
from searchd.local import run_local
from searchd.progress import Progress

STUDY = """
study: next
space: {x: {float: [0, 1]}}
objectives: {loss: minimize}
budget: {trials: 3}
task: nowhere:train
warm_start: [tyo]
"""


def test_nothing_starts_for_a_study_that_misses_its_past(tmp_path: Path) -> None:
    """The error names the study that is missing, and neither broker nor logs are left behind."""
    file = tmp_path / "next.yaml"
    file.write_text(STUDY)
    missing = pytest.raises(NotFound, match="warm_start: no study 'tyo'")
    with Progress(Console(stderr=True), quiet=True) as progress, missing:
        run_local(file, out=tmp_path / "out", progress=progress)
    assert {path.name for path in (tmp_path / "out" / "next").iterdir()} == {"run.lock"}
