"""What a person may ask of a running daemon. HTTP calls it from many threads; the daemon runs each in its loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Commands(Protocol):
    """Every change to a study that comes from outside.

    Calls block until the change is committed, and may come from any thread. `study` is always an id (HTTP resolves
    names first). They raise `SearchdError`s only: `StudyError` and `SpaceError` for bad input, `NotFound` for an
    unknown study or trial, `Refused` for a study or trial in a state that does not allow it.
    """

    def submit(self, spec: Mapping[str, Any], artifacts: str | None = None) -> str:
        """Take a study (a study file as a dict) and answer its id.

        `artifacts`: the folder of its files, relative to the daemon's artifact root (`.` is the root itself, which is
        what `searchd run` uses); None: a folder of its own below the root.
        """
        ...

    def pause(self, study: str) -> None:
        """No new jobs; running ones go on."""
        ...

    def resume(self, study: str) -> None:
        """Go on with a study that was paused, stopped or faulted."""
        ...

    def stop(self, study: str) -> None:
        """End the search: running jobs stop at their next report, then the front is verified."""
        ...

    def stop_trial(self, study: str, trial: int) -> None:
        """Give up on one trial for good."""
        ...

    def inject(self, study: str, values: Mapping[str, Any]) -> int:
        """Make a config of the user the next trial; answers its number."""
        ...

    def extend(self, study: str, budget: Mapping[str, Any]) -> None:
        """Replace the budget (`trials`, `hours`, `steps`, `parallel`; absent: no limit). A study that ended goes on."""
        ...

    def prioritize(self, study: str, priority: float) -> None:
        """Give the study another weight where studies share worker slots: twice the weight, twice the slots."""
        ...

    def deepen(self, study: str, max_resource: int, trials: int | None = None) -> None:
        """Raise the maximum resource to R · eta^k, and perhaps the number of trials. A study that ended goes on."""
        ...

    def rebase(self, study: str, *, apply: bool) -> dict[str, Any]:
        """Let this version decide from here on a study whose log it does not replay; with `apply` false only say what
        that means: `difference` (None where the log replays), `text`, `trials`, `steps`, `jobs`. With `apply`
        `Refused` when the log replays."""
        ...

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        """Register the device that live workers of this class serve; again: what it is now. `runtime`: what measures
        there, None: ONNX Runtime on a CPU, torch on an accelerator."""
        ...

    def remove_device(self, name: str) -> None:
        """Forget a device and its profile."""
        ...

    def profile_device(self, name: str, spec: Mapping[str, Any], architectures: int | None = None) -> dict[str, Any]:
        """Time the operators of a study (as a dict) alone on a device, and whole architectures, once nothing else runs
        there. Answers at once; the device says how it goes."""
        ...
