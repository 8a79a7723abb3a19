"""The Celery side of a slot: one `solo` worker, its own queue and its device class's, one task, JSON only.

`python -P -m workers.app OPTIONS` is one slot; the supervisor (`python -P -m workers`) starts it. `solo` because it
survives a broker's restart with a task in flight, has no forks (torch in a forked child hangs), and runs the task in
the main thread, where SIGTERM sets a flag that the slot looks at.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from typing import Any

import redis.exceptions
from celery import Celery
from celery.exceptions import CPendingDeprecationWarning, Reject, SecurityWarning
from celery.worker import state
from celery.worker.consumer import Consumer
from pydantic import ValidationError

from searchd import lines, wire
from searchd.urls import celery_url
from workers.child import ChildOptions
from workers.device import device
from workers.relay import LOOK_S
from workers.settled import Settled
from workers.slot import Requeue, Slot, SlotOptions
from workers.tether import die_with
from workers.uplink import Uplink, connect

log = logging.getLogger("searchd.worker")

VISIBILITY_S = 7 * 24 * 3600
"""Until Celery delivers an unacknowledged message again, the same as on the sending side: above the longest job. Our
leases notice a death sooner, and what comes again is dropped by the claim, which is remembered for twice as long."""


def application(broker: str) -> Celery:
    """A Celery application for one slot, without a result backend."""
    app = Celery("searchd", broker=celery_url(broker), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # "the disk is full" is one, and passes
        worker_enable_prefetch_count_reduction=False,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S, "socket_connect_timeout": 5.0, "queue_order_strategy": "priority",
        },
    )
    return app


def shutting() -> bool:
    """Whether this process was asked to end (SIGTERM or SIGINT). Celery keeps the exit code there, and 0 means yes."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def prompt(broker: str) -> type[Consumer]:
    """A consumer that asks for a broker that is away five times a second; Celery's own waits up to 30 s in between."""
    client = connect(broker, retries=0)

    class Prompt(Consumer):  # type: ignore[misc]
        def ensure_connected(self, conn: Any) -> Any:
            away = False
            while not shutting():
                try:
                    client.ping()
                    # here, for what Celery tries again it waits longer for each time
                    conn.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
                    break
                except (redis.exceptions.RedisError, OSError, *conn.connection_errors) as error:
                    if not away:
                        log.warning("no jobs come while the broker is away (%s); it is asked until it is back", error)
                    away = True
                    time.sleep(LOOK_S)
            if away and not shutting():
                log.info("the broker is back, jobs come again")
            return super().ensure_connected(conn)

        def on_connection_error_after_connected(self, exc: Any) -> None:
            with warnings.catch_warnings():  # Celery's has a filter of its own
                warnings.simplefilter("ignore", CPendingDeprecationWarning)  # what an outage finds at work goes on here
                super().on_connection_error_after_connected(exc)

    return Prompt


def serve(options: SlotOptions) -> None:
    """Be a slot until SIGTERM."""
    app = application(options.broker)
    app.conf.worker_consumer = prompt(options.broker)
    slot = Slot(options, Uplink(options.broker), shutting)

    def dispatch(payload: Any) -> None:
        read = wire.Dispatch.model_validate_json if isinstance(payload, str) else wire.Dispatch.model_validate
        try:
            parsed = read(payload)
        except ValidationError as error:
            log.error("dropped: a message that is no dispatch: %s", error)
            return
        try:
            slot.run(parsed)
        except Requeue as error:
            raise Reject("not begun", requeue=True) from error

    app.task(dispatch, name=wire.TASK, Request=Settled)
    queues = [wire.own_queue(options.name), wire.queue(options.device.device_class)]  # looked at in this order
    worker = app.Worker(
        hostname=options.name, pool_cls="solo", concurrency=1, queues=queues,
        loglevel="INFO", without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True,
    )  # fmt: skip
    slot.start()
    try:
        worker.start()
    finally:
        slot.end()


def main(argv: list[str]) -> int:
    """One JSON argument: the fields of SlotOptions, `device` and `slot` by name, `child` as a mapping. The broker's URL
    may hold a password, so it comes in the environment, and goes no further down."""
    given = json.loads(argv[0])
    broker = os.environ.pop("SEARCHD_BROKER")
    if given["parent"]:
        die_with(given["parent"], signal.SIGTERM)
    lines.set_up(worker=given["name"])
    logging.getLogger("celery").setLevel(logging.WARNING)
    warnings.simplefilter("ignore", SecurityWarning)  # about root and pickle; this worker takes JSON only
    options = SlotOptions(
        name=given["name"], broker=broker, device=device(given["device"], given["slot"]),
        child=ChildOptions.of(given["child"]), threads=given["threads"], grace_s=given["grace_s"],
        parent=given["parent"], labels=given["labels"], memory_bytes=given["memory_bytes"], shared=given["shared"],
    )  # fmt: skip
    serve(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
