"""How a dispatch gets to a worker: a Celery task by name, or a callable in this process. The daemon imports no worker.

Celery is used as a queue and nothing more: JSON only, no result backend, no retries of its own (attempts are
counted in the store), messages without an expiry (a stale one is dropped by its worker, who cannot claim it).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

from searchd.errors import Missing, Unreachable
from searchd.urls import celery_url, shown
from searchd.wire import TASK, Dispatch, own_queue, queue

log = logging.getLogger(__name__)

VISIBILITY_S = 7 * 24 * 3600
"""Longer than any job: kombu hands an unacknowledged task out again after it. Workers must use the same."""


class Dispatcher(Protocol):
    def publish(self, dispatch: Dispatch, device_class: str, worker: str = "") -> None:
        """Put it on the queue of the device class, or of one `worker` of it.

        Unreachable when the broker does not take it: publish it again.
        """
        ...

    def close(self) -> None: ...


class CeleryDispatcher:
    """Sends `wire.TASK` to the queue `searchd.<device class>` (or `searchd:slot:<worker>`) of the broker.

    Celery takes a while to import, and a daemon that starts has no need of it yet: `warm` does so, or else the first
    dispatch."""

    def __init__(self, broker_url: str) -> None:
        if find_spec("celery") is None:
            raise Missing("dispatching jobs needs celery: pip install 'searchd[server]'")
        self._url, self._shown = celery_url(broker_url), shown(broker_url)
        self._made: Any = None
        self._making = threading.Lock()

    @property
    def _celery(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = _celery_app(self._url)
            return self._made

    def warm(self) -> None:
        """Make ready for the first dispatch, in a thread of its own: it is then not late."""

        def make() -> None:
            with contextlib.suppress(Exception):  # the first dispatch fails likewise, and says so
                _broken(self._celery)

        threading.Thread(target=make, name="dispatcher", daemon=True).start()

    def publish(self, dispatch: Dispatch, device_class: str, worker: str = "") -> None:
        """See `Dispatcher.publish`. The Celery task's id is the dispatch's, its one argument the JSON object."""
        try:
            self._celery.send_task(
                TASK, args=[dispatch.model_dump(mode="json")], task_id=dispatch.id, ignore_result=True, retry=False,
                argsrepr=dispatch.id, kwargsrepr="",  # for logs; Celery would write out the whole job
                queue=own_queue(worker) if worker else queue(device_class),
            )  # fmt: skip
        except Exception as e:  # kombu lets through what its transport raises: redis, socket and its own errors
            if not isinstance(e, _broken(self._celery)):
                raise
            said = " ".join(str(e).split()) or type(e).__name__
            raise Unreachable(f"the broker {self._shown} took no dispatch ({said}): is it running?") from e

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def _celery_app(url: str) -> Any:
    """Celery over the broker at `url`, as a queue and nothing more."""
    from celery import Celery

    app: Any = Celery("searchd", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_send_sent_event=False,
        task_publish_retry=False,
        broker_connection_timeout=5,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S, "socket_timeout": 10, "socket_connect_timeout": 5,
            "max_retries": 1, "interval_start": 0, "interval_step": 0,
        },
    )  # fmt: skip
    return app


def _broken(celery: Any) -> tuple[type[BaseException], ...]:
    """The errors that mean a connection, not a bug."""
    from kombu.exceptions import OperationalError

    with celery.connection_for_write() as connection:
        return (OperationalError, OSError, *connection.connection_errors, *connection.channel_errors)


class MemoryDispatcher:
    """Hands each dispatch to `run(dispatch, queue)` at once, as the JSON that a worker would get."""

    def __init__(self, run: Callable[[Dispatch, str], None]) -> None:
        self._run = run

    def publish(self, dispatch: Dispatch, device_class: str, worker: str = "") -> None:
        at = own_queue(worker) if worker else queue(device_class)
        self._run(Dispatch.model_validate_json(dispatch.model_dump_json()), at)

    def close(self) -> None:
        """Nothing to close."""
