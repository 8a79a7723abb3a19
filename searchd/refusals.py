"""Which worker slots refuse which study: what they said, for as long as their processes live.

A slot that lacks a study's module, or may not run its function, would say so of every job, and is free again at once:
it would take job after job from those who can. Kept in memory only: a daemon that comes back learns it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from searchd.transport import Up
from searchd.wire import REFUSED, Ended, WorkerInfo

LONGEST = 400
"""So much of what a worker says is kept."""

_Process = tuple[str, int, float]


@dataclass(frozen=True, slots=True)
class _Refusal:
    device: str
    why: str


class Refusals:
    """By slot and study. A slot that is gone, or was started again, refuses nothing until it says so again."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, _Refusal]] = {}
        self._processes: dict[str, _Process] | None = None

    def heard(self, messages: Iterable[Up], device_class: str) -> None:
        """Take the refusals among the messages of one study, which asks for this device class. What was said before the
        first look is not taken: its process may have been started again since."""
        for m in messages if self._processes is not None else ():
            if isinstance(m, Ended) and m.outcome == "failed" and m.reason == REFUSED and m.worker:
                why = (m.error.strip().splitlines() or ["it does not say why"])[0][:LONGEST]
                self._said.setdefault(m.worker, {})[m.study] = _Refusal(device_class, why)

    def looked(self, workers: Sequence[WorkerInfo]) -> None:
        """Take the signs of life: what another process of the same name said is forgotten."""
        alive = {info.name: (info.host, info.pid, info.began) for info in workers}
        before = self._processes or {}
        for name in list(self._said):
            if name not in alive or before.get(name, alive[name]) != alive[name]:
                del self._said[name]
        self._processes = alive

    def only(self, studies: Collection[str]) -> None:
        """Forget all others: they have ended, or a person must act first."""
        for name, said in list(self._said.items()):
            self._said[name] = {study: refusal for study, refusal in said.items() if study in studies}
            if not self._said[name]:
                del self._said[name]

    def of(self, study: str) -> Mapping[str, str]:
        """Slot → why it refuses this study."""
        return {name: said[study].why for name, said in self._said.items() if study in said}

    @property
    def devices(self) -> frozenset[str]:
        """The device classes in which a slot refuses a study."""
        return frozenset(refusal.device for said in self._said.values() for refusal in said.values())
