"""The log as server-sent events: what is there, then what comes, until the study ends or the reader leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from searchd import views
from searchd.store.base import Store

POLL_S = 0.25
KEEP_ALIVE_S = 10.0
ENDED = frozenset({"done", "stopped", "faulted"})


class Feed(StreamingResponse):
    """A feed that says when it is over, however it ended: `leave` is called once."""

    def __init__(self, entries: AsyncIterator[str], leave: Callable[[], None]) -> None:
        super().__init__(entries, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def server_sent_events(
    store: Store, study: str, after: int, may: Callable[[], bool] = lambda: True
) -> AsyncIterator[str]:
    """Each entry of the log after seq `after` as one event: `id` is its seq, `event` its kind, `data` JSON.

    An `end` event with the study's status closes the feed; it breaks off once its reader `may` not read any more. A
    comment line keeps a quiet connection open.
    """
    quiet_s = 0.0
    while await run_in_threadpool(may):
        entries, status = await run_in_threadpool(_since, store, study, after)
        for entry in entries:
            after = entry["seq"]
            yield f"id: {after}\nevent: {entry['kind']}\ndata: {json.dumps(entry)}\n\n"
        if entries:
            quiet_s = 0.0
            continue
        if status in ENDED:
            yield f"event: end\ndata: {json.dumps({'status': status})}\n\n"
            return
        await asyncio.sleep(POLL_S)
        quiet_s += POLL_S
        if quiet_s >= KEEP_ALIVE_S:
            quiet_s = 0.0
            yield ": still here\n\n"


def _since(store: Store, study: str, after: int) -> tuple[list[dict[str, Any]], str]:
    """Up to 500 entries after `after`, and the status read in the same view of the store."""
    with store.reading() as reader:
        row = reader.study(study)
        return views.log(reader, study, after, 500), row.status if row else "faulted"
