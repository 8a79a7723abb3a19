"""Where commands from other threads wait for the daemon's loop: each runs there, between two transactions."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from searchd.errors import Unreachable

ANSWER_S = 30.0
"""How long a caller waits for the loop; it comes round every 0.2 s unless a searcher is thinking."""

T = TypeVar("T")


class Handler(Protocol):
    """What the loop does for a command; the methods of `searchd.http.commands.Commands`."""

    def submit(self, spec: Mapping[str, Any], artifacts: str | None = None) -> str: ...
    def pause(self, study: str) -> None: ...
    def resume(self, study: str) -> None: ...
    def stop(self, study: str) -> None: ...
    def stop_trial(self, study: str, trial: int) -> None: ...
    def inject(self, study: str, values: Mapping[str, Any]) -> int: ...
    def extend(self, study: str, budget: Mapping[str, Any]) -> None: ...
    def prioritize(self, study: str, priority: float) -> None: ...
    def deepen(self, study: str, max_resource: int, trials: int | None = None) -> None: ...
    def rebase(self, study: str, *, apply: bool) -> dict[str, Any]: ...
    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]: ...
    def remove_device(self, name: str) -> None: ...
    def profile_device(
        self, name: str, spec: Mapping[str, Any], architectures: int | None = None
    ) -> dict[str, Any]: ...


class Desk:
    """`searchd.http.commands.Commands`: takes a command from any thread and blocks until the loop has committed it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._closed = False

    def serve(self) -> int:
        """Run what waits, in the loop's thread; the number of commands served. A refusal goes to its caller."""
        served = 0
        while True:
            try:
                call, answer = self._waiting.get_nowait()
            except queue.Empty:
                return served
            served += 1
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(call())
            except Exception as error:  # whoever asked gets it, the loop goes on
                answer.set_exception(error)

    def close(self) -> None:
        """Refuse everything that waits or comes: the daemon ends."""
        self._closed = True
        while True:
            try:
                _, answer = self._waiting.get_nowait()
            except queue.Empty:
                return
            if answer.set_running_or_notify_cancel():
                answer.set_exception(Unreachable("the daemon is stopping: try again once it runs"))

    def submit(self, spec: Mapping[str, Any], artifacts: str | None = None) -> str:
        return self._do(lambda: self._handler.submit(spec, artifacts))

    def pause(self, study: str) -> None:
        self._do(lambda: self._handler.pause(study))

    def resume(self, study: str) -> None:
        self._do(lambda: self._handler.resume(study))

    def stop(self, study: str) -> None:
        self._do(lambda: self._handler.stop(study))

    def stop_trial(self, study: str, trial: int) -> None:
        self._do(lambda: self._handler.stop_trial(study, trial))

    def inject(self, study: str, values: Mapping[str, Any]) -> int:
        return self._do(lambda: self._handler.inject(study, values))

    def extend(self, study: str, budget: Mapping[str, Any]) -> None:
        self._do(lambda: self._handler.extend(study, budget))

    def prioritize(self, study: str, priority: float) -> None:
        self._do(lambda: self._handler.prioritize(study, priority))

    def deepen(self, study: str, max_resource: int, trials: int | None = None) -> None:
        self._do(lambda: self._handler.deepen(study, max_resource, trials))

    def rebase(self, study: str, *, apply: bool) -> dict[str, Any]:
        return self._do(lambda: self._handler.rebase(study, apply=apply))

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        return self._do(lambda: self._handler.add_device(name, runtime))

    def remove_device(self, name: str) -> None:
        self._do(lambda: self._handler.remove_device(name))

    def profile_device(self, name: str, spec: Mapping[str, Any], architectures: int | None = None) -> dict[str, Any]:
        return self._do(lambda: self._handler.profile_device(name, spec, architectures))

    def _do(self, call: Callable[[], T]) -> T:
        answer: Future[T] = Future()
        self._waiting.put((call, answer))
        if self._closed:
            self.close()
        try:
            return answer.result(ANSWER_S)
        except TimeoutError:
            answer.cancel()
            raise Unreachable(f"the daemon did not come to this command within {ANSWER_S:g} s: try again") from None
