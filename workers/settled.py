"""A Celery request whose acknowledgement is known to have arrived, or ends the connection.

Celery only logs that an acknowledgement failed (the broker was away just then). With one message at a time the slot
then takes no other, for ever: to Celery it still has the first. So the error goes on to the consumer, which connects
anew; the message comes again, and the claim drops it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.exceptions
from celery.worker.request import Request


class Settled(Request):  # type: ignore[misc]
    """`acknowledge` and `reject` at once, and a `ConnectionError` of Redis when the broker did not take it."""

    acknowledged: bool

    def acknowledge(self) -> None:
        self._settle(self.message.ack)

    def reject(self, requeue: bool = False) -> None:
        self._settle(lambda: self.message.reject(requeue=requeue))

    def _settle(self, do: Callable[[], Any]) -> None:
        if self.acknowledged:
            return
        try:
            do()
        except Exception as error:  # of the connection, or a refusal: kombu lets everything through
            raise redis.exceptions.ConnectionError(f"a message was not acknowledged: {error}") from error
        self.acknowledged = True
