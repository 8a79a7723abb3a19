"""A trial trained, exported and made again by the worker's own code, in this process: no broker, no daemon.

The jobs are those that the engine would write (`searchd.engine.asking.put_job`), as far as a training reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from searchd.engine.asking import trial_seed
from searchd.engine.reproducing import given_files, origin, wanted
from searchd.wire import CheckpointRef, JobSpec
from spaces.config import Config
from spaces.reproduces import FILE, again, split
from spaces.study import Study
from workers import job
from workers.rehearse import Rehearsal


def trained(study: Study, config: Config, root: Path, until: Sequence[int], trial: int = 0) -> Rehearsal:
    """The trial in jobs that end at `until`, one after the other, each from the last one's checkpoint."""
    link, checkpoint = Rehearsal(root), None
    for step in until:
        spec = _job(study, config, root, trial, "train", step, checkpoint)
        end = job.run(spec, link)
        assert end.outcome == "finished", end.error
        link.checkpoint = checkpoint = end.checkpoint
    return link


def exported(study: Study, config: Config, root: Path, run: Rehearsal, trial: int = 0) -> dict[str, Any]:
    """What an export of some points of the last report answers (every third); its files are in the trial's folder."""
    step = run.reports[-1].step
    points = wanted(study) or [{**p, "point": i} for i, p in enumerate(run.reports[-1].points)][::3]
    chain = [{"trial": trial, "until": step, "config": config.flat()}]
    selected = [{"point": p["point"], "selects": split(p)[0]} for p in points]
    spec = _job(study, config, root, trial, "export", step, run.checkpoint).model_copy(update={
        "points": tuple(points), "reproduce": again(study.dump(), "first", chain, selected),
    })  # fmt: skip
    end = job.run(spec, Rehearsal(root))
    assert end.outcome == "finished", end.error
    assert end.result is not None
    return end.result


def made_again(folder: Path, root: Path) -> tuple[Study, dict[str, Any]]:
    """(the study in an export's folder, what its own export answers): trained in one job, in a new folder."""
    study = Study.load(folder / FILE)
    assert study.reproduces is not None
    (one,) = study.reproduces.trials
    config = study.space.complete(one.config)
    run = trained(study, config, root, [one.until])
    return study, exported(study, config, root, run)


def _job(
    study: Study, config: Config, root: Path, trial: int, kind: Any, until: int, checkpoint: CheckpointRef | None
) -> JobSpec:  # fmt: skip
    return JobSpec(
        id=f"{study.name}-{trial}-{kind}", study=study.name, trial=trial, attempt=1, kind=kind,
        since=0 if checkpoint is None else checkpoint.step, until=until, config=config.flat(),
        nested=study.space.nested(config), task=study.task.model_dump(mode="json"),
        seed=trial_seed(study.seed, origin(study, trial)), objectives=tuple(o.name for o in study.objectives),
        checkpoint=checkpoint, artifacts=str(root), study_seed=study.seed, given=dict(given_files(study, trial)),
    )  # fmt: skip
