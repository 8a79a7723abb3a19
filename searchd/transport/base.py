"""The transport's contract: what comes up from the workers, and the few keys that go down beside Celery.

At least once: an entry that was received and not acknowledged comes again, in the old order and before anything
new, after `rewind()`, after a lost connection, and in the next process. Each reader gets all that nobody acknowledged,
in order: one that was replaced and reads on takes nothing from the one after it. Entries that are no message of ours
never reach the caller: they are set aside under `POISON`, with the reason, and logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from searchd.wire import Beat, Begun, Ended, Report, WorkerInfo

Up = Begun | Beat | Report | Ended
"""One message from a worker."""

POISON = "searchd:poison"
"""A stream of the last entries that could not be read: `entry`, `m` (what was in it), `why`."""
KEEP_POISON = 1000


class Transport(Protocol):
    """The daemon's side. Every method raises Unreachable when the broker does not answer; all are thread-safe
    but `receive`, `acknowledge` and `rewind`, which belong to the one loop that consumes."""

    def receive(self, max: int = 500, block_s: float = 0.2) -> list[tuple[str, Up]]:
        """Up to `max` entries, oldest first, each with its id; waits up to `block_s` seconds for the first."""
        ...

    def acknowledge(self, ids: Iterable[str]) -> None:
        """These entries are recorded for good and never come again; unknown ids are ignored."""
        ...

    def rewind(self) -> None:
        """What was received and not acknowledged comes again."""
        ...

    def stop(self, job: str, reason: str) -> None:
        """Ask the worker that runs the job to end it at its next report."""
        ...

    def clear(self, job: str) -> None:
        """Take the request to stop back (the job has ended, or runs again)."""
        ...

    def fence(self, job: str, attempt: int) -> None:
        """Whoever runs an older attempt of the job is to let it go at its next message."""
        ...

    def claimed(self, job: str) -> int | None:
        """The newest attempt of the job that a worker has begun; None when none has."""
        ...

    def workers(self) -> list[WorkerInfo]:
        """The slots that gave a sign of life within `wire.LEASE_S`, by name."""
        ...

    def poisoned(self) -> int:
        """How many unreadable entries are set aside."""
        ...

    def ping(self) -> None:
        """Returns when the broker answers."""
        ...

    def close(self) -> None: ...
