"""Which bits of a trial's network have a kernel where it is measured: as it was measured, else as arithmetic says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searchd.errors import SpaceError
from searchd.store.base import Reader, StudyRow, TrialRow
from searchd.views.specs import study_of
from spaces.config import Config
from spaces.describe import kernels
from spaces.kernels import ONNX
from spaces.study import Study

PAGE = 500


def kernels_of(reader: Reader, row: StudyRow, trial: TrialRow) -> dict[str, Any] | None:
    """`runtime`, `lines` (`spaces.kernels`: one for all layers of the same bits that the same thing runs) and
    `measured`: whether that is what ran, and not what is expected. None for a task whose configs have no bits."""
    study = study_of(row)
    known = None if study is None else study.task.built_in
    if study is None or known is None or known.kernels is None:
        return None
    runtime = _runtime(reader, study)
    found = None if trial.signature is None else _measured(reader, row.id, trial.signature)
    try:
        lines = kernels(study.task, study.space, Config(trial.config), runtime) if found is None else found
    except SpaceError:
        return None
    return {"runtime": runtime, "measured": found is not None, "lines": list(lines)}


def _runtime(reader: Reader, study: Study) -> str:
    device = None if study.runtime else reader.device(study.device)
    known = study.task.built_in
    fits = device is not None and known is not None and device.runtime in known.runtimes
    return study.runtime or (device.runtime if device is not None and fits else ONNX)


def _measured(reader: Reader, study: str, signature: str) -> tuple[str, ...] | None:
    """What the log says of the signature; None where it was not measured, or by an older worker that did not say."""
    after = 0
    while events := reader.events(study, after, PAGE, ("told",)):
        after = events[-1].seq
        for event in events:
            said: Mapping[str, Any] = event.payload
            if said.get("event") == "measured" and said["signature"] == signature and "kernels" in said:
                return tuple(said["kernels"])
    return None
