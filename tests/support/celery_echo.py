"""A Celery application as a worker's is, whose task writes what it got to a Redis list: for tests of dispatch."""

from __future__ import annotations

import json
import os
from typing import Any

import redis
from celery import Celery

from searchd.urls import celery_url, redis_url
from searchd.wire import TASK

URL = os.environ["ECHO_BROKER"]
app = Celery("echo", broker=celery_url(URL))
app.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=1, accept_content=["json"], task_ignore_result=True,
    broker_connection_retry_on_startup=True, worker_enable_remote_control=False,
)  # fmt: skip


@app.task(name=TASK, bind=True)
def echo(self: Any, dispatch: dict[str, Any]) -> None:
    found = {"task_id": self.request.id, "dispatch": dispatch, "queue": self.request.delivery_info["routing_key"]}
    with redis.Redis.from_url(redis_url(URL)) as client:
        client.rpush("echo", json.dumps(found))
