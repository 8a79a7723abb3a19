"""`searchd proxies`: over the trials of a study, in a program of its own."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from searchd.cli import main
from tests.support.study_db import write_study
from tests.support.world import World, spec


def test_proxies_of_a_study(tmp_path: Path) -> None:
    """Every proxy and both baselines with tau over the trials of a step; fewer than 30 trials: nobody may veto."""
    written = write_study(tmp_path / "out" / "digits", trials=6)
    written.close()
    done = CliRunner().invoke(main, ["proxies", "digits", "--step", "1", "--json", "--root", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["step"] == 1
    assert {row["proxy"] for row in answer["proxies"]} == {
        "grad_norm", "snip", "synflow", "nwot", "log_macs", "log_params",
    }  # fmt: skip
    assert {row["trials"] for row in answer["proxies"]} == {answer["trials"]}
    assert 2 <= answer["trials"] <= 6
    assert all(-1 <= row["tau"] <= 1 for row in answer["proxies"])
    assert not any(row["may_veto"] for row in answer["proxies"])


def test_what_it_cannot_judge(tmp_path: Path) -> None:
    """A task of one's own, a step that nobody reached: told."""
    folder = tmp_path / "toy"
    folder.mkdir()
    world = World(folder)
    world.run(world.submit(spec()))
    world.close()
    refused = CliRunner().invoke(main, ["proxies", "toy", "--root", str(tmp_path)])
    assert refused.exit_code == 1
    assert "those of the classify task" in refused.stderr
    written = write_study(tmp_path / "digits", trials=6)
    written.close()
    nobody = CliRunner().invoke(main, ["proxies", "digits", "--step", "999", "--root", str(tmp_path)])
    assert nobody.exit_code == 3
    assert "0 trials with a val_error at step 999" in nobody.stderr
