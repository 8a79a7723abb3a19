"""What measures a study's models, looked up once, when it is submitted: the runtime of its registered device.

It is stored with the study (`Study.runtime`): which configs share a measurement depends on it (by torch, kernels of few
bits may tell widths apart), so that a search and a replay of its log need no device.
"""

from __future__ import annotations

from collections.abc import Sequence

from searchd.store.base import Reader
from spaces.kernels import ONNX
from spaces.study import Study


def with_runtime(study: Study, readers: Sequence[Reader]) -> Study:
    """The study with the runtime of its device; as it is where it says one itself, where none of the `readers` knows
    the device, or where that is ONNX Runtime or one that does not time the task's networks."""
    known = study.task.built_in
    if study.runtime or known is None or known.operators is None:
        return study
    row = next((found for reader in readers if (found := reader.device(study.device)) is not None), None)
    if row is None or row.runtime == ONNX or row.runtime not in known.runtimes:
        return study
    return study.model_copy(update={"runtime": row.runtime})
