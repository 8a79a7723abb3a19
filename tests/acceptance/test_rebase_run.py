"""`searchd run --rebase` with real processes: a study that another version decided goes on with all that it trained."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support import tasks_for_workers
from tests.support.runs import running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

STUDY = """
study: old
space: {{x: {{float: [0, 1]}}, k: {{int: [1, 4]}}}}
objectives: {{error: minimize}}
search: {{scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}}
budget: {{trials: {trials}, parallel: 2}}
task: tasks_for_workers:learns
"""


def other_version(database: Path) -> int:
    """The log as another version would have written it: one promotion has other words. Its seq."""
    with sqlite3.connect(database) as db:
        rows = db.execute("SELECT seq, payload FROM events WHERE kind = 'asked' ORDER BY seq").fetchall()
        seq, said = next((seq, said) for seq, p in rows if (said := json.loads(p)).get("since"))
        said["reason"] = "promoted by the rules of another version"
        db.execute("UPDATE events SET payload = ? WHERE seq = ?", (json.dumps(said), seq))
    return int(seq)


def test_a_run_of_another_version_goes_on_when_told_so(tmp_path: Path) -> None:
    """Without the flag it is refused with both ways out; with it the study ends, nothing is trained twice, and replay
    says which stretch it took as recorded."""
    shutil.copy(str(tasks_for_workers.__file__), tmp_path)
    file, out = tmp_path / "old.yaml", tmp_path / "out"
    file.write_text(STUDY.format(trials=6))
    with running(file, out, "--json") as run:
        assert run.answer()["summary"]["status"] == "done"
        before = {t["trial"]: run.client.trial("old", t["trial"])["reports"] for t in run.client.trials("old")}
    seq = other_version(out / "old" / "study.db")
    file.write_text(STUDY.format(trials=9))
    with running(file, out, "--json") as run:
        code, told, error = run.end()
        assert code == 1
        assert f"does not replay at seq {seq}" in told + error
        assert "--rebase" in told + error
    with running(file, out, "--json", "--rebase") as run:
        answer = run.answer()
        assert (answer["summary"]["status"], answer["summary"]["trials"]["total"]) == ("done", 9)
        log = run.client.log("old")
        (rebased,) = [entry for entry in log if entry["kind"] == "rebased"]
        assert rebased["payload"]["difference"]["seq"] == seq
        now = {n: run.client.trial("old", n)["reports"] for n in before}
        assert all(now[n][: len(reports)] == reports for n, reports in before.items())
        for trial in run.client.trials("old"):
            steps = [r["step"] for r in run.client.trial("old", trial["trial"])["reports"]]
            assert steps == list(range(1, trial["step"] + 1))
    from click.testing import CliRunner

    from searchd.cli import main

    replayed = CliRunner().invoke(main, ["replay", "old", "--root", str(out)])
    assert replayed.exit_code == 0, replayed.output
    assert f"before the rebase at seq {rebased['seq']} taken as recorded" in replayed.output
