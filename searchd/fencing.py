"""Attempts are fenced where they run too: before a job is sent out again, its former worker is told to let it go.

What an older attempt reports is ignored, so a worker that was stopped for long and goes on would train for nothing, and
hold a slot that the job itself may be waiting for.
"""

from __future__ import annotations

from searchd.dispatch import Dispatcher
from searchd.transport import Transport
from searchd.wire import Dispatch


class Fencing:
    """A `Dispatcher` that raises the fence of each job that it sends out again."""

    def __init__(self, dispatcher: Dispatcher, transport: Transport) -> None:
        self._dispatcher = dispatcher
        self._transport = transport

    def publish(self, dispatch: Dispatch, device_class: str, worker: str = "") -> None:
        for job in dispatch.jobs:
            if job.attempt > 1:
                self._transport.fence(job.id, job.attempt)
        self._dispatcher.publish(dispatch, device_class, worker)

    def close(self) -> None:
        self._dispatcher.close()
