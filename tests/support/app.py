"""The real HTTP application without a socket, over a real store; and the real daemon's loop behind it.

`Asgi` is httpx's seam: a transport that hands a request to the application. `Service` is everything of a daemon but
its process: store, engine loop in a thread, commands, HTTP; its broker is the in-process one, its workers are absent
(what was dispatched is in `dispatched`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from searchd.client import Client
from searchd.desk import Desk
from searchd.dispatch import MemoryDispatcher
from searchd.http.app import create_app
from searchd.http.limits import Limits
from searchd.loop import Loop
from searchd.store import open_store
from searchd.store.base import Store
from searchd.transport.memory import MemoryBroker, MemoryTransport
from searchd.wire import Dispatch, WorkerInfo

URL = "http://127.0.0.1:8700"
WORKER = WorkerInfo(name="w-0", device_class="cpu", device="cpu/test", host="here", pid=1)


class Asgi(httpx.BaseTransport):
    """Requests go to the application itself; what it raises becomes its own answer 500."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def send() -> tuple[int, httpx.Headers, bytes]:
            inner = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=inner) as http:
                body = request.read()
                answer = await http.request(request.method, request.url, headers=request.headers, content=body)
                return answer.status_code, answer.headers, await answer.aread()

        status, headers, content = asyncio.run(send())
        return httpx.Response(status, headers=headers, content=content, request=request)


class NoCommands:
    """For applications that are only read: any command is a mistake of the test."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AssertionError(f"the command {name!r} was called on an application that is only read")


def reading_app(store: Store, *, token: str | None = None, now: float = 0.0, **more: Any) -> FastAPI:
    """The application over a store that nobody writes to."""
    return create_app(store=store, commands=NoCommands(), token=token, workers=lambda: [WORKER], now=lambda: now,
        **more)  # type: ignore[arg-type]


class Service:
    """A context manager: `client` talks to the real application, the loop runs in a thread."""

    def __init__(self, folder: Path, token: str | None = None, limits: Limits | None = None) -> None:
        self.folder = folder
        self.store = open_store(f"sqlite:///{folder / 'study.db'}")
        self.broker = MemoryBroker(clock=lambda: 0.0)  # workers stay alive
        self.transport = MemoryTransport(self.broker)
        self.dispatched: list[Dispatch] = []
        for n in range(4):
            self.broker.alive(WORKER.model_copy(update={"name": f"w-{n}"}))
        dispatcher = MemoryDispatcher(lambda dispatch, _: self.dispatched.append(dispatch))
        self.loop = Loop(self.store, self.transport, dispatcher, root=str(folder))
        self.desk = Desk(self.loop)
        self.app = create_app(
            store=self.store, commands=self.desk, token=token, workers=lambda: self.loop.fleet.workers, now=time.time,
            limits=limits,
        )
        self.client = Client(URL, token, transport=Asgi(self.app))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="loop")

    def _drive(self) -> None:
        while not self._over.is_set():
            self.desk.serve()
            self.loop.round(block_s=0.01)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.desk.close()
        self.client.close()
        self.store.close()


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What the condition answers once it is true."""
    end = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer


def asking(app: Any, token: str | None = None, **headers: str) -> httpx.Client:
    """A client of an application in this process, with a bearer token."""
    bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=URL, transport=Asgi(app), headers=bearer | headers)
