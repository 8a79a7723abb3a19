"""Scheduler and searcher put together, in memory: `from searchd.search import Search`, and what it hears and answers.

Names load when they are asked for: `Exhausted`, `Failed`, `Finished`, `Job`, `Reported`, `Search`, `Wait`, ….
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from searchd.search.events import (
        Deepened,
        Exhausted,
        Extended,
        Failed,
        Finished,
        Injected,
        Job,
        Lost,
        Measured,
        Reported,
        Stop,
        Stopped,
        Wait,
    )
    from searchd.search.search import Search

__all__ = [
    "Deepened", "Exhausted", "Extended", "Failed", "Finished", "Injected", "Job", "Lost", "Measured", "Reported",
    "Search", "Stop", "Stopped", "Wait",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "searchd.search.search" if name == "Search" else "searchd.search.events"
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'searchd.search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
