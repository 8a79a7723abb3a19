"""The parent of a trial, seen from a training function: its config, and what it saved, to be morphed by the function.

    trial.load(model=model, optimizer=optimizer)
    if trial.parent is not None and (saved := trial.parent.load()) is not None:    # nothing of its own was loaded
        model.load_state_dict(widened(saved["model"], trial.parent.config, trial.config))

Whether the weights were taken goes up with the first report, so that the log says it.
"""

from __future__ import annotations

import logging
from typing import Any

from searchd.wire import Inherited, ParentRef
from workers.checkpoints import Checkpoints, Corrupt

log = logging.getLogger("searchd.worker")

UNASKED = "the task did not load its parent's weights (trial.parent.load())"


class Parent:
    """Trial `number` as it was after `step`. `config`: nested, as the trial's own; `flat`: under flat names."""

    def __init__(self, reference: ParentRef, checkpoints: Checkpoints) -> None:
        self.number, self.step = reference.trial, reference.step
        self.config: dict[str, Any] = reference.nested
        self.flat: dict[str, Any] = reference.config
        self._reference = reference.checkpoint
        self._checkpoints = checkpoints
        self._outcome = Inherited(ok=False, reason=UNASKED)

    def load(self) -> dict[str, Any] | None:
        """What the parent saved, by the names (or places, `"0"`, `"1"`) that it was saved under: an object with a state
        as that state. None, and said in the log, when the checkpoint is gone or damaged: begin from nothing."""
        if self._reference is None:
            self.decline(f"trial {self.number} has no checkpoint of step {self.step}")
            return None
        try:
            saved: dict[str, Any] = self._checkpoints.read(self._reference)["objects"]
        except (Corrupt, KeyError) as error:
            self.decline(str(error))
            return None
        self._outcome = Inherited(ok=True)
        return saved

    def decline(self, why: str) -> None:
        """The weights do not fit after all, and the trial begins from nothing: `why`, for the log."""
        log.warning("the weights of trial %d are not taken: %s", self.number, why)
        self._outcome = Inherited(ok=False, reason=why)

    def outcome(self) -> Inherited:
        """Whether its weights were taken, as far as is known."""
        return self._outcome
