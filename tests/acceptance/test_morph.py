"""Network morphism with real workers and real training: a child begins where its parent ended, whatever is killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from searchd.engine.asking import trial_seed
from searchd.folder import Folder
from searchd.wire import CheckpointRef, ParentRef
from tests.support.runs import Run, check_ended, running
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import train

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

STUDY = """
study: grow
space:
  width: {int: [6, 20], log: true}
  depth: {int: [2, 3]}
  bits: {repeat: depth, choice: [4, 8, 32], ordered: true}
  batch_size: 16
  optimizer: {choice: {adamw: {lr: {float: [0.002, 0.01], log: true}}}}
objectives: {val_error: minimize, bytes: minimize}
search:
  {scheduler: asha, searcher: evolution, r: 3, R: 9, options: {morph: 1, startup: 3}}
budget: {trials: 11, parallel: 2}
task: classify
seed: 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "grow.yaml"
    path.write_text(STUDY)
    return path


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    return [e["payload"] for e in run.client.log("grow") if e["kind"] == kind]


def children(run: Run) -> dict[int, tuple[int, int]]:
    """Trial → its parent and the step, as the log has it."""
    return {p["trial"]: (p["parent"], p["morph"]) for p in events(run, "asked") if "morph" in p}


def again(out: Path, trial: int, work: Path, *, parent: bool, until: int | None = None) -> Rehearsal:
    """The first job of a trial here and now, in a copy of the study's files; with or without its parent."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(out / "grow" / "trials", work / "trials")
    folder = Folder(out)
    with folder.opened("grow") as (reader, identity):
        job = next(j for j in reader.jobs(identity) if j.trial == trial and j.kind == "train")
        morphed = job.spec["morphed"]
        kept = reader.checkpoint(identity, morphed["trial"], morphed["step"])
    folder.close()
    assert kept is not None
    reference = CheckpointRef(step=kept.step, path=kept.path, sha256=kept.sha256, bytes=kept.bytes)
    shutil.rmtree(work / "trials" / str(trial), ignore_errors=True)
    return rehearse(
        train, job.spec["nested"], until=until or job.until, seed=trial_seed(4, trial), kind="classify", folder=work,
        number=trial, parent=ParentRef(**morphed, checkpoint=reference) if parent else None,
    )  # fmt: skip


@pytest.mark.parametrize("part", ["worker", "child"])
def test_a_killed_child_begins_again_from_its_parent(tmp_path: Path, file: Path, part: str) -> None:
    """`kill -9` of the slot, or of its warm child, in a morphed trial's first job: the job runs again, its reports are
    bit by bit those of an undisturbed training from the same parent. Over the first steps of all children the loss is
    far lower than that of the same configs and seeds from nothing, which begin at chance."""
    out = tmp_path / "out"
    with running(file, out, "--json") as run:

        def victim() -> tuple[int, int] | None:
            """(trial, process) of a morphed trial that trains its first steps."""
            known = children(run) if run.steps("grow") else {}
            for worker in run.client.workers():
                trial = int((worker["job"] or "--").rsplit("-", 2)[1] or -1)
                if trial in known and f"-{trial}-train1" in worker["job"]:
                    return trial, int(worker["pid" if part == "worker" else "child_pid"])
            return None

        trial, pid = run.until(victim, "a morphed trial", timeout_s=180)
        psutil.Process(pid).kill()
        told = run.answer()
        lost = [p for p in events(run, "lost") if p["trial"] == trial]
        assert [p["attempt"] for p in lost][:1] == [1], "the kill hit its first job"
        known = children(run)
        began = {p["trial"]: p for p in events(run, "inherited")}
        assert began.keys() == known.keys()
        assert all(p["ok"] and (p["parent"], p["step"]) == known[t] for t, p in began.items())
        reports = {t: [r["metrics"] for r in run.client.trial("grow", t)["reports"]] for t in known}
        shown = run.client.trial("grow", trial)["parent"]
    assert (shown["trial"], shown["step"], shown["taken"]) == (*known[trial], True)
    assert told["summary"]["inherited"] == {"total": len(known), "fresh": 0}
    assert all((p["parent"] or {}).get("trial") == known.get(p["trial"], (None,))[0] for p in told["front"])
    assert f"from the weights of trial {known[trial][0]} at step" in (out / "grow" / "report.html").read_text()
    undisturbed = again(out, trial, tmp_path / "again", parent=True).reports
    assert reports[trial][: len(undisturbed)] == [r.metrics for r in undisturbed]
    nothing = {t: again(out, t, tmp_path / "alone", parent=False, until=1).reports[0].metrics for t in known}
    first = {t: reports[t][0]["train_loss"] for t in known}
    assert sum(first.values()) < 0.5 * sum(metrics["train_loss"] for metrics in nothing.values()), (first, nothing)
    check_ended(out, "grow", 11)


def test_parents_without_files_are_told(tmp_path: Path, file: Path) -> None:
    """Somebody deleted the checkpoints: children begin from nothing, the log and the trials say why, and the study ends
    well and replays."""
    out = tmp_path / "out"
    short = STUDY.replace("r: 3, R: 9", "r: 1, R: 3")
    file.write_text(short.replace("trials: 11", "trials: 8"))
    with running(file, out, "--json") as run:
        run.answer()
        before = set(children(run))
    for path in (out / "grow" / "trials").glob("*/ckpt-*"):
        path.unlink()
    file.write_text(short)
    with running(file, out, "--json") as run:
        run.answer()
        decided = {t: p for t, p in children(run).items() if t not in before}
        told = {p["trial"]: p for p in events(run, "inherited")}
        lines = [e["text"] for e in run.client.log("grow") if e["kind"] == "inherited"]
        texts = {t: run.client.trial("grow", t)["parent"]["text"] for t in decided}
    fresh = [t for t in decided if not told[t]["ok"]]
    assert fresh, (decided, told)
    assert all(texts[t].startswith("from nothing") and "ckpt-" in texts[t] for t in fresh)
    assert any("began from nothing" in line for line in lines)
    check_ended(out, "grow", 11)
